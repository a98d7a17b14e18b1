/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/places.h"
#include "common/seal.h"
#include "common/wall.h"

#define LOG_MODULE   "journal"
#define JOURNAL_MOST ((size_t)4 << 20)

static const char *const state_names[] = {
	[HOP_OPEN] = "OPEN",	     [HOP_PREPARED] = "PREPARED", [HOP_RELEASED] = "RELEASED",
	[HOP_ACCEPTED] = "ACCEPTED", [HOP_REFUSED] = "REFUSED",	  [HOP_GONE] = "GONE",
	[HOP_RETAKEN] = "RETAKEN",   [HOP_DONE] = "DONE",	  [HOP_UNDONE] = "UNDONE",
};
static_assert(ARRAY_SIZE(state_names) == HOP_STATES, "a name for each state");

#define MAY(state) (1u << (state))

/* What may follow a state. */
static const unsigned successors[] = {
	[HOP_OPEN] = MAY(HOP_PREPARED) | MAY(HOP_RELEASED) | MAY(HOP_REFUSED) | MAY(HOP_UNDONE),
	[HOP_PREPARED] = MAY(HOP_ACCEPTED) | MAY(HOP_REFUSED),
	[HOP_RELEASED] = MAY(HOP_GONE) | MAY(HOP_RETAKEN),
	[HOP_ACCEPTED] = MAY(HOP_DONE),
	[HOP_REFUSED] = MAY(HOP_UNDONE),
	[HOP_GONE] = MAY(HOP_DONE),
	[HOP_RETAKEN] = MAY(HOP_UNDONE),
	[HOP_DONE] = 0,
	[HOP_UNDONE] = 0,
};
static_assert(ARRAY_SIZE(successors) == HOP_STATES, "successors of each state");

const char *hop_state_name(enum hop_state state)
{
	return state_names[state];
}

static int state_by_name(const char *name)
{
	for (int i = 0; name && i < HOP_STATES; i++)
		if (strcmp(state_names[i], name) == 0)
			return i;
	return -1;
}

static int journal_path(char path[PATH_MAX], const char *hop, struct error **err)
{
	return place(path, err, PLACE_STATE "/journal/%s.jsonl", hop);
}

/* One record, with the wall clock for people (nothing is decided by it). */
static int append(int fd, const char *path, json_t *record, struct error **err)
{
	auto_free char *text = NULL;
	char when[WALL_TEXT];
	size_t size;

	json_object_set_new(record, "time", json_string(wall_text(wall_ms(), when)));
	if (seal_add(record, err) < 0)
		return error_wrap(err, "%s", path);
	text = json_dumps(record, JSON_COMPACT);
	if (!text)
		return error_set(err, ENOMEM, "%s: can't encode a record", path);
	size = strlen(text);
	text[size++] = '\n';
	if (write_all(fd, text, size, err) < 0)
		return error_wrap(err, "%s", path);
	if (fsync(fd) < 0)
		return error_errno(err, "%s", path);
	return 0;
}

int journal_create(const char *hop, const json_t *facts, struct error **err)
{
	char path[PATH_MAX], folder[PATH_MAX];

	if (journal_path(path, hop, err) < 0 || place(folder, err, PLACE_STATE "/journal") < 0 ||
	    make_dirs(folder, err) < 0)
		return -1;

	auto_close fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	auto_json record = json_pack(
		"{s:s, s:i, s:i, s:[], s:b, s:s, s:s, s:O}", "journal", "edgehop", "version",
		JOURNAL_VERSION, "compatible", JOURNAL_COMPATIBLE, "features", "sealed", 1, "hop",
		hop, "state", state_names[HOP_OPEN], "facts", (json_t *)(uintptr_t)facts);

	if (fd < 0)
		return error_errno(err, "%s", path);
	if (!record)
		return error_set(err, ENOMEM, "%s: can't encode its first record", path);
	if (append(fd, path, record, err) < 0 || sync_parent(path, err) < 0) {
		unlink(path);
		return -1;
	}
	return 0;
}

