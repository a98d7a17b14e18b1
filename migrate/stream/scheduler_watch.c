/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/clock.h"

/*
 * Which pages the guest writes, and when, as its memory shows.
 *
 * Two walks go over it without an end: one over the pages that were ever seen written, so that it
 * is known how long such pages stay as they are; one over all of them, slower the larger the guest
 * is, that finds more. In the first pass that one is ahead of the stream, so that by the time of
 * its turn a page may be known to be one that is written, and can be sent when it is worth most:
 * not in the middle of the first pass.
 *
 * A page's look is kept as 64 bits of a hash that anybody can make collide: a guest that does hides
 * its own writes from a guess of what to send first, and from nothing else. Whether the destination
 * has a page is told by its digest (page_digest.h).
 */
#define WATCH_RATE (800ull << 20) /* bytes/s of memory: a sixth of a core at the most */
#define WATCHED	   ((uint64_t)SCHEDULER_PEEK_MOST * STREAM_PAGE)
#define SLOTS	   8 /* that a downtime target has: how exactly ages are known */
#define SLOT_LEAST (10 * NS_PER_MS)

int scheduler_start_watch(struct scheduler *s, uint64_t pages, struct error **err)
{
	int64_t slot_ns = s->options.downtime_ns / SLOTS;

	if (slot_ns < SLOT_LEAST)
		slot_ns = SLOT_LEAST;
	s->ages = page_ages_create(pages, slot_ns, err);
	if (!s->ages)
		return -1;
	s->seen = calloc(pages, sizeof(*s->seen));
	s->told = calloc(pages / 64 + 1, sizeof(*s->told));
	if (!s->seen || !s->told)
		return error_set(err, ENOMEM, "no memory to follow %" PRIu64 " pages", pages);
	s->watch_known.least_ns = s->watch_all.least_ns = slot_ns / 2;
	bucket_set_rate(&s->watching, WATCH_RATE, s->now_ns);
	page_ages_advance(s->ages, s->now_ns);
	return 0;
}

static uint64_t look_of(const uint8_t *content)
{
	uint64_t hash = XXH3_64bits(content, STREAM_PAGE);

	return hash ? hash : 1; /* 0: not seen yet */
}

void scheduler_see_first(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	/* what was seen in memory is no older than what the hypervisor read there */
	if (s->digests && s->seen[page] == 0)
		s->seen[page] = look_of(content);
}

bool scheduler_see(struct scheduler *s, uint64_t page, const uint8_t *content, int64_t since_ns)
{
	uint64_t look = look_of(content), before = s->seen[page];

	s->seen[page] = look;
	if (before == 0)
		return false;
	if (before == look) {
		page_ages_kept(s->ages, page, since_ns);
		return false;
	}
	page_ages_written(s->ages, page, since_ns);
	scheduler_set_told(s, page, false);
	if (scheduler_was_sent(s, page))
		scheduler_owe(s, page);
	return true;
}

/* The first page from there on that the walk goes to; `end`: none. */
static uint64_t next_page(const uint64_t *only, uint64_t from, uint64_t end)
{
	uint64_t word = from / 64, bits;

	if (!only || from >= end)
		return from;
	bits = only[word] & ~0ull << from % 64;
	while (!bits && ++word * 64 < end)
		bits = only[word];
	from = bits ? word * 64 + (uint64_t)__builtin_ctzll(bits) : end;
	return from < end ? from : end;
}

static void walk_some(struct scheduler *s, struct walk *walk, const uint64_t *only)
{
	uint64_t end = s->first_page[s->peek_block + 1], page;
	size_t n = 0;

	if (walk->at >= end) {
		if (s->now_ns - walk->began_ns < walk->least_ns)
			return;
		walk->period_ns = walk->began_ns ? s->now_ns - walk->began_ns : 0;
		walk->began_ns = s->now_ns;
		walk->at = s->first_page[s->peek_block];
	}
	page = next_page(only, walk->at, end);
	while (page + n < end && n < SCHEDULER_PEEK_MOST &&
	       next_page(only, page + n, end) == page + n)
		n++;
	walk->at = page + n;
	if (n == 0 || !scheduler_peek_pages(s, page, n, s->run))
		return;
	for (size_t i = 0; i < n; i++) {
		/* of the pages that the other walk goes over, it knows when they were looked at */
		bool own = only || !page_sample_has(&s->sample, page + i);

		scheduler_see(s, page + i, s->run + i * STREAM_PAGE, own ? walk->period_ns : 0);
	}
}

void scheduler_watch(struct scheduler *s)
{
	int64_t wait_ns;
	uint64_t drawn;

	if (!s->digests || !s->sample.in || s->stage != STAGE_ROUNDS)
		return;
	page_ages_advance(s->ages, s->now_ns);
	while ((drawn = bucket_draw(&s->watching, 2 * WATCHED, s->now_ns, &wait_ns)) ==
	       2 * WATCHED) {
		walk_some(s, &s->watch_known, s->sample.in);
		walk_some(s, &s->watch_all, NULL);
	}
	bucket_give_back(&s->watching, drawn);
}
