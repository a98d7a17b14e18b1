/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include "common/clock.h"

/* How much is read, how long a page waits, and which goes next. */
#define FILLED_LEAST	9		  /* bytes of a page without content in the stream */
#define OUT_MOST	(4u << 20)	  /* above that, nothing is read at all */
#define LINGER_NS	(500 * NS_PER_MS) /* a page waits to be looked at before it is sent */
#define COLD_NS		NS_PER_SEC
#define READ_PER_RATE	8 /* what is read, at most, to what the link carries */
#define READ_RATE_LEAST (1u << 20)

uint64_t scheduler_backlog(const struct scheduler *s)
{
	return (page_pool_count(s->pool) + s->told_count) * STREAM_PAGE +
	       byte_queue_length(&s->out) + s->format->unflushed(s->stream) +
	       byte_queue_length(&s->after) + s->link.in_flight;
}

/*
 * What the hypervisor still has to emit before it can pause the guest. While that is much, more may
 * be held than the target has room for: it gets through the link before. Less what a single read
 * can have of pages without content.
 */
static uint64_t guard(const struct scheduler *s)
{
	const uint64_t blink = (uint64_t)SCHEDULER_READ / FILLED_LEAST * STREAM_PAGE;

	return s->remaining_least > blink ? (s->remaining_least - blink) / 2 : 0;
}

/* Half a target at the most: beside a short pass, a longer wait is time lost. */
static int64_t linger_ns(const struct scheduler *s)
{
	int64_t half = s->options.downtime_ns / 2;

	return half < LINGER_NS ? half : LINGER_NS;
}

static int64_t linger_ns_most(const struct scheduler *s)
{
	return linger_ns(s) * 4;
}

/* Too much is held: nothing is read until it is less. */
static bool pool_is_full(const struct scheduler *s)
{
	uint64_t held = (uint64_t)page_pool_count(s->pool) * STREAM_PAGE;
	uint64_t target = scheduler_target(s), backlog = scheduler_backlog(s);

	if (held + SCHEDULER_READ > s->options.hold_most)
		return true;
	/* what comes for the first time is no more than waits for the link anyway */
	if (s->rounds == 0)
		backlog = s->told_count * STREAM_PAGE;
	return target && backlog + SCHEDULER_READ > target + guard(s);
}

/* Bytes of pages that may go on, and can wait: the longer, the more turn out to be stale. */
static uint64_t linger_most(const struct scheduler *s)
{
	uint64_t most = scheduler_target(s) / 2 + guard(s);
	uint64_t link = (uint64_t)((double)s->link.rate * (double)linger_ns_most(s) / 1e9);

	if (s->peek_block == s->blocks || s->link.rate == 0)
		return SCHEDULER_COLD_MOST;
	if (most > link)
		most = link;
	if (most > s->options.hold_most / 2)
		most = s->options.hold_most / 2;
	return most > SCHEDULER_COLD_MOST ? most : SCHEDULER_COLD_MOST;
}

static uint64_t waiting(const struct scheduler *s)
{
	uint64_t pages = (uint64_t)page_pool_queued(s->pool, QUEUE_FIRST) +
			 page_pool_queued(s->pool, QUEUE_COLD);

	return byte_queue_length(&s->out) + pages * STREAM_PAGE;
}

/* It has waited for long enough to be looked at. What is written is left out of the first pass
 * only. */
static bool has_lingered(const struct scheduler *s, uint32_t slot)
{
	return s->peek_block == s->blocks || s->finishing || s->link.rate == 0 || s->rounds > 0 ||
	       s->now_ns - page_pool_put_ns(s->pool, slot) >= linger_ns(s) ||
	       waiting(s) + SCHEDULER_READ > linger_most(s);
}

/* A whole round has passed without it. */
static bool has_cooled(const struct scheduler *s, uint32_t slot)
{
	int64_t put_ns = page_pool_put_ns(s->pool, slot);

	return put_ns < s->last.began_ns && s->now_ns - put_ns >= COLD_NS;
}

/* The page that is to go next, or PAGE_POOL_NONE. */
uint32_t scheduler_choose(struct scheduler *s)
{
	uint32_t coldest = PAGE_POOL_NONE;

	for (unsigned queue = 0; queue < PAGE_POOL_QUEUES; queue++) {
		uint32_t slot = page_pool_first(s->pool, queue);

		if (slot == PAGE_POOL_NONE)
			continue;
		if (queue < QUEUE_HOT) {
			if (has_lingered(s, slot))
				return slot;
			continue;
		}
		if (s->finishing)
			return slot;
		if (has_cooled(s, slot)) {
			s->stats.pages_cooled++;
			return slot;
		}
		if (coldest == PAGE_POOL_NONE)
			coldest = slot;
	}
	if (coldest == PAGE_POOL_NONE || !pool_is_full(s))
		return PAGE_POOL_NONE;
	s->stats.pages_forced++;
	return coldest;
}

/* Guest paused, or about to be: all is read, as far as there is memory for it. */
static bool may_read_the_end(const struct scheduler *s)
{
	return byte_queue_length(&s->out) < OUT_MOST &&
	       (uint64_t)page_pool_count(s->pool) * STREAM_PAGE < s->options.hold_most;
}

static bool may_read(const struct scheduler *s)
{
	if (s->stage == STAGE_SETUP || s->stage == STAGE_DEVICES || s->finishing)
		return may_read_the_end(s);
	if (waiting(s) + SCHEDULER_READ > linger_most(s))
		return false;
	/* a trickle keeps the hypervisor's idea of its rate above nothing */
	return !pool_is_full(s) || (waiting(s) == 0 && page_pool_count(s->pool) == 0 &&
				    s->link.in_flight < SCHEDULER_COLD_MOST);
}

bool scheduler_wants(const struct scheduler *s)
{
	return may_read(s);
}

size_t scheduler_room(struct scheduler *s, int64_t now_ns, int64_t *wait_ns)
{
	s->now_ns = now_ns;
	if (!may_read(s)) {
		*wait_ns = INT64_MAX;
		return 0;
	}
	if (s->finishing || s->rounds == 0 || s->link.rate == 0)
		return SCHEDULER_READ;
	return bucket_draw(&s->reading, SCHEDULER_READ, now_ns, wait_ns);
}

void scheduler_not_read(struct scheduler *s, size_t n)
{
	bucket_give_back(&s->reading, n);
}

void scheduler_set_link(struct scheduler *s, const struct scheduler_link *link)
{
	uint64_t reading = link->rate * READ_PER_RATE;

	if (reading < READ_RATE_LEAST)
		reading = READ_RATE_LEAST;
	if (link->rate != s->link.rate)
		bucket_set_rate(&s->reading, reading, s->now_ns);
	s->link = *link;
}