static int check_opening(const json_t *first, const char *path, struct error **err)
{
	json_int_t compatible = json_integer_value(json_object_get(first, "compatible"));

	if (!json_is_object(json_object_get(first, "facts")) || compatible < 1)
		return error_set(err, EPROTO, "%s:1: found no opening of a hop's journal", path);
	if (compatible > JOURNAL_VERSION)
		return error_set(err, EPROTO,
				 "%s:1: found a journal for version %" JSON_INTEGER_FORMAT
				 ", expected at most %d",
				 path, compatible, JOURNAL_VERSION);
	return 0;
}

/* What a journal's text says. */
struct parsed {
	enum hop_state state;
	json_t *facts; /* the caller's, if wanted */
	bool sealed;   /* it says that each record has a sum */
	size_t valid;  /* bytes that belong to records */
	bool unended;  /* the last of these lacks its newline */
	int records;
};

static int take_record(const char *path, const json_t *record, struct parsed *parsed,
		       struct error **err)
{
	int found = state_by_name(json_string_value(json_object_get(record, "state")));

	parsed->records++;
	if (found < 0)
		return error_set(err, EPROTO, "%s:%d: found no record with a known state", path,
				 parsed->records);
	if (parsed->records == 1)
		parsed->sealed = json_is_true(json_object_get(record, "sealed"));
	if (seal_check(record, parsed->sealed, err) < 0)
		return error_wrap(err, "%s:%d", path, parsed->records);
	if (parsed->records == 1) {
		if (check_opening(record, path, err) < 0)
			return -1;
		parsed->facts = json_incref(json_object_get(record, "facts"));
	}
	parsed->state = (enum hop_state)found;
	return 0;
}

/*
 * Behind the last newline: nothing; or what a power cut tore, which was never acted on; or a whole
 * record whose newline was damaged, which was, and shows by its sum.
 */
static void take_tail(const char *path, const char *tail, size_t at, struct parsed *parsed)
{
	auto_json record = json_loads(tail, JSON_DISABLE_EOF_CHECK, NULL);
	const char *end = strrchr(tail, '}');

	if (!record || !end || !json_object_get(record, "sum") || parsed->records == 0 ||
	    seal_check(record, true, NULL) < 0 || take_record(path, record, parsed, NULL) < 0)
		return;
	parsed->valid = at + (size_t)(end + 1 - tail);
	parsed->unended = true;
}

/* size: of the text, which may hold zero bytes where a power cut left some at its end. */
static int parse(const char *path, char *text, size_t size, struct parsed *parsed,
		 struct error **err)
{
	char *line = text;

	memset(parsed, 0, sizeof(*parsed));
	if (memchr(text + strlen(text), '\n', size - strlen(text)))
		return error_set(err, EBADMSG, "%s: found a zero byte at %zu: the file is damaged",
				 path, strlen(text));
	for (char *end; (end = strchr(line, '\n')); line = end + 1) {
		auto_json record = json_loadb(line, (size_t)(end - line), 0, NULL);

		if (take_record(path, record, parsed, err) < 0)
			return -1;
	}
	parsed->valid = (size_t)(line - text);
	take_tail(path, line, parsed->valid, parsed);
	if (parsed->records == 0)
		return error_set(err, ENODATA, "%s: found no record", path);
	return 0;
}

static int read_and_parse(const char *path, struct parsed *parsed, struct error **err)
{
	size_t size;
	auto_free char *text = read_file(path, JOURNAL_MOST, &size, err);

	if (text && parse(path, text, size, parsed, err) == 0)
		return 0;
	if (text)
		json_decref(parsed->facts);
	return -1;
}

