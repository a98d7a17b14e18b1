/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/history.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/places.h"
#include "common/uuid.h"
#include "common/wall.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"

/*
 * Theory of operation
 *
 * The journal says whether a hop is over, so it goes last: a prune that is interrupted leaves
 * nothing behind that a later one would not understand. A run folder without a journal is that of
 * a hop which failed before it had one, if its end stands there; else one that begins just now.
 */
struct prune {
	int64_t before_ms;
	json_t *hops; /* a set: those that something was removed of */
};

/* Last written before the limit? A file that is not there is not old. */
static bool is_old(const struct prune *prune, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 &&
	       (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 < prune->before_ms;
}

enum over {
	OVER_NO,
	OVER_YES,
	OVER_NO_JOURNAL
};

static enum over is_over(const char *hop)
{
	auto_error why = NULL;
	enum hop_state state;

	if (journal_read(hop, &state, NULL, &why) == 0)
		return hop_state_final(state) ? OVER_YES : OVER_NO;
	return why->code == ENOENT ? OVER_NO_JOURNAL : OVER_NO;
}

/* The files of a hop's run folder lie flat. */
static int remove_folder(const char *path, struct error **err)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		return error_errno(err, "%s", path);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	return rmdir(path) < 0 ? error_errno(err, "%s", path) : 0;
}

static int prune_run(struct prune *prune, const char *hop, const char *path, struct error **err)
{
	enum over over = is_over(hop);

	if (over == OVER_NO || (over == OVER_NO_JOURNAL && !keeper_has_end(hop)) ||
	    !is_old(prune, path) || keeper_lives(hop))
		return 0;
	if (remove_folder(path, err) < 0)
		return -1;
	json_object_set_new(prune->hops, hop, json_true());
	return 0;
}

static int prune_file(struct prune *prune, const char *hop, const char *path, struct error **err)
{
	if (is_over(hop) == OVER_NO || !is_old(prune, path) || keeper_lives(hop))
		return 0;
	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(err, "%s", path);
	json_object_set_new(prune->hops, hop, json_true());
	return 0;
}

static int prune_all(struct prune *prune, const char *top, const char *suffix,
		     int (*one)(struct prune *prune, const char *hop, const char *path,
				struct error **err),
		     struct error **err)
{
	char folder[PATH_MAX];
	struct dirent *entry;
	int result = 0;
	DIR *dir;

	if (place(folder, err, "%s", top) < 0)
		return -1;
	dir = opendir(folder);
	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, "%s", folder);
	while (result == 0 && (entry = readdir(dir))) {
		char hop[UUID_SIZE], path[PATH_MAX];

		if (!uuid_of_file(entry->d_name, suffix, hop))
			continue;
		result = place(path, err, "%s/%s%s", top, hop, suffix);
		if (result == 0)
			result = one(prune, hop, path, err);
	}
	closedir(dir);
	return result;
}

int history_prune(int64_t age_ms, size_t *count, struct error **err)
{
	auto_json hops = json_object();
	struct prune prune = {.before_ms = wall_ms() - age_ms, .hops = hops};
	int result = prune_all(&prune, PLACE_RUN "/hops", "", prune_run, err);

	if (result == 0)
		result = prune_all(&prune, PLACE_STATE "/history", ".json", prune_file, err);
	if (result == 0)
		result = prune_all(&prune, PLACE_STATE "/journal", ".jsonl", prune_file, err);
	*count = json_object_size(hops);
	return result;
}
