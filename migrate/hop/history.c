/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/history.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/places.h"
#include "common/wall.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/report.h"

#define LOG_MODULE  "history"
#define REPORT_MOST ((size_t)4 << 20)

/* The journal's state as a report calls it. */
static const char *result_of(enum hop_state state)
{
	switch (state) {
	case HOP_DONE:
		return "done";
	case HOP_UNDONE:
		return "undone";
	case HOP_GONE:
	case HOP_ACCEPTED:
		return "held";
	default:
		return "unknown";
	}
}

static const char *time_at(const json_t *records, size_t i)
{
	return json_string_value(json_object_get(json_array_get(records, i), "time"));
}

/* From the journal's first record to its last; 0 when they don't say. */
static double seconds_of(const json_t *records)
{
	const char *first = time_at(records, 0);
	const char *last = time_at(records, json_array_size(records) - 1);
	int64_t from, to;

	if (!first || !last || !wall_parse(first, &from) || !wall_parse(last, &to) || to < from)
		return 0;
	return (double)(to - from) / 1000;
}

/* All that the journal knows. */
static json_t *short_report(const char *hop, const json_t *json, struct error **err)
{
	enum hop_side side;
	auto_facts facts = hop_facts_from_json(json, &side, err);
	auto_json records = journal_records(hop, err);
	json_t *report;

	if (!facts || !records)
		return NULL;
	report = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s?, s:{s:s,s:s}, s:{s:s,s:s}, s:f}",
			   "edgehop", "report", "version", REPORT_VERSION, "hop", hop, "vm",
			   facts->vm->name, "side", hop_side_name(side), "started",
			   time_at(records, 0), "from", "site", facts->source_site, "host",
			   facts->source, "to", "site", facts->destination_site, "host",
			   facts->destination, "seconds", seconds_of(records));
	if (!report)
		error_set(err, ENOMEM, "no memory for a report");
	return report;
}

int history_note(const char *hop, const char *error, struct error **err)
{
	auto_json facts = NULL;
	auto_json report = NULL;
	enum hop_state state;

	if (journal_read(hop, &state, &facts, err) < 0)
		return -1;
	report = history_read(hop, NULL);
	if (!report)
		report = short_report(hop, facts, err);
	if (!report)
		return -1;
	json_object_set_new(report, "result", json_string(result_of(state)));
	if (error)
		json_object_set_new(report, "error", json_string(error));
	return report_write(report, err);
}

void history_note_quietly(const char *hop, const char *error)
{
	auto_error why = NULL;

	if (history_note(hop, error, &why) < 0)
		log_warn("the hop's report was not kept: %s", error_text(why));
}

json_t *history_read(const char *hop, struct error **err)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	json_error_t why;
	json_t *report;

	if (place(path, err, PLACE_STATE "/history/%s.json", hop) < 0)
		return NULL;
	text = read_file(path, REPORT_MOST, NULL, err);
	if (!text)
		return NULL;
	report = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	if (json_is_object(report))
		return report;
	error_set(err, EPROTO, "%s: found %s, expected a hop's report", path,
		  report ? "another type" : why.text);
	json_decref(report);
	return NULL;
}

/* A report from before reports had this: when its file was written, less what the hop took. */
static void add_started(json_t *report, const char *hop)
{
	double seconds = json_number_value(json_object_get(report, "seconds"));
	char path[PATH_MAX], text[WALL_TEXT];
	struct stat st;

	if (json_is_string(json_object_get(report, "started")) ||
	    place(path, NULL, PLACE_STATE "/history/%s.json", hop) < 0 || stat(path, &st) < 0)
		return;
	wall_text((int64_t)st.st_mtime * 1000 - (int64_t)(seconds * 1000), text);
	json_object_set_new(report, "started", json_string(text));
}

static int newer_first(const void *a, const void *b)
{
	const char *left = json_string_value(json_object_get(*(json_t *const *)a, "started"));
	const char *right = json_string_value(json_object_get(*(json_t *const *)b, "started"));

	return strcmp(right ? right : "", left ? left : "");
}

/* The first `most` of the list, sorted. The list is the caller's. */
static json_t *newest(const json_t *list, size_t most)
{
	size_t count = json_array_size(list);
	auto_free json_t **order = calloc(count + 1, sizeof(json_t *));
	json_t *sorted = json_array();

	for (size_t i = 0; order && i < count; i++)
		order[i] = json_array_get(list, i);
	if (order)
		qsort(order, count, sizeof(json_t *), newer_first);
	for (size_t i = 0; order && i < count && (most == 0 || i < most); i++)
		json_array_append(sorted, order[i]);
	return sorted;
}

json_t *history_list(const char *vm, size_t most, struct error **err)
{
	auto_json list = json_array();
	char folder[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (place(folder, err, PLACE_STATE "/history") < 0)
		return NULL;
	dir = opendir(folder);
	if (!dir && errno != ENOENT) {
		error_errno(err, "%s", folder);
		return NULL;
	}
	while (dir && (entry = readdir(dir))) {
		char hop[UUID_SIZE];
		auto_error why = NULL;
		auto_json report = NULL;
		const char *name;

		if (!uuid_of_file(entry->d_name, ".json", hop))
			continue;
		report = history_read(hop, &why);
		if (!report) {
			log_warn("%s", error_text(why)); /* one bad file hides no other hop */
			continue;
		}
		json_object_set_new(report, "hop", json_string(hop));
		name = json_string_value(json_object_get(report, "vm"));
		add_started(report, hop);
		if (!vm || (name && strcmp(name, vm) == 0))
			json_array_append(list, report);
	}
	if (dir)
		closedir(dir);
	return newest(list, most);
}