int journal_read(const char *hop, enum hop_state *state, json_t **facts, struct error **err)
{
	char path[PATH_MAX];
	struct parsed parsed;

	if (journal_path(path, hop, err) < 0 || read_and_parse(path, &parsed, err) < 0)
		return -1;
	*state = parsed.state;
	if (facts)
		*facts = parsed.facts;
	else
		json_decref(parsed.facts);
	return 0;
}

json_t *journal_records(const char *hop, struct error **err)
{
	char path[PATH_MAX];
	auto_free char *text = NULL;
	auto_json records = json_array();
	char *line;

	if (journal_path(path, hop, err) < 0)
		return NULL;
	text = read_file(path, JOURNAL_MOST, NULL, err);
	if (!text)
		return NULL;
	line = text;
	for (char *end; (end = strchr(line, '\n')); line = end + 1) {
		auto_json record = json_loadb(line, (size_t)(end - line), 0, NULL);

		json_array_append_new(records, json_pack("{s:O*, s:O*}", "state",
							 json_object_get(record, "state"), "time",
							 json_object_get(record, "time")));
	}
	return steal_ptr(records);
}

/* What is behind the last record goes; that has its newline then. */
static int mend_end(int fd, const char *path, const struct parsed *parsed, struct error **err)
{
	if (ftruncate(fd, (off_t)parsed->valid) < 0)
		return error_errno(err, "%s", path);
	if (parsed->unended && write_all(fd, "\n", 1, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

int journal_advance(const char *hop, enum hop_state to, struct error **err)
{
	char path[PATH_MAX];
	auto_json record = json_pack("{s:s}", "state", state_names[to]);
	struct parsed parsed;

	if (journal_path(path, hop, err) < 0)
		return -1;

	auto_close fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return error_errno(err, "%s", path);
	if (read_and_parse(path, &parsed, err) < 0)
		return -1;
	json_decref(parsed.facts);
	if (parsed.state == to)
		return 0;
	if (!(successors[parsed.state] & MAY(to)))
		return error_set(err, EPERM, "hop %s: found it %s, which %s can't follow", hop,
				 state_names[parsed.state], state_names[to]);
	if (mend_end(fd, path, &parsed, err) < 0 || !record || append(fd, path, record, err) < 0)
		return -1;
	log_info("state %s", state_names[to]);
	return 1;
}

int journal_each(journal_visit *visit, void *context, struct error **err)
{
	char folder[PATH_MAX];
	struct error *unreadable = NULL;
	struct dirent *entry;
	DIR *dir;
	int result = 0;

	if (place(folder, err, PLACE_STATE "/journal") < 0)
		return -1;
	dir = opendir(folder);
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, "%s", folder);
	while (result >= 0 && (entry = readdir(dir))) {
		char hop[UUID_SIZE];
		enum hop_state state;
		auto_json facts = NULL;
		auto_error why = NULL;

		if (!uuid_of_file(entry->d_name, ".jsonl", hop))
			continue;
		if (journal_read(hop, &state, &facts, &why) == 0)
			result = visit(hop, state, facts, context, err);
		else if (!unreadable)
			unreadable = steal_ptr(why);
	}
	closedir(dir);
	if (result < 0) {
		error_free(unreadable);
		return -1;
	}
	return unreadable ? error_propagate(err, unreadable) : 0;
}

struct only_open {
	journal_visit *visit;
	void *context;
};

static int visit_open(const char *hop, enum hop_state state, const json_t *facts, void *context,
		      struct error **err)
{
	const struct only_open *only = context;

	return hop_state_final(state) ? 0 : only->visit(hop, state, facts, only->context, err);
}

int journal_each_open(journal_visit *visit, void *context, struct error **err)
{
	struct only_open only = {visit, context};

	return journal_each(visit_open, &only, err);
}

bool journal_knows_open(const char *hop, void *context)
{
	enum hop_state state;

	(void)context;
	return journal_read(hop, &state, NULL, NULL) == 0 && !hop_state_final(state);
}
