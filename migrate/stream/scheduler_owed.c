/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/*
 * What the destination lacks, and the order in which it gets that.
 *
 * The hypervisor emits what is dirty in the order of addresses, so what will be written next as
 * readily as what was written last. Any content that is read from the guest's memory after the
 * hypervisor emitted the page once is as good as what it emits (scheduler_peek.c). So of a page
 * that comes again nothing is kept but that it is owed, and the scheduler goes through those that
 * are, in an order of its own: first what will stay as it is for longest (page_ages.h).
 *
 * To know how long pages stay it watches them: all that were ever seen written, again and again,
 * and, more slowly, all that went on. So it learns what was written before the hypervisor tells,
 * whose pass over memory may take minutes, and sends it; when the hypervisor comes to tell, the
 * destination has it.
 *
 * Told pages. What was written since the hypervisor emitted the page it knows to be dirty, and
 * won't pause the guest while that is much. What it emitted and nobody sent it takes for done: that
 * is as good as held, counts as such, and when it is too much for the target, nothing is read until
 * it is less. What is owed still when the guest is paused is read there.
 */
#define WATCH_RATE  (400ull << 20) /* bytes/s of memory looked at: a tenth of a core, about */
#define WATCH_SLICE 16		   /* pages */
#define SLOTS	    8		   /* in a downtime target */
#define SLOT_LEAST  (10 * NS_PER_MS)
#define TRIES	    64 /* pages that are looked at, at most, to find one to send */
#define IN_VAIN	    1.6 /* TODO */

int scheduler_start_watch(struct scheduler *s, uint64_t pages, struct error **err)
{
	int64_t slot_ns = s->options.downtime_ns / SLOTS;

	s->ages = page_ages_create(pages, slot_ns > SLOT_LEAST ? slot_ns : SLOT_LEAST, err);
	if (!s->ages)
		return -1;
	s->seen = calloc(pages, sizeof(*s->seen));
	s->told = calloc(pages / 64 + 1, sizeof(*s->told));
	if (!s->seen || !s->told)
		return error_set(err, ENOMEM, "no memory to follow %" PRIu64 " pages", pages);
	bucket_set_rate(&s->watching, WATCH_RATE, s->now_ns);
	return 0;
}

static void set_told(struct scheduler *s, uint64_t page, bool told)
{
	uint64_t bit = 1ull << page % 64;
	bool was = s->told[page / 64] & bit;

	if (was == told)
		return;
	s->told[page / 64] ^= bit;
	s->told_count += told ? 1 : -1ull;
}

bool scheduler_settle(struct scheduler *s, uint64_t page)
{
	uint64_t bit = 1ull << page % 64;

	if (!(s->owed[page / 64] & bit))
		return false;
	s->owed[page / 64] &= ~bit;
	s->owed_count--;
	set_told(s, page, false);
	page_ages_remove(s->ages, page);
	return true;
}

static void owe(struct scheduler *s, uint64_t page)
{
	uint64_t bit = 1ull << page % 64;

	if (s->owed[page / 64] & bit)
		return;
	s->owed[page / 64] |= bit;
	s->owed_count++;
	page_ages_add(s->ages, page);
}

static bool is_owed(const struct scheduler *s, uint64_t page)
{
	return s->owed[page / 64] >> page % 64 & 1;
}

/* The page looks like that now. Returns whether it is owed. */
static bool look(struct scheduler *s, uint64_t page, const uint8_t *content, int64_t since_ns)
{
	bool same, owed = is_owed(s, page);
	uint64_t brief = page_digests_look(s->digests, page, content, &same);
	bool written = owed ? brief != s->seen[page] : !same;

	if (written) {
		page_ages_written(s->ages, page);
		page_sample_add(&s->sample, page);
		set_told(s, page, false);
		s->seen[page] = brief;
	} else if (since_ns > 0) {
		page_ages_kept(s->ages, page, since_ns);
	}
	if (same)
		scheduler_settle(s, page);
	else
		owe(s, page);
	return !same;
}

void scheduler_leave_out(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	s->stats.pages_stale++;
	page_sample_add(&s->sample, page);
	look(s, page, content, 0);
}

