/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/replay.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/random.h"
#include "hotskip/sim/trace.h"
#include "hotskip/words.h"

#define INTERVALS_MOST (1u << 24)

struct replay {
	struct trace_header header;
	uint64_t seed;
	uint32_t intervals;
	double *starts;	   /* s; one more than intervals: the end */
	uint64_t *first;   /* of each page, and one more: where in `written` its intervals are */
	uint32_t *written; /* intervals, ascending for each page */
};

uint64_t replay_pages(const struct replay *replay)
{
	return replay->header.pages;
}

uint32_t replay_page_size(const struct replay *replay)
{
	return replay->header.page_size;
}

void replay_destroy(struct replay *replay)
{
	if (!replay)
		return;
	free(replay->starts);
	free(replay->first);
	free(replay->written);
	free(replay);
}

static int add_interval(struct replay *replay, uint64_t duration_ns, struct error **err)
{
	uint32_t n = replay->intervals;

	if (n == INTERVALS_MOST)
		return error_set(err, EFBIG, "trace: more than %u intervals", INTERVALS_MOST);
	/* a power of 2 and one more */
	if (n == 0 || (n & (n - 1)) == 0) {
		double *starts = realloc(replay->starts, (2 * (size_t)n + 2) * sizeof(*starts));

		if (!starts)
			return error_set(err, ENOMEM, "trace: no memory for %u intervals", n);
		replay->starts = starts;
	}
	if (n == 0)
		replay->starts[0] = 0;
	replay->starts[n + 1] = replay->starts[n] + (double)duration_ns * 1e-9;
	replay->intervals++;
	return 0;
}

/* Goes through the trace: once to count each page's intervals, once to write them down. */
static int read_trace(struct replay *replay, const char *path, uint64_t *dirty, uint64_t *next,
		      struct error **err)
{
	struct trace_reader *reader = trace_open(path, &replay->header, err);
	uint64_t duration;
	int got;

	if (!reader)
		return -1;
	replay->intervals = 0;
	while ((got = trace_next(reader, &duration, dirty, err)) > 0) {
		for (size_t w = 0; w < words_of(replay->header.pages); w++)
			for (uint64_t left = dirty[w]; left; left &= left - 1) {
				uint64_t page = w * 64 + (uint64_t)__builtin_ctzll(left);

				if (replay->written)
					replay->written[next[page]] = replay->intervals;
				next[page]++;
			}
		if (add_interval(replay, duration, err) < 0) {
			got = -1;
			break;
		}
	}
	trace_reader_destroy(reader);
	return got;
}

static int no_memory(const char *path, struct error **err)
{
	return error_set(err, ENOMEM, "%s: no memory for all its pages", path);
}

static int load(struct replay *replay, const char *path, struct error **err)
{
	struct trace_reader *reader = trace_open(path, &replay->header, err);
	uint64_t pages = replay->header.pages, sum = 0;
	auto_free uint64_t *dirty = NULL;
	auto_free uint64_t *next = NULL;

	trace_reader_destroy(reader);
	if (!reader)
		return -1;
	dirty = words_create(pages);
	next = words_create(pages * 64); /* a word a page */
	replay->first = calloc(pages + 1, sizeof(*replay->first));
	if (!dirty || !next || !replay->first)
		return no_memory(path, err);
	if (read_trace(replay, path, dirty, next, err) < 0)
		return -1;
	for (uint64_t page = 0; page < pages; page++) {
		replay->first[page] = sum;
		sum += next[page];
		next[page] = replay->first[page];
	}
	replay->first[pages] = sum;
	if (replay->intervals == 0)
		return error_set(err, EINVAL, "%s: a trace without any interval", path);
	replay->written = malloc((sum ? sum : 1) * sizeof(*replay->written));
	if (!replay->written)
		return no_memory(path, err);
	return read_trace(replay, path, dirty, next, err);
}

struct replay *replay_create(const char *path, uint64_t seed, struct error **err)
{
	struct replay *replay = calloc(1, sizeof(*replay));

	if (!replay) {
		no_memory(path, err);
		return NULL;
	}
	replay->seed = seed;
	if (load(replay, path, err) < 0) {
		replay_destroy(replay);
		return NULL;
	}
	return replay;
}

void replay_active(const struct replay *replay, uint64_t *active)
{
	for (uint64_t page = 0; page < replay->header.pages; page++)
		if (replay->first[page] < replay->first[page + 1])
			bit_set(active, page);
}

/* The first of a page's intervals that ends after `time`. */
static uint64_t find_from(const struct replay *replay, uint64_t page, double time)
{
	uint64_t low = replay->first[page], high = replay->first[page + 1];

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (replay->starts[replay->written[middle] + 1] > time)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static double time_of_write(const struct replay *replay, uint64_t page, uint32_t interval)
{
	uint64_t mixed = random_mix(replay->seed ^ random_mix(page << 24 ^ interval));
	double start = replay->starts[interval];

	return start + (double)(mixed >> 11) * 0x1p-53 * (replay->starts[interval + 1] - start);
}

/* Within one pass of the trace. */
static bool written_within(const struct replay *replay, uint64_t page, double from, double to)
{
	for (uint64_t i = find_from(replay, page, from); i < replay->first[page + 1]; i++) {
		uint32_t interval = replay->written[i];
		double when = time_of_write(replay, page, interval);

		if (replay->starts[interval] >= to)
			break;
		if (when >= from && when < to)
			return true;
	}
	return false;
}

bool replay_written(const struct replay *replay, uint64_t page, double from, double to)
{
	double cycle = replay->starts[replay->intervals];
	double start = fmod(from, cycle), end = start + (to - from);

	if (replay->first[page] == replay->first[page + 1])
		return false;
	if (to - from >= cycle)
		return true;
	return written_within(replay, page, start, end) ||
	       (end > cycle && written_within(replay, page, 0, end - cycle));
}
