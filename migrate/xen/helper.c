/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/xen/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#define LOG_MODULE "helper"
#include "common/log.h"
#include "migrate/hypervisor/xen.h"
#include "migrate/vm/vm_store.h"

#define LINE_MOST 2048
#define PAGE	  4096.0

struct helper {
	bool used;
	char bounds[PATH_MAX];
	int rounds; /* the FIFO; -1: none */
	struct jsonl *lines;
};

static int open_rounds(struct helper *helper, const char *path, struct error **err)
{
	if ((unlink(path) < 0 && errno != ENOENT) || mkfifo(path, 0600) < 0)
		return error_errno(err, "%s", path);
	/* for writing, too: else it would end with each helper */
	helper->rounds = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return helper->rounds < 0 ? error_errno(err, "%s", path) : 0;
}

static int offer(struct helper *helper, const struct vm_def *def, struct error **err)
{
	static const struct xen_bounds none = {.downtime_ns = 300 * NS_PER_MS};
	char rounds[PATH_MAX], word[PATH_MAX + 1];

	if (vm_store_run_path(helper->bounds, def->name, "save-bounds", err) < 0 ||
	    vm_store_run_path(rounds, def->name, "save-rounds", err) < 0 ||
	    open_rounds(helper, rounds, err) < 0)
		return -1;
	helper->lines = jsonl_create(LINE_MOST);
	if (!helper->lines)
		return error_set(err, ENOMEM, "out of memory");
	helper->used = true;
	snprintf(word, sizeof(word), "@%s", helper->bounds);
	setenv("LIBXL_SAVE_HELPER", XEN_SAVE_HELPER, 0);
	setenv("EDGEHOP_XEN_PRECOPY", word, 0);
	setenv("EDGEHOP_XEN_STATS", rounds, 0);
	return helper_limit(helper, &none, err);
}

struct helper *helper_open(const struct vm_def *def, struct error **err)
{
	struct helper *helper = calloc(1, sizeof(*helper));

	if (!helper) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	helper->rounds = -1;
	if (access(XEN_SAVE_HELPER, X_OK) < 0 || offer(helper, def, err) == 0)
		return helper;
	helper_close(helper);
	return NULL;
}

void helper_close(struct helper *helper)
{
	if (!helper)
		return;
	if (helper->rounds >= 0)
		close(helper->rounds);
	jsonl_destroy(helper->lines);
	free(helper);
}

int helper_limit(const struct helper *helper, const struct xen_bounds *bounds, struct error **err)
{
	char text[256], path[PATH_MAX + 8];
	int n;

	if (!helper->used)
		return 0;
	n = snprintf(text, sizeof(text), "downtime=%.3f\nstop=target%s\nunmet=%s\nrate=%llu\n",
		     (double)bounds->downtime_ns / 1e9,
		     bounds->unmet == HV_UNMET_GO_ON ? "" : "+smart",
		     bounds->unmet == HV_UNMET_ABORT ? "abort" : "pause",
		     (unsigned long long)bounds->rate);
	snprintf(path, sizeof(path), "%s.new", helper->bounds);

	auto_close fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write_all(fd, text, (size_t)n, NULL) < 0 || rename(path, helper->bounds) < 0)
		return error_errno(err, "%s", path);
	return 0;
}

static json_t *next_line(struct helper *helper)
{
	char data[LINE_MOST];
	struct error *why = NULL;
	json_t *line = jsonl_next(helper->lines, &why);
	ssize_t n;

	while (!line && !why && (n = read(helper->rounds, data, sizeof(data))) > 0)
		if (jsonl_feed(helper->lines, data, (size_t)n, &why) == 0)
			line = jsonl_next(helper->lines, &why);
	if (why)
		log_warn("what the save helper tells is dropped: %s", error_text(why));
	error_free(why);
	return line;
}

void helper_begin(struct helper *helper)
{
	json_t *line;

	if (!helper->used)
		return;
	while ((line = next_line(helper)))
		json_decref(line);
}

static void take_round(const json_t *line, struct hv_memory *memory)
{
	double seconds = json_number_value(json_object_get(line, "seconds"));
	double remaining = json_number_value(json_object_get(line, "remaining"));
	double dirtied = json_number_value(json_object_get(line, "dirtied"));
	double rate = json_number_value(json_object_get(line, "bytes_per_second"));
	double pause = json_number_value(json_object_get(line, "pause_seconds"));

	memory->rounds = (unsigned)json_integer_value(json_object_get(line, "round"));
	memory->remaining = (uint64_t)(remaining * PAGE);
	memory->transferred += (uint64_t)json_integer_value(json_object_get(line, "bytes"));
	memory->rate = (uint64_t)(rate * 8);
	memory->dirty_rate = seconds > 0 ? (uint64_t)(dirtied * PAGE / seconds) : 0;
	memory->downtime_ns = (int64_t)(pause * 1e9);
	log_info("round %u: %s, %s", memory->rounds,
		 json_string_value(json_object_get(line, "verdict")),
		 json_string_value(json_object_get(line, "text")));
}

bool helper_read(struct helper *helper, struct hv_memory *memory)
{
	bool told = false;
	json_t *line;

	if (!helper->used)
		return false;
	while ((line = next_line(helper))) {
		const char *event = json_string_value(json_object_get(line, "event"));

		if (event && strcmp(event, "round") == 0) {
			take_round(line, memory);
			told = true;
		}
		json_decref(line);
	}
	return told;
}