bool scheduler_owe_page(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	if (!scheduler_peek_page(s, page, s->peeked))
		return false;
	page_ages_advance(s->ages, s->now_ns);
	if (!look(s, page, s->peeked, 0)) {
		s->stats.pages_there++;
		return true;
	}
	if (memcmp(content, s->peeked, QEMU_PAGE) == 0)
		set_told(s, page, true);
	return true;
}

/* ---- Watching ---- */

static uint64_t next_in(const uint64_t *bits, uint64_t from, uint64_t end)
{
	uint64_t word = from / 64, rest;

	if (from >= end)
		return end;
	rest = bits[word] & ~0ull << from % 64;
	while (!rest && ++word * 64 < end)
		rest = bits[word];
	if (!rest)
		return end;
	word = word * 64 + (uint64_t)__builtin_ctzll(rest);
	return word < end ? word : end;
}

static void watch_some(struct scheduler *s, struct watch *w, const uint64_t *bits)
{
	uint64_t begin = s->first_page[s->peek_block], end = s->first_page[s->peek_block + 1];

	if (w->resting) {
		if (s->now_ns - w->began_ns < w->least_ns)
			return;
		w->resting = false;
		w->period_ns = w->began_ns ? s->now_ns - w->began_ns : 0;
		w->began_ns = s->now_ns;
		w->at = begin;
	}
	for (int i = 0; i < WATCH_SLICE; i++) {
		uint64_t page = next_in(bits, w->at, end);

		if (page == end) {
			w->resting = true;
			return;
		}
		w->at = page + 1;
		if ((is_owed(s, page) || page_digests_has(s->digests, page)) &&
		    scheduler_peek_page(s, page, s->peeked))
			look(s, page, s->peeked, w->period_ns);
	}
}

void scheduler_watch(struct scheduler *s)
{
	int64_t wait_ns;

	if (!s->digests || s->stage != STAGE_ROUNDS)
		return;
	page_ages_advance(s->ages, s->now_ns);
	while (bucket_draw(&s->watching, WATCH_SLICE * QEMU_PAGE, s->now_ns, &wait_ns)) {
		s->watch_turn = !s->watch_turn;
		if (s->watch_turn)
			watch_some(s, &s->watch_written, s->sample.in);
		else
			watch_some(s, &s->watch_sent, s->sent);
	}
}

/* ---- Sending ---- */

static bool in_vain(const struct scheduler *s, uint64_t page)
{
	return !s->finishing && page_ages_stays_ns(s->ages, page) * IN_VAIN < s->options.downtime_ns &&
	       s->owed_count * QEMU_PAGE < scheduler_target(s) / 2;
}

int scheduler_send_owed(struct scheduler *s, struct error **err)
{
	if (!s->digests || s->stage != STAGE_ROUNDS)
		return 0;
	page_ages_advance(s->ages, s->now_ns);
	for (int i = 0; i < TRIES; i++) {
		uint64_t page = page_ages_best(s->ages);
		bool told;

		if (page == AGES_NONE || in_vain(s, page))
			return 0;
		if (!scheduler_peek_page(s, page, s->peeked)) {
			page_ages_remove(s->ages, page);
			continue;
		}
		told = s->told[page / 64] >> page % 64 & 1;
		(void)told;
		if (!look(s, page, s->peeked, 0))
			continue;
		if (page_ages_best(s->ages) != page)
			continue;
		scheduler_settle(s, page);
		return scheduler_write_page(s, page, s->peeked, 0, err) < 0 ? -1 : 1;
	}
	return 0;
}

int scheduler_fetch_owed(struct scheduler *s, struct error **err)
{
	uint64_t pages = s->first_page[s->blocks];
	uint8_t content[QEMU_PAGE];

	for (uint64_t page = 0; s->owed_count > 0; page++) {
		page = next_in(s->owed, page, pages);
		if (page == pages)
			break;
		if (!scheduler_peek_page(s, page, content))
			return error_set(err, EIO,
					 "page %" PRIu64 " of the guest's memory was left out, did "
					 "not come again and can't be read",
					 page);
		scheduler_settle(s, page);
		s->stats.pages_fetched++;
		if (scheduler_hold(s, page, content, QUEUE_COLD, err) < 0)
			return -1;
	}
	return 0;
}
