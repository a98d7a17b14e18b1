/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/hops.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/history.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"

/* A hop begins with its worker and gets its journal some moments later. */
#define NO_JOURNAL_YET "NONE"

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void add_facts(json_t *entry, const json_t *facts)
{
	static const char *const pairs[][2] = {{"side", "side"},
					       {"source", "source"},
					       {"destination", "destination"},
					       {"from", "source-site"},
					       {"to", "destination-site"}};
	auto_facts known = hop_facts_from_json(facts, NULL, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (text_at(facts, pairs[i][1]))
			json_object_set(entry, pairs[i][0], json_object_get(facts, pairs[i][1]));
	if (known)
		json_object_set_new(entry, "vm", json_string(known->vm->name));
}

/* What a living worker says beyond the journal. The VM's name, when there is no journal yet. */
static void add_progress(json_t *entry, const char *hop)
{
	auto_json live = ctl_ask(hop, "status", clock_ns() + NS_PER_SEC, NULL);
	json_t *vm = json_object_get(live, "vm");

	json_object_set_new(entry, "worker", json_boolean(live != NULL));
	if (live)
		json_object_set(entry, "progress", live);
	if (vm && !json_object_get(entry, "vm"))
		json_object_set(entry, "vm", vm);
}

static json_t *describe(const char *hop, const char *state, const json_t *facts)
{
	json_t *entry = json_pack("{s:s, s:s}", "hop", hop, "state", state);

	if (facts)
		add_facts(entry, facts);
	add_progress(entry, hop);
	return entry;
}

static int add_hop(const char *hop, enum hop_state state, const json_t *facts, void *list,
		   struct error **err)
{
	(void)err;
	json_array_append_new(list, describe(hop, hop_state_name(state), facts));
	return 0;
}

static bool has_journal(const char *hop)
{
	enum hop_state state;

	return journal_read(hop, &state, NULL, NULL) == 0;
}

static int add_beginning(json_t *list, struct error **err)
{
	char folder[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (place(folder, err, PLACE_RUN "/hops") < 0)
		return -1;
	dir = opendir(folder);
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, "%s", folder);
	while ((entry = readdir(dir))) {
		char hop[UUID_SIZE];

		if (uuid_of_file(entry->d_name, "", hop) && keeper_lives(hop) &&
		    !has_journal(hop) && !keeper_has_end(hop))
			json_array_append_new(list, describe(hop, NO_JOURNAL_YET, NULL));
	}
	closedir(dir);
	return 0;
}

json_t *hops_open(struct error **err)
{
	auto_json list = json_array();

	/* Those without a journal first: one that gets it meanwhile is not missed. */
	if (add_beginning(list, err) == 0)
		(void)journal_each_open(add_hop, list, err);
	return steal_ptr(list);
}

static void add_places(json_t *entry, const char *hop)
{
	auto_json end = keeper_read_end(hop, NULL);
	auto_json records = journal_records(hop, NULL);
	char log[PATH_MAX];

	if (records)
		json_object_set(entry, "journal", records);
	if (end)
		json_object_set(entry, "end", end);
	if (place(log, NULL, PLACE_RUN "/hops/%s/log", hop) == 0 && access(log, F_OK) == 0)
		json_object_set_new(entry, "log", json_string(log));
}

json_t *hops_describe(const char *hop, struct error **err)
{
	auto_json facts = NULL;
	auto_error why = NULL;
	enum hop_state state;
	json_t *entry;
	bool journal = journal_read(hop, &state, &facts, &why) == 0;

	if (!journal && why->code != ENOENT) {
		error_propagate(err, steal_ptr(why));
		return NULL;
	}
	if (!journal && !keeper_lives(hop) && !keeper_has_end(hop)) {
		error_set(err, ENOENT, "hop %s: found neither a journal nor a worker of it", hop);
		return NULL;
	}
	entry = describe(hop, journal ? hop_state_name(state) : NO_JOURNAL_YET, facts);
	add_places(entry, hop);
	return entry;
}

bool hops_match(const char *what, const char *hop, const char *vm)
{
	size_t length = strlen(what);

	if (vm && strcmp(what, vm) == 0)
		return true;
	return length >= HOPS_PREFIX && strncasecmp(what, hop, length) == 0;
}

/* "HOP (web, source, OPEN)": enough to tell the hops of an ambiguous name apart. */
static size_t append_entry(char *buf, size_t size, size_t used, const json_t *entry)
{
	static const char *const keys[] = {"side", "state", "started"};

	used += (size_t)snprintf(buf + used, size - used, "%s%s (%s", used ? ", " : "",
				 text_at(entry, "hop"), text_at(entry, "vm") ?: "?");
	for (size_t i = 0; i < ARRAY_SIZE(keys) && used < size; i++)
		if (text_at(entry, keys[i]))
			used += (size_t)snprintf(buf + used, size - used, ", %s",
						 text_at(entry, keys[i]));
	if (used < size)
		used += (size_t)snprintf(buf + used, size - used, ")");
	return used;
}

int hops_choose(const json_t *list, const char *what, const char *nothing, char hop[UUID_SIZE],
		struct error **err)
{
	char names[1024] = "";
	size_t used = 0, count = 0, i;
	const json_t *entry;

	json_array_foreach (list, i, entry) {
		if (!hops_match(what, text_at(entry, "hop"), text_at(entry, "vm")))
			continue;
		if (used < sizeof(names))
			used = append_entry(names, sizeof(names), used, entry);
		memcpy(hop, text_at(entry, "hop"), UUID_SIZE);
		count++;
	}
	if (count == 1)
		return 0;
	if (count > 1)
		return error_set(err, ENOTUNIQ, "\"%s\": found %zu hops, expected one: %s", what,
				 count, names);
	return error_set(err, ENOENT,
			 "\"%s\": found %s, expected a VM's name, or a hop's UUID or "
			 "its first %d characters or more",
			 what, nothing, HOPS_PREFIX);
}

int hops_find_open(const char *what, char hop[UUID_SIZE], struct error **err)
{
	auto_error why = NULL;
	auto_json open = hops_open(&why);

	/* Who may not look has not found nothing. */
	if (why && (why->code == EACCES || why->code == EPERM))
		return error_propagate(err, steal_ptr(why));
	return hops_choose(open, what, "no hop under way of that name", hop, err);
}

static int add_over(const char *hop, enum hop_state state, const json_t *facts, void *list,
		    struct error **err)
{
	(void)facts;
	(void)err;
	if (hop_state_final(state))
		json_array_append_new(
			list, json_pack("{s:s, s:s}", "hop", hop, "state", hop_state_name(state)));
	return 0;
}

int hops_find(const char *what, char hop[UUID_SIZE], struct error **err)
{
	auto_json list = NULL;

	/* A whole UUID needs no search, and may be of a hop that failed before it had a journal. */
	if (uuid_parse(what, hop))
		return 0;
	list = hops_open(NULL);
	(void)journal_each(add_over, list, NULL);
	return hops_choose(list, what, "no hop of that name", hop, err);
}
