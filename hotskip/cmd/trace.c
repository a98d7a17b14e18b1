/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/cmd/cmd.h"
#include "hotskip/sim/trace.h"
#include "hotskip/words.h"

static const char help[] = "usage: edgehop-hotskip trace FILE\n"
			   "Reads a recording to its end, and says what is in it.\n";

struct summary {
	struct trace_header header;
	uint64_t intervals, writes, distinct, most;
	double seconds, longest;
};

static int read_all_intervals(struct trace_reader *reader, struct summary *summary, uint64_t *dirty,
			      uint64_t *ever, struct error **err)
{
	size_t words = words_of(summary->header.pages);
	uint64_t duration;
	int got;

	while ((got = trace_next(reader, &duration, dirty, err)) > 0) {
		uint64_t n = words_count(dirty, words);

		for (size_t w = 0; w < words; w++)
			ever[w] |= dirty[w];
		summary->intervals++;
		summary->writes += n;
		summary->most = n > summary->most ? n : summary->most;
		summary->seconds += (double)duration * 1e-9;
		summary->longest = fmax(summary->longest, (double)duration * 1e-9);
	}
	summary->distinct = words_count(ever, words);
	return got;
}

static int summarise(const char *path, struct summary *summary, struct error **err)
{
	struct trace_reader *reader = trace_open(path, &summary->header, err);
	auto_free uint64_t *dirty = NULL;
	auto_free uint64_t *ever = NULL;
	int status;

	if (!reader)
		return -1;
	dirty = words_create(summary->header.pages);
	ever = words_create(summary->header.pages);
	if (dirty && ever)
		status = read_all_intervals(reader, summary, dirty, ever, err);
	else
		status = error_set(err, ENOMEM, "%s: no memory for its pages", path);
	trace_reader_destroy(reader);
	return status;
}

static void print(const struct summary *s)
{
	double page = s->header.page_size;

	printf("memory     %.1f MiB, %llu pages of %u bytes\n",
	       (double)s->header.pages * page / 0x1p20, (unsigned long long)s->header.pages,
	       s->header.page_size);
	printf("intervals  %llu in %.1f s; %.0f ms asked for, %.0f ms on average, %.0f ms at "
	       "most\n",
	       (unsigned long long)s->intervals, s->seconds, (double)s->header.interval_ns * 1e-6,
	       s->intervals ? s->seconds * 1e3 / (double)s->intervals : 0, s->longest * 1e3);
	printf("written    %llu pages (%.1f MiB) at some time; %.0f a second, %llu an interval at "
	       "most\n",
	       (unsigned long long)s->distinct, (double)s->distinct * page / 0x1p20,
	       s->seconds > 0 ? (double)s->writes / s->seconds : 0, (unsigned long long)s->most);
}

int cmd_trace(int argc, char **argv)
{
	struct summary summary = {0};
	auto_error why = NULL;

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
	if (argc != 2) {
		cmd_complain("found %d arguments, expected FILE (see --help)", argc - 1);
		return CMD_USAGE;
	}
	if (summarise(argv[1], &summary, &why) < 0)
		return cmd_fail(why);
	print(&summary);
	return CMD_DONE;
}
