/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"

/*
 *	exists resource name:NAME role:Primary suspended:no
 *	exists connection name:NAME ... connection:Connected role:Secondary
 *	change device name:NAME volume:0 minor:1000 disk:UpToDate size:65536 ...
 *	exists peer-device name:NAME ... replication:SyncSource peer-disk:Inconsistent
 * out-of-sync:4096 exists -
 *
 * A "change" names only what changed. Amounts are KiB.
 */
#define KIB	    1024
#define AMOUNT_MOST (UINT64_MAX / KIB)

struct word {
	const char *text;
	size_t size;
};

struct name {
	const char *name;
	int value;
};

static const struct name roles[] = {{"Primary", DRBD_PRIMARY}, {"Secondary", DRBD_SECONDARY}};

static const struct name links[] = {
	{"StandAlone", DRBD_STANDALONE},     {"Unconnected", DRBD_CONNECTING},
	{"Connecting", DRBD_CONNECTING},     {"WFConnection", DRBD_CONNECTING},
	{"WFReportParams", DRBD_CONNECTING}, {"Connected", DRBD_CONNECTED},
};

static const struct name datas[] = {
	{"Diskless", DRBD_DISKLESS},	     {"Failed", DRBD_DISKLESS},
	{"Inconsistent", DRBD_INCONSISTENT}, {"Outdated", DRBD_OUTDATED},
	{"Consistent", DRBD_CONSISTENT},     {"UpToDate", DRBD_UP_TO_DATE},
};

static const struct name replications[] = {
	{"Off", DRBD_REPLICATION_OFF},
	{"Established", DRBD_ESTABLISHED},
	{"SyncSource", DRBD_SYNC_SOURCE},
	{"SyncTarget", DRBD_SYNC_TARGET},
};

static const char *name_of(const struct name *names, size_t n, int value, const char *none)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].value == value)
			return names[i].name;
	return none;
}

const char *drbd_role_name(enum drbd_role role)
{
	return name_of(roles, ARRAY_SIZE(roles), role, "Unknown");
}

const char *drbd_link_name(enum drbd_link link)
{
	return link == DRBD_CONNECTING ? "Connecting"
				       : name_of(links, ARRAY_SIZE(links), link, "Unknown");
}

const char *drbd_data_name(enum drbd_data data)
{
	return name_of(datas, ARRAY_SIZE(datas), data, "Unknown");
}

const char *drbd_replication_name(enum drbd_replication replication)
{
	return name_of(replications, ARRAY_SIZE(replications), replication, "Other");
}

static bool word_is(const struct word *word, const char *text)
{
	return strlen(text) == word->size && memcmp(word->text, text, word->size) == 0;
}

/* The next word of a line; false at its end. */
static bool next_word(const char **at, const char *end, struct word *word)
{
	while (*at < end && **at == ' ')
		(*at)++;
	word->text = *at;
	while (*at < end && **at != ' ')
		(*at)++;
	word->size = (size_t)(*at - word->text);
	return word->size > 0;
}

/* Splits KEY:VALUE at the first colon. */
static bool split(const struct word *word, struct word *key, struct word *value)
{
	const char *colon = memchr(word->text, ':', word->size);

	if (!colon)
		return false;
	*key = (struct word){word->text, (size_t)(colon - word->text)};
	*value = (struct word){colon + 1, word->size - key->size - 1};
	return true;
}

static int lookup(const struct name *names, size_t n, const struct word *value, int unknown)
{
	for (size_t i = 0; i < n; i++)
		if (word_is(value, names[i].name))
			return names[i].value;
	return unknown;
}

/* Left as it was when the value is no number. */
static void take_amount(const struct word *value, uint64_t unit, uint64_t *amount)
{
	char digits[24];
	uint64_t number;

	if (value->size >= sizeof(digits))
		return;
	memcpy(digits, value->text, value->size);
	digits[value->size] = '\0';
	if (units_parse_number(digits, 0, AMOUNT_MOST, &number))
		*amount = number * unit;
}

#define LOOKUP(names, value, unknown) lookup(names, ARRAY_SIZE(names), value, unknown)

static void take_resource(struct drbd_view *view, const struct word *key, const struct word *value)
{
	if (word_is(key, "role"))
		view->role = LOOKUP(roles, value, DRBD_ROLE_UNKNOWN);
}

static void take_connection(struct drbd_view *view, const struct word *key,
			    const struct word *value)
{
	if (word_is(key, "connection"))
		view->link = LOOKUP(links, value, DRBD_LINK_UNKNOWN);
	else if (word_is(key, "role"))
		view->peer_role = LOOKUP(roles, value, DRBD_ROLE_UNKNOWN);
}

