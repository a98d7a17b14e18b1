/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the patched libxl-save-helper is linked with: its callbacks of the pre-copy phase, answered
 * by precopy.c. Here are the clock, the environment and the file of statistics. It is compiled by
 * scripts/build-xen-helper only, against the patched headers of Xen.
 *
 *	EDGEHOP_XEN_PRECOPY	parameters as params.h says, or @FILE with them, which is looked at
 *				before each decision: bounds may be changed while it runs.
 *				Not set: no callback is, and everything is as Xen has it.
 *	EDGEHOP_XEN_STATS	fd:N, or a file or FIFO that lines of JSON are appended to
 *
 * Parameters that are wrong at the start make the save fail before it begins; the guest runs on at
 * the source. After that nothing here fails a migration: a file that has become wrong is
 * reported and the bounds stay, lines that can't be written are left out.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenguest.h>
#include "libxl_save_policy.h"

#include "common/cleanup.h"
#include "common/error.h"
#include "hotskip/xen/precopy.h"

static_assert(sizeof(unsigned long) == sizeof(uint64_t), "Xen's bitmaps are libhotskip's");

#define CONTEXT "edgehop-xen-save-helper"

/* One save a process. */
static struct {
	struct xen_precopy *precopy;
	xentoollog_logger *logger;
	const char *file; /* of parameters, or NULL */
	char *text;	  /* what it had when last looked at */
	int stats;	  /* -1: none */
	int domid;
	int (*suspend)(void *data);
} policy = {.stats = -1};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A reader that is slow loses lines, one that is gone all of them; neither holds up the guest. */
static void write_line(const char *line, size_t length)
{
	struct pollfd room = {.fd = policy.stats, .events = POLLOUT};
	static const struct timespec none;
	sigset_t pipe_signal, before;

	if (policy.stats < 0 || poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
		return;
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipe_signal, &before);
	if (write(policy.stats, line, length) < 0 && errno != EINTR && errno != EAGAIN) {
		xtl_log(policy.logger, XTL_WARN, errno, CONTEXT,
			"can't write statistics; the migration goes on without them");
		policy.stats = -1;
		sigtimedwait(&pipe_signal, NULL, &none);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void write_round(const struct xen_round *round, const char *event)
{
	char line[XEN_LINE];
	int length = xen_round_line(round, event, line, sizeof(line));

	if (length > 0 && (size_t)length < sizeof(line))
		write_line(line, (size_t)length);
}

static void write_event(const char *event, const char *key, int value)
{
	char line[XEN_LINE];
	int length = snprintf(line, sizeof(line), "{\"event\":\"%s\",\"version\":1,\"%s\":%d}\n",
			      event, key, value);

	write_line(line, (size_t)length);
}

static int open_stats(struct error **err)
{
	const char *place = getenv("EDGEHOP_XEN_STATS");
	char *end;
	long fd;

	if (!place || !*place)
		return 0;
	if (strncmp(place, "fd:", 3) == 0) {
		fd = strtol(place + 3, &end, 10);
		if (end == place + 3 || *end || fd < 3 || fd > 1 << 20)
			return error_set(err, EINVAL,
					 "found EDGEHOP_XEN_STATS=%s, expected fd:N with N above 2",
					 place);
		if (fcntl((int)fd, F_GETFD) < 0)
			return error_errno(err, "EDGEHOP_XEN_STATS=%s", place);
		policy.stats = (int)fd;
		return 0;
	}
	policy.stats = open(place, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
	if (policy.stats < 0)
		return error_errno(err, "EDGEHOP_XEN_STATS: can't open %s", place);
	return 0;
}

/* The parameters' text, the caller's to free. */
static char *read_file(const char *path, struct error **err)
{
	char text[8192];
	auto_file file = fopen(path, "re");
	size_t length;

	if (!file) {
		error_errno(err, "can't read %s", path);
		return NULL;
	}
	length = fread(text, 1, sizeof(text) - 1, file);
	if (ferror(file)) {
		error_errno(err, "can't read %s", path);
		return NULL;
	}
	text[length] = '\0';
	return strdup(text);
}

static int read_params(const char *value, struct xen_params *params, struct error **err)
{
	if (value[0] == '@') {
		policy.file = value + 1;
		policy.text = read_file(policy.file, err);
		if (!policy.text)
			return error_wrap(err, "EDGEHOP_XEN_PRECOPY");
	}
	if (xen_params_parse(policy.text ? policy.text : value, params, err) < 0)
		return error_wrap(err, "%s", policy.file ? policy.file : "EDGEHOP_XEN_PRECOPY");
	return 0;
}

/*
 * Bounds that somebody changed. The text is compared, not the file's time: who writes a file
 * empties it first, both may happen within a tick of the clock, and a look may fall between them.
 * So an empty file is no parameters, and each text is reported once at most.
 */
static void reread_params(void)
{
	auto_error err = NULL;
	auto_free char *text = NULL;
	struct xen_params params;

	if (!policy.file)
		return;
	text = read_file(policy.file, NULL);
	if (!text || !*text || strcmp(text, policy.text) == 0)
		return;
	if (xen_params_parse(text, &params, &err) < 0)
		xtl_log(policy.logger, XTL_WARN, -1, CONTEXT,
			"%s: %s; the bounds stay as they were", policy.file, error_text(err));
	else
		xen_precopy_rebound(policy.precopy, &params);
	free(policy.text);
	policy.text = steal_ptr(text);
}

static struct xen_counts counts_of(const struct precopy_stats *stats)
{
	return (struct xen_counts){
		.written = stats->total_written,
		.contents = stats->total_contents,
		.seconds = (double)stats->contents_ns / 1e9,
		.redirtied = stats->total_redirtied,
		.pending = stats->dirty_count > 0 ? (uint64_t)stats->dirty_count : 0,
		.logged = stats->logged_count,
	};
}

/* Xen asks before and after a round. */
static int precopy_policy(struct precopy_stats stats, void *data)
{
	struct xen_counts counts = counts_of(&stats);
	struct xen_round round;

	(void)data;
	reread_params();
	if (!xen_precopy_in_round(policy.precopy))
		return counts.pending ? XGS_POLICY_CONTINUE_PRECOPY : XGS_POLICY_STOP_AND_COPY;
	switch (xen_precopy_end(policy.precopy, now_s(), &counts, &round)) {
	case XEN_GO_ON:
		write_round(&round, "round");
		return XGS_POLICY_CONTINUE_PRECOPY;
	case XEN_PAUSE:
		write_round(&round, "round");
		xtl_log(policy.logger, XTL_DETAIL, -1, CONTEXT, "pre-copy ends after round %u: %s",
			round.round, round.text);
		return XGS_POLICY_STOP_AND_COPY;
	default:
		write_round(&round, "round");
		xtl_log(policy.logger, XTL_ERROR, -1, CONTEXT,
			"pre-copy is given up after round %u: %s; the guest runs on at the source",
			round.round, round.text);
		return XGS_POLICY_ABORT;
	}
}

static int precopy_select(const struct precopy_stats *stats, const unsigned long *pending,
			  unsigned long *dirty, unsigned long nr_pages, void *data)
{
	auto_error err = NULL;
	bool skip;

	(void)stats;
	(void)data;
	if (xen_precopy_begin(policy.precopy, now_s(), nr_pages, (const uint64_t *)pending,
			      (uint64_t *)dirty, &skip, &err) < 0) {
		xtl_log(policy.logger, XTL_ERROR, -1, CONTEXT,
			"%s; the guest runs on at the source", error_text(err));
		return XGS_POLICY_ABORT;
	}
	return skip ? XGS_SELECT_SKIP_REDIRTIED : XGS_SELECT_EXACT;
}

static int suspend(void *data)
{
	xen_precopy_suspend(policy.precopy, now_s());
	write_event("suspend", "domid", policy.domid);
	return policy.suspend(data);
}

static void precopy_done(const struct precopy_stats *stats, void *data)
{
	struct xen_counts counts = counts_of(stats);
	struct xen_round round;

	(void)data;
	xen_precopy_done(policy.precopy, now_s(), &counts, &round);
	write_round(&round, "pause");
}

static int start(const char *value, struct error **err)
{
	struct xen_params params;

	if (read_params(value, &params, err) < 0 || open_stats(err) < 0)
		return -1;
	policy.precopy = xen_precopy_create(&params, err);
	return policy.precopy ? 0 : -1;
}

int save_policy_start(xentoollog_logger *logger, uint32_t domid, struct save_callbacks *callbacks)
{
	const char *value = getenv("EDGEHOP_XEN_PRECOPY");
	auto_error err = NULL;

	if (!value)
		return 0;
	policy.logger = logger;
	policy.domid = (int)domid;
	if (start(value, &err) < 0) {
		xtl_log(logger, XTL_ERROR, -1, CONTEXT, "%s; the guest runs on at the source",
			error_text(err));
		errno = err->code ? err->code : EINVAL;
		return -1;
	}
	policy.suspend = callbacks->suspend;
	callbacks->suspend = suspend;
	callbacks->precopy_policy = precopy_policy;
	callbacks->precopy_select = precopy_select;
	callbacks->precopy_done = precopy_done;
	write_event("start", "domid", policy.domid);
	return 0;
}

void save_policy_end(int result)
{
	if (!policy.precopy)
		return;
	write_event("end", "result", result);
	xen_precopy_destroy(policy.precopy);
	policy.precopy = NULL;
	free(policy.text);
}
