/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <math.h>
#include <string.h>

#include "common/clock.h"

/*
 * Pages as they are when their turn has come.
 *
 * The hypervisor cleared a page's dirty bit before it read what it emitted. So what differs from
 * that now was written since, is dirty, and will be emitted again. What is the same may have been
 * written too, with what was there; then it comes again, no harm done. So any content that was read
 * from the guest's memory since is as good as what was emitted, and better, since it is newer: even
 * one that was read in the middle of a write, as that write makes the page dirty.
 *
 * What goes on is noted (page_digest.h). The hypervisor's log says of a page that it was written
 * since the last look at the log; it does not know that it went on, as it was, after that. In a
 * pass of length t a page that is written once has half a chance that this was before its turn.
 *
 * In the first pass pages wait a while, to see whether they are written; those that are, are left
 * out: the end is far.
 */
#define SHARE_PAGES	  64		   /* fewer tell nothing */
#define EARLY_FIRST_SHARE 0.25		   /* of the first rounds, as long as nobody knows */
#define SAMPLE_NS	  (50 * NS_PER_MS) /* from one look at the sample to the next, at least */

bool scheduler_may_peek(const struct scheduler *s, uint64_t page)
{
	return s->peek_block < s->blocks && page >= s->first_page[s->peek_block] &&
	       page < s->first_page[s->peek_block + 1];
}

bool scheduler_peek_pages(const struct scheduler *s, uint64_t page, size_t pages, uint8_t *content)
{
	return s->options.peek(s->options.peek_arg, page - s->first_page[s->peek_block], pages,
			       content);
}

bool scheduler_has(const struct scheduler *s, uint64_t page, const uint8_t *content)
{
	return page_digests_same(s->digests, page, content);
}

/*
 * The first pass goes on without pages that are written to. Those are owed, and sent when that is
 * worth most.
 */
static enum page_fate leave_out(struct scheduler *s, uint32_t slot)
{
	uint64_t page = page_pool_page(s->pool, slot);
	bool told = memcmp(s->peeked, page_pool_content(s->pool, slot), STREAM_PAGE) == 0;

	scheduler_owe(s, page);
	scheduler_set_told(s, page, told);
	s->stats.pages_stale++;
	return FATE_OWED;
}

enum page_fate scheduler_look(struct scheduler *s, uint32_t slot, const uint8_t **content)
{
	uint64_t page = page_pool_page(s->pool, slot);

	*content = page_pool_content(s->pool, slot);
	/* paused, or about to be: what comes last is what counts */
	if (!s->digests)
		return FATE_SEND;
	if (s->stage == STAGE_ROUNDS && scheduler_peek_pages(s, page, 1, s->peeked)) {
		*content = s->peeked;
		scheduler_see(s, page, s->peeked, 0);
		if (s->rounds == 0 && page_ages_known(s->ages, page))
			return leave_out(s, slot);
	}
	return scheduler_has(s, page, *content) ? FATE_THERE : FATE_SEND;
}

/*
 * Of the pages in the sample, the share that the destination does not have as they are now. Those
 * that can't be looked at count as such.
 */
static void look_at_sample(struct scheduler *s, int64_t now_ns)
{
	struct page_sample *sample = &s->sample;
	unsigned lacking = 0;

	for (unsigned i = 0; i < sample->size; i++) {
		uint64_t page = sample->pages[i];

		lacking += !scheduler_peek_pages(s, page, 1, s->peeked) ||
			   !scheduler_has(s, page, s->peeked);
	}
	sample->share = page_sample_share(lacking, sample->size);
	sample->looked_ns = now_ns;
}

/* Of the pages that come again, the share that never had before. */
static double first_share(const struct scheduler *s)
{
	if (s->rounds < 2)
		return EARLY_FIRST_SHARE; /* all have, in this round: it says nothing of the next */
	if (s->now.again >= SHARE_PAGES)
		return (double)s->now.first / (double)s->now.again;
	if (s->rounds > 2 && s->last.again >= SHARE_PAGES)
		return (double)s->last.first / (double)s->last.again;
	return EARLY_FIRST_SHARE;
}

/*
 * Of what the hypervisor will emit, the pages that the sample does not know, since they are written
 * for the first time, or can't be looked at. Those that it does know come once in a round. What
 * can't be looked at is taken to be written in each round as in the last one.
 */
static double unknown_pages(const struct scheduler *s, int64_t now_ns)
{
	double remaining = (double)s->remaining / STREAM_PAGE, share = first_share(s);
	double fresh = scheduler_fresh_bytes(s, now_ns) / STREAM_PAGE;
	double came = (double)(s->now.again - s->now.blind); /* all of these are known by now */
	double to_come = fmax(0, (double)s->sample.known - came);
	double blind = s->rounds < 2 ? (double)s->blind
				     : fmax((double)s->last.blind, (double)s->now.blind);

	return fmax(remaining - to_come, share * remaining) + share * fresh + fmin(blind, fresh);
}

/*
 * What a pause would have to carry: what is on its way; pages that were never sent; of those that
 * are known to be written, the share found in the sample; and those that it does not know.
 */
uint64_t scheduler_sampled_need(struct scheduler *s, int64_t now_ns)
{
	double pages = page_pool_queued(s->pool, QUEUE_FIRST) + unknown_pages(s, now_ns);

	if (s->sample.size && now_ns - s->sample.looked_ns >= SAMPLE_NS)
		look_at_sample(s, now_ns);
	pages += (double)s->sample.known * s->sample.share;
	return byte_queue_length(&s->out) + byte_queue_length(&s->after) + s->link.in_flight +
	       (uint64_t)(pages * STREAM_PAGE);
}

void scheduler_note_sent(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	if (!s->digests || !scheduler_may_peek(s, page))
		return;
	scheduler_settle(s, page);
	if (content)
		page_digests_note(s->digests, page, content);
	else
		page_digests_forget(s->digests, page);
}
