/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/*
 * What the destination lacks, and the order in which it gets that.
 *
 * The hypervisor emits what is dirty in the order of addresses, so what will be written next as
 * readily as what was written last. Any content that is read from the guest's memory after the
 * hypervisor emitted the page once is as good as what it emits (scheduler_peek.c). So of a page
 * that comes again nothing is kept but that it is owed, and the scheduler goes through those that
 * are in an order of its own: first what will stay as it is for longest (page_ages.h). What it
 * knows of ages it sees for itself (scheduler_watch.c), and so learns of a write before the
 * hypervisor tells, whose pass over memory may take minutes; when that comes to tell, the
 * destination has the page.
 *
 * Told pages. What was written since the hypervisor emitted it, it knows to be dirty, and does not
 * pause the guest while that is much. What it emitted and nobody sent, it takes for done: such
 * pages count as held, and when they are too much for the target, nothing is read until they are
 * less. What is owed still when the guest is paused is read there.
 */
#define TRIES 256 /* pages that are looked at, at most, to find one to send */

bool scheduler_owes(const struct scheduler *s, uint64_t page)
{
	return s->owed[page / 64] >> page % 64 & 1;
}

void scheduler_set_told(struct scheduler *s, uint64_t page, bool told)
{
	uint64_t bit = 1ull << page % 64;

	if (told == !!(s->told[page / 64] & bit))
		return;
	s->told[page / 64] ^= bit;
	s->told_count += told ? 1 : -1ull;
}

void scheduler_owe(struct scheduler *s, uint64_t page)
{
	if (scheduler_owes(s, page))
		return;
	s->owed[page / 64] |= 1ull << page % 64;
	s->owed_count++;
	page_sample_add(&s->sample, page);
	page_ages_add(s->ages, page);
}

void scheduler_settle(struct scheduler *s, uint64_t page)
{
	if (!scheduler_owes(s, page))
		return;
	s->owed[page / 64] &= ~(1ull << page % 64);
	s->owed_count--;
	scheduler_set_told(s, page, false);
	page_ages_remove(s->ages, page);
}

bool scheduler_take_for_owed(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	if (!s->digests || s->stage != STAGE_ROUNDS || !scheduler_peek_pages(s, page, 1, s->peeked))
		return false;
	scheduler_see(s, page, s->peeked, 0);
	if (scheduler_has(s, page, s->peeked)) {
		scheduler_settle(s, page);
		s->stats.pages_there++;
		return true;
	}
	s->stats.pages_owed++;
	scheduler_owe(s, page);
	scheduler_set_told(s, page, memcmp(content, s->peeked, STREAM_PAGE) == 0);
	return true;
}

/* It will be written again before the guest is paused, and what is left is about to fit without. */
static bool in_vain(const struct scheduler *s, uint64_t page)
{
	return !s->finishing && s->owed_count * STREAM_PAGE < scheduler_target(s) / 2 &&
	       (double)page_ages_stays_ns(s->ages, page) * SCHEDULER_IN_VAIN <
		       (double)s->options.downtime_ns;
}

/* 1: the page may go on, as it is in peeked; 0: it is owed no more, or another one comes first. */
static bool may_go(struct scheduler *s, uint64_t page)
{
	if (!scheduler_peek_pages(s, page, 1, s->peeked)) {
		page_ages_remove(s->ages, page); /* it is tried again in the pause */
		return false;
	}
	if (scheduler_see(s, page, s->peeked, 0))
		return false;
	if (scheduler_has(s, page, s->peeked)) {
		scheduler_settle(s, page);
		return false;
	}
	return true;
}

int scheduler_send_owed(struct scheduler *s, struct error **err)
{
	if (!s->digests || s->stage != STAGE_ROUNDS)
		return 0;
	for (int i = 0; i < TRIES; i++) {
		uint64_t page = page_ages_best(s->ages);

		if (page == AGES_NONE || in_vain(s, page))
			return 0;
		if (!may_go(s, page))
			continue;
		s->stats.pages_chosen++;
		return scheduler_write_page(s, page, s->peeked, 0, err) < 0 ? -1 : 1;
	}
	return 0;
}

/* Pages one behind the other that are owed, from this one on: how many, as far as they are read at
 * once. */
static size_t owed_run(const struct scheduler *s, uint64_t page)
{
	uint64_t end = s->first_page[s->peek_block + 1];
	size_t n = 1;

	while (n < SCHEDULER_PEEK_MOST && page + n < end && scheduler_owes(s, page + n))
		n++;
	return n;
}

static int fetch_run(struct scheduler *s, uint64_t page, struct error **err)
{
	size_t n = owed_run(s, page);

	if (!scheduler_peek_pages(s, page, n, s->run))
		return error_set(err, EIO,
				 "pages %" PRIu64 " to %" PRIu64 " of the guest's memory were left "
				 "out, did not come again and can't be read",
				 page, page + n - 1);
	for (size_t i = 0; i < n; i++) {
		s->stats.pages_fetched++;
		if (scheduler_hold(s, page + i, s->run + i * STREAM_PAGE, QUEUE_COLD, err) < 0)
			return -1;
	}
	return 0;
}

int scheduler_fetch_owed(struct scheduler *s, struct error **err)
{
	uint64_t words = s->first_page[s->blocks] / 64 + 1;

	for (uint64_t word = 0; word < words && s->owed_count > 0; word++)
		while (s->owed[word])
			if (fetch_run(s, word * 64 + (uint64_t)__builtin_ctzll(s->owed[word]),
				      err) < 0)
				return -1;
	return 0;
}
