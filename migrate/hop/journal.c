/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/places.h"

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
	char when[32];
	time_t now = time(NULL);
	struct tm utc;
	size_t size;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	json_object_set_new(record, "time", json_string(when));
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
	auto_json record =
		json_pack("{s:s, s:i, s:i, s:[], s:s, s:s, s:O}", "journal", "edgehop", "version",
			  JOURNAL_VERSION, "compatible", JOURNAL_COMPATIBLE, "features", "hop", hop,
			  "state", state_names[HOP_OPEN], "facts", (json_t *)(uintptr_t)facts);

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

/*
 * Reads the text of a journal. *valid: bytes that belong to whole lines (a power cut may leave a
 * torn one behind them, which was never acted on).
 */
static int parse(const char *path, char *text, enum hop_state *state, json_t **facts, size_t *valid,
		 struct error **err)
{
	char *line = text;
	int number = 0;

	for (char *end; (end = strchr(line, '\n')); line = end + 1) {
		auto_json record = NULL;
		int found;

		number++;
		record = json_loadb(line, (size_t)(end - line), 0, NULL);
		found = state_by_name(json_string_value(json_object_get(record, "state")));
		if (found < 0)
			return error_set(err, EPROTO, "%s:%d: found no record with a known state",
					 path, number);
		if (number == 1) {
			if (check_opening(record, path, err) < 0)
				return -1;
			if (facts)
				*facts = json_incref(json_object_get(record, "facts"));
		}
		*state = (enum hop_state)found;
	}
	if (number == 0)
		return error_set(err, ENODATA, "%s: found no record", path);
	*valid = (size_t)(line - text);
	return 0;
}

int journal_read(const char *hop, enum hop_state *state, json_t **facts, struct error **err)
{
	char path[PATH_MAX];
	auto_free char *text = NULL;
	auto_json found = NULL;
	size_t valid;

	if (journal_path(path, hop, err) < 0)
		return -1;
	text = read_file(path, JOURNAL_MOST, NULL, err);
	if (!text || parse(path, text, state, &found, &valid, err) < 0)
		return -1;
	if (facts)
		*facts = steal_ptr(found);
	return 0;
}

int journal_advance(const char *hop, enum hop_state to, struct error **err)
{
	char path[PATH_MAX];
	auto_free char *text = NULL;
	auto_json record = json_pack("{s:s}", "state", state_names[to]);
	enum hop_state from;
	size_t valid;

	if (journal_path(path, hop, err) < 0)
		return -1;

	auto_close fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return error_errno(err, "%s", path);
	text = read_file(path, JOURNAL_MOST, NULL, err);
	if (!text || parse(path, text, &from, NULL, &valid, err) < 0)
		return -1;
	if (from == to)
		return 0;
	if (!(successors[from] & MAY(to)))
		return error_set(err, EPERM, "hop %s: found it %s, which %s can't follow", hop,
				 state_names[from], state_names[to]);
	if (ftruncate(fd, (off_t)valid) < 0)
		return error_errno(err, "%s", path);
	if (!record || append(fd, path, record, err) < 0)
		return -1;
	log_info("state %s", state_names[to]);
	return 1;
}

int journal_each_open(int (*visit)(const char *hop, enum hop_state state, const json_t *facts,
				   void *context, struct error **err),
		      void *context, struct error **err)
{
	char folder[PATH_MAX];
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
		char name[UUID_SIZE];
		enum hop_state state;
		auto_json facts = NULL;
		auto_error why = NULL;

		if (strlen(entry->d_name) != UUID_SIZE - 1 + strlen(".jsonl"))
			continue;
		memcpy(name, entry->d_name, UUID_SIZE - 1);
		name[UUID_SIZE - 1] = '\0';
		if (!uuid_parse(name, hop))
			continue;
		if (journal_read(hop, &state, &facts, &why) < 0) {
			log_error("%s", error_text(why));
			continue;
		}
		if (!hop_state_final(state))
			result = visit(hop, state, facts, context, err);
	}
	closedir(dir);
	return result < 0 ? -1 : 0;
}
