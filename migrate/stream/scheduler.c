/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Theory of operation
 *
 *     hypervisor --feed--> stream --+-- pages --> pool: first | cold | hot, by class --+
 *                                   |        `--> owed: a bit a page, by age ----------+
 *                                   +-- opaque ------------------------------------+   |
 *     link <--output-- out <-- stream <--------------------------------------------+<--+
 *
 *     SETUP ----first section----> ROUNDS ----last section----> LAST ----pool empty----> DEVICES
 *
 * The hypervisor is paced by not being read (scheduler_room). It may end its rounds whenever it
 * likes, so what is held and on its way has to fit into the downtime target all the time; while it
 * does not, nothing is read. What is written comes from the pool when `out` runs low, no sooner, so
 * that a newer version can replace a page until the last moment: first pages that the destination
 * lacks, then cold ones, then hot ones that have gone cold; hot ones before their time only when
 * the pool is full, the coldest first.
 *
 * Where there is a way to look into the guest, a page that comes again is not held: it is owed
 * (scheduler_owed.c), and read when it is sent.
 *
 * In LAST the guest is paused. All is read, however much it is: the hypervisor holds its own lock
 * until it has written it. The devices wait in `after` for the pages.
 */
#define AFTER_MOST (256u << 20)

/* ---- What the reader finds ---- */

static int on_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct scheduler *s = arg;

	if (s->stage == STAGE_LAST) {
		if (byte_queue_length(&s->after) + n > AFTER_MOST)
			return error_set(err, EFBIG,
					 "the machine's description is larger than %u bytes, the "
					 "most that can wait for its pages",
					 AFTER_MOST);
		return scheduler_put(&s->after, bytes, n, err);
	}
	if (s->stage == STAGE_ROUNDS && s->format->flush(s->stream, &s->out, err) < 0)
		return -1;
	return scheduler_put(&s->out, bytes, n, err);
}

static int on_block(void *arg, uint64_t pages, struct error **err)
{
	struct scheduler *s = arg;

	if (s->blocks == STREAM_BLOCKS_MOST)
		return error_set(err, EPROTO, "the guest has more than %u blocks of memory",
				 STREAM_BLOCKS_MOST);
	s->first_page[s->blocks + 1] = s->first_page[s->blocks] + pages;
	s->blocks++;
	return 0;
}

/* Where there is a way to look into a block of the guest's memory. */
static int follow_content(struct scheduler *s, uint64_t pages, struct error **err)
{
	s->peek_block = s->options.peek ? 0 : s->blocks;
	while (s->peek_block < s->blocks &&
	       (s->first_page[s->peek_block + 1] - s->first_page[s->peek_block]) * STREAM_PAGE !=
		       s->options.peek_bytes)
		s->peek_block++;
	if (s->peek_block == s->blocks)
		return 0;
	s->digests = page_digests_create(pages, err);
	if (!s->digests || page_sample_start(&s->sample, pages, err) < 0)
		return -1;
	return scheduler_start_watch(s, pages, err);
}

static int on_rounds(void *arg, struct error **err)
{
	struct scheduler *s = arg;
	uint64_t pages = s->first_page[s->blocks];

	s->heat = heat_create(pages, HEAT_STREAM, err);
	if (!s->heat)
		return -1;
	s->sent = calloc(pages / 64 + 1, sizeof(*s->sent));
	s->owed = calloc(pages / 64 + 1, sizeof(*s->owed));
	s->came = calloc(pages / 64 + 1, sizeof(*s->came));
	if (!s->sent || !s->owed || !s->came)
		return error_set(err, ENOMEM, "no memory to follow %" PRIu64 " pages", pages);
	if (follow_content(s, pages, err) < 0)
		return -1;
	s->stage = STAGE_ROUNDS;
	s->now.began_ns = s->now_ns;
	return 0;
}

static int on_last(void *arg, struct error **err)
{
	struct scheduler *s = arg;

	(void)err;
	s->stage = STAGE_LAST;
	s->finishing = true;
	return 0;
}

static int on_pages_end(void *arg, struct error **err)
{
	struct scheduler *s = arg;

	s->all_came = true;
	return scheduler_fetch_owed(s, err);
}

int scheduler_hold(struct scheduler *s, uint64_t page, const uint8_t *content, unsigned queue,
		   struct error **err)
{
	uint64_t held;

	scheduler_settle(s, page);
	/* no room: at once, as what is held is older */
	if (page_pool_put(s->pool, page, content, queue, s->now_ns, NULL) == PAGE_POOL_NONE)
		return scheduler_write_page(s, page, content, 0, err);
	held = (uint64_t)page_pool_count(s->pool) * STREAM_PAGE;
	if (held > s->stats.held_peak)
		s->stats.held_peak = held;
	return 0;
}

/* A page that came before: how often, and whether anything of it was waiting. */
static void note_again(struct scheduler *s, uint64_t page, bool blind, bool waits)
{
	heat_note(s->heat, page);
	s->now.again++;
	if (blind)
		s->now.blind++;
	else if (s->digests)
		s->now.first += page_sample_add(&s->sample, page);
	s->now.missed += !waits;
}

/* Its newest version has come, and makes what is held of it worthless. */
static void supersede(struct scheduler *s, uint32_t slot)
{
	if (slot == PAGE_POOL_NONE)
		return;
	s->stats.pages_superseded++;
	page_pool_drop(s->pool, slot);
}

static int on_page(void *arg, size_t block, uint64_t index, const uint8_t *content, uint8_t kind,
		   struct error **err)
{
	struct scheduler *s = arg;
	uint64_t page = s->first_page[block] + index;
	uint32_t held = page_pool_find(s->pool, page);
	bool waits = held != PAGE_POOL_NONE || scheduler_owes(s, page);
	bool blind = s->digests && !scheduler_may_peek(s, page);
	bool again = waits || scheduler_was_sent(s, page);
	unsigned queue = QUEUE_FIRST;

	scheduler_note_came(s, page);
	s->remaining_least -= s->remaining_least < STREAM_PAGE ? s->remaining_least : STREAM_PAGE;
	if (again)
		note_again(s, page, blind, waits);
	if (content || s->format->kind_replaces)
		supersede(s, held);
	if (!content) {
		s->stats.pages_filled++;
		return scheduler_write_page(s, page, NULL, kind, err);
	}
	s->stats.pages_in++;
	s->blind += blind && !again;
	/* what can't be looked at is not in the sample, so it must not wait either */
	if (blind)
		return scheduler_write_page(s, page, content, 0, err);
	if (!again)
		scheduler_see_first(s, page, content);
	if (again) {
		queue = scheduler_judge(s, page);
		if (scheduler_take_for_owed(s, page, content))
			return 0;
	}
	return scheduler_hold(s, page, content, queue, err);
}

/* ---- For the caller ---- */

static const struct stream_events events = {.opaque = on_opaque,
					    .block = on_block,
					    .rounds = on_rounds,
					    .page = on_page,
					    .last = on_last,
					    .pages_end = on_pages_end};

struct scheduler *scheduler_create(const struct scheduler_options *options, struct error **err)
{
	struct scheduler *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(err, ENOMEM, "no memory for a page scheduler");
		return NULL;
	}
	s->options = *options;
	s->format = options->format;
	s->need_least = s->need_best = UINT64_MAX;
	s->cold_class = HEAT_CLASSES - 1;
	s->hot_part = s->hot_most = UINT64_MAX;
	s->stream = s->format->create(&events, s, options->pages, err);
	if (s->stream)
		s->pool = page_pool_create((uint32_t)(options->hold_most / STREAM_PAGE), err);
	if (!s->pool) {
		scheduler_destroy(s);
		return NULL;
	}
	return s;
}

void scheduler_destroy(struct scheduler *s)
{
	if (!s)
		return;
	s->format->destroy(s->stream);
	page_pool_destroy(s->pool);
	heat_destroy(s->heat);
	free(s->sent);
	free(s->owed);
	free(s->came);
	free(s->seen);
	free(s->told);
	page_ages_destroy(s->ages);
	page_digests_destroy(s->digests);
	page_sample_clear(&s->sample);
	byte_queue_clear(&s->out);
	byte_queue_clear(&s->after);
	free(s);
}

int scheduler_feed(struct scheduler *s, const uint8_t *bytes, size_t n, int64_t now_ns,
		   struct error **err)
{
	s->now_ns = now_ns;
	return s->format->feed(s->stream, bytes, n, err);
}

int scheduler_feed_end(struct scheduler *s, struct error **err)
{
	s->stream_ended = true;
	return s->format->feed_end(s->stream, err);
}

bool scheduler_drained(const struct scheduler *s)
{
	return s->stream_ended && page_pool_count(s->pool) == 0 &&
	       byte_queue_length(&s->out) == 0 && byte_queue_length(&s->after) == 0;
}

void scheduler_set_downtime(struct scheduler *s, int64_t downtime_ns)
{
	s->options.downtime_ns = downtime_ns;
}

void scheduler_finish(struct scheduler *s)
{
	s->finishing = true;
}
