/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <string.h>

/* What goes out: pages, chosen as late as possible. */
#define OUT_LOW (32u << 10) /* below that, pages are put into the output */

int scheduler_put(struct byte_queue *queue, const uint8_t *bytes, size_t n, struct error **err)
{
	uint8_t *place = byte_queue_reserve(queue, n);

	if (!place)
		return error_set(err, ENOMEM, "no memory for %zu bytes of the memory stream", n);
	memcpy(place, bytes, n);
	queue->end += n;
	return 0;
}

static size_t block_of(const struct scheduler *s, uint64_t page)
{
	size_t block = 0;

	/* few blocks, and nearly all pages are the first one's */
	while (page >= s->first_page[block + 1])
		block++;
	return block;
}

int scheduler_write_page(struct scheduler *s, uint64_t page, const uint8_t *content, uint8_t kind,
			 struct error **err)
{
	size_t block = block_of(s, page);

	if (s->format->write_page(s->stream, &s->out, block, page - s->first_page[block], content,
				  kind, s->stage == STAGE_LAST, err) < 0)
		return -1;
	if (content)
		s->stats.pages_out++;
	s->sent[page / 64] |= 1ull << page % 64;
	scheduler_note_sent(s, page, content);
	return 0;
}

/* The last page is out, and what waited for that follows. */
static int finish_pages(struct scheduler *s, struct error **err)
{
	if (s->format->end_pages(s->stream, &s->out, err) < 0)
		return -1;
	s->stage = STAGE_DEVICES;
	if (scheduler_put(&s->out, s->after.data + s->after.start, byte_queue_length(&s->after),
			  err) < 0)
		return -1;
	byte_queue_clear(&s->after);
	return 0;
}

/* A held page's turn has come. */
static int take_turn(struct scheduler *s, uint32_t slot, struct error **err)
{
	const uint8_t *content;

	switch (scheduler_look(s, slot, &content)) {
	case FATE_SEND:
		if (scheduler_write_page(s, page_pool_page(s->pool, slot), content, 0, err) < 0)
			return -1;
		break;
	case FATE_THERE:
		s->stats.pages_there++;
		break;
	case FATE_OWED:
		break;
	}
	page_pool_drop(s->pool, slot);
	return 0;
}

static int fill_output(struct scheduler *s, struct error **err)
{
	while (byte_queue_length(&s->out) < OUT_LOW) {
		uint32_t slot = scheduler_choose(s);

		if (slot == PAGE_POOL_NONE) {
			int sent = scheduler_send_owed(s, err);

			if (sent < 0)
				return -1;
			if (!sent)
				break;
			continue;
		}
		if (take_turn(s, slot, err) < 0)
			return -1;
	}
	if (s->stage == STAGE_LAST && s->all_came && page_pool_count(s->pool) == 0)
		return finish_pages(s, err);
	/* the destination loads what it has while there is nothing to send */
	if (s->stage < STAGE_DEVICES && byte_queue_length(&s->out) == 0)
		return s->format->flush(s->stream, &s->out, err);
	return 0;
}

int scheduler_output(struct scheduler *s, int64_t now_ns, const uint8_t **bytes, size_t *n,
		     struct error **err)
{
	s->now_ns = now_ns;
	scheduler_watch(s);
	if (s->stage != STAGE_SETUP && fill_output(s, err) < 0)
		return -1;
	*bytes = s->out.data + s->out.start;
	*n = byte_queue_length(&s->out);
	return 0;
}

void scheduler_sent(struct scheduler *s, size_t n)
{
	byte_queue_consume(&s->out, n);
}