static void take_device(struct drbd_view *view, const struct word *key, const struct word *value)
{
	if (word_is(key, "disk"))
		view->data = LOOKUP(datas, value, DRBD_DATA_UNKNOWN);
	else if (word_is(key, "size"))
		take_amount(value, KIB, &view->size);
	else if (word_is(key, "lower-pending"))
		take_amount(value, 1, &view->lower_pending);
}

static void take_peer(struct drbd_view *view, const struct word *key, const struct word *value)
{
	if (word_is(key, "replication"))
		view->replication = LOOKUP(replications, value, DRBD_REPLICATION_OTHER);
	else if (word_is(key, "peer-disk"))
		view->peer_data = LOOKUP(datas, value, DRBD_DATA_UNKNOWN);
	else if (word_is(key, "out-of-sync"))
		take_amount(value, KIB, &view->out_of_sync);
	else if (word_is(key, "sent"))
		take_amount(value, KIB, &view->sent);
	else if (word_is(key, "received"))
		take_amount(value, KIB, &view->received);
	else if (word_is(key, "pending"))
		take_amount(value, 1, &view->pending);
	else if (word_is(key, "unacked"))
		take_amount(value, 1, &view->unacked);
}

static void forget_resource(struct drbd_view *view)
{
	view->role = DRBD_ROLE_UNKNOWN;
}

static void forget_connection(struct drbd_view *view)
{
	view->link = DRBD_LINK_UNKNOWN;
	view->peer_role = DRBD_ROLE_UNKNOWN;
}

static void forget_device(struct drbd_view *view)
{
	view->data = DRBD_DATA_UNKNOWN;
	view->size = view->lower_pending = 0;
}

static void forget_peer(struct drbd_view *view)
{
	view->replication = DRBD_REPLICATION_OFF;
	view->peer_data = DRBD_DATA_UNKNOWN;
	view->out_of_sync = view->sent = view->received = view->pending = view->unacked = 0;
}

static const struct kind {
	const char *name;
	size_t there; /* offset of the flag in struct drbd_view */
	void (*take)(struct drbd_view *view, const struct word *key, const struct word *value);
	void (*forget)(struct drbd_view *view);
} kinds[] = {
	{"resource", offsetof(struct drbd_view, resource), take_resource, forget_resource},
	{"connection", offsetof(struct drbd_view, connection), take_connection, forget_connection},
	{"device", offsetof(struct drbd_view, device), take_device, forget_device},
	{"peer-device", offsetof(struct drbd_view, peer), take_peer, forget_peer},
};

static const struct kind *find_kind(const struct word *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (word_is(word, kinds[i].name))
			return &kinds[i];
	return NULL;
}

/* Every line of an object names the resource first of all. */
static bool is_of(const char *resource, const char **at, const char *end)
{
	struct word word, key, value;

	return next_word(at, end, &word) && split(&word, &key, &value) && word_is(&key, "name") &&
	       word_is(&value, resource);
}

static void read_line(struct drbd_view *view, const char *resource, const char *at, const char *end)
{
	struct word verb, what, word, key, value;
	const struct kind *kind;
	bool *there;

	if (!next_word(&at, end, &verb) || !next_word(&at, end, &what))
		return;
	if (word_is(&verb, "exists") && word_is(&what, "-")) {
		view->complete = true;
		return;
	}
	kind = find_kind(&what);
	if (!kind || !is_of(resource, &at, end))
		return;
	there = (bool *)((char *)view + kind->there);
	if (word_is(&verb, "destroy")) {
		*there = false;
		kind->forget(view);
		return;
	}
	if (!word_is(&verb, "exists") && !word_is(&verb, "create") && !word_is(&verb, "change"))
		return;
	*there = true;
	while (next_word(&at, end, &word))
		if (split(&word, &key, &value))
			kind->take(view, &key, &value);
}

int drbd_events_read(struct drbd_view *view, const char *resource, const char *text, size_t size,
		     struct error **err)
{
	const char *const all = text + size;

	while (text < all) {
		const char *end = memchr(text, '\n', (size_t)(all - text));

		if (!end)
			return error_set(err, EPROTO, "DRBD's events: the last line is cut off");
		if (end - text > DRBD_EVENTS_LINE)
			return error_set(err, EPROTO, "DRBD's events: a line of %zu bytes",
					 (size_t)(end - text));
		read_line(view, resource, text, end);
		text = end + 1;
	}
	return 0;
}
