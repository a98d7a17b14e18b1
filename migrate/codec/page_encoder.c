/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/page_encoder.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/piece_store.h"

const struct codec_options codec_defaults = {
	.cache_bytes = 256ull << 20,
	.batch_bytes = 256u << 10,
	.window = 22,
	.lanes = 1,
};

struct page_encoder {
	struct codec_options options;
	struct page_front *front;
	struct payload_lanes *lanes;
	struct codec_way way;
	bool begun; /* the header is out */
	bool open;  /* the batch has begun */
	uint32_t units;
	double coder_s;
};

static int check_options(const struct codec_options *o, struct error **err)
{
	uint64_t slots = o->cache_bytes / PIECE;

	if (slots < CODEC_SLOTS_LEAST || slots > CODEC_SLOTS_MOST)
		return error_set(err, EINVAL,
				 "a cache of %" PRIu64 " bytes, expected %u to %" PRIu64,
				 o->cache_bytes, CODEC_SLOTS_LEAST * PIECE,
				 (uint64_t)CODEC_SLOTS_MOST * PIECE);
	if (o->batch_bytes < CODEC_BATCH_LEAST || o->batch_bytes > CODEC_BATCH_MOST)
		return error_set(err, EINVAL, "batches of %zu bytes, expected %u to %u",
				 o->batch_bytes, CODEC_BATCH_LEAST, CODEC_BATCH_MOST);
	if (o->window < CODEC_WINDOW_LEAST || o->window > CODEC_WINDOW_MOST)
		return error_set(err, EINVAL, "a window of 2^%u bytes, expected 2^%d to 2^%d",
				 o->window, CODEC_WINDOW_LEAST, CODEC_WINDOW_MOST);
	if (o->lanes < 1 || o->lanes > CODEC_LANES_MOST)
		return error_set(err, EINVAL, "%u lanes, expected 1 to %u", o->lanes,
				 CODEC_LANES_MOST);
	return 0;
}

struct page_encoder *page_encoder_create(const struct codec_options *options, struct error **err)
{
	struct page_encoder *e;
	uint32_t slots = (uint32_t)(options->cache_bytes / PIECE);

	if (check_options(options, err) < 0)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e) {
		error_set(err, ENOMEM, "no memory for an encoder of pages");
		return NULL;
	}
	e->options = *options;
	e->way = (struct codec_way){true, {METHOD_ZSTD, 1}};
	e->front = page_front_create(slots, piece_store_versions(slots), options->seed, err);
	if (e->front)
		e->lanes = payload_lanes_create(options->lanes, options->window,
						options->batch_bytes, err);
	if (!e->lanes) {
		page_encoder_destroy(e);
		return NULL;
	}
	return e;
}

void page_encoder_destroy(struct page_encoder *e)
{
	if (!e)
		return;
	page_front_destroy(e->front);
	payload_lanes_destroy(e->lanes);
	free(e);
}

void page_encoder_know(struct page_encoder *e, struct known_pages *known)
{
	page_front_know(e->front, known);
}

void page_encoder_use(struct page_encoder *e, struct codec_way way)
{
	e->way = way;
}

static int no_memory(struct error **err)
{
	return error_set(err, ENOMEM, "no memory for what the encoder makes");
}

static int put_header(struct page_encoder *e, struct byte_queue *out, struct error **err)
{
	uint32_t slots = (uint32_t)(e->options.cache_bytes / PIECE);
	uint8_t *p = byte_queue_reserve(out, CODEC_HEADER_SIZE);

	if (!p)
		return no_memory(err);
	memset(p, 0, CODEC_HEADER_SIZE);
	put_be32(p, CODEC_MAGIC);
	put_be16(p + 4, CODEC_VERSION);
	put_be16(p + 6, CODEC_VERSION);
	put_be32(p + 12, slots);
	put_be32(p + 16, piece_store_versions(slots));
	put_be32(p + 20, (uint32_t)e->options.batch_bytes);
	p[24] = (uint8_t)e->options.window;
	p[25] = (uint8_t)e->options.lanes;
	put_be64(p + 28, e->options.seed);
	out->end += CODEC_HEADER_SIZE;
	e->begun = true;
	return 0;
}

static int put_batch(struct page_encoder *e, const struct coded_batch *c, struct byte_queue *out,
		     struct error **err)
{
	const struct unit_batch *b = c->batch;
	size_t before = CODEC_BATCH_SIZE + b->ops_size;
	uint8_t *p = byte_queue_reserve(out, before + c->coded_size);

	if (!p)
		return no_memory(err);
	p[0] = RECORD_BATCH;
	p[1] = (uint8_t)c->method;
	p[2] = (uint8_t)c->lane;
	p[3] = (uint8_t)(c->flags | (b->learn ? FLAG_LEARN : 0));
	put_be32(p + 4, b->units);
	put_be32(p + 8, (uint32_t)b->ops_size);
	put_be32(p + 12, (uint32_t)b->payload_size);
	put_be32(p + 16, (uint32_t)c->coded_size);
	put_be64(p + 20, b->sum);
	memcpy(p + CODEC_BATCH_SIZE, b->ops, b->ops_size);
	memcpy(p + before, c->coded, c->coded_size);
	out->end += before + c->coded_size;
	e->units += b->units;
	e->coder_s += c->coder_s;
	return 0;
}

/* Those that are coded, in order, until no more than so many are behind. */
static int take_coded(struct page_encoder *e, unsigned behind, struct byte_queue *out,
		      struct error **err)
{
	for (;;) {
		bool wait = payload_lanes_behind(e->lanes) > behind;
		struct coded_batch coded;
		int there = payload_lanes_next(e->lanes, wait, &coded, err);

		if (there <= 0)
			return there;
		if (put_batch(e, &coded, out, err) < 0)
			return -1;
		payload_lanes_taken(e->lanes);
	}
}

/* The batch that is being filled goes to its lane. */
static void give_batch(struct page_encoder *e)
{
	e->open = false;
	page_front_close(e->front, payload_lanes_batch(e->lanes));
	payload_lanes_give(e->lanes, e->way.payload);
}

int page_encoder_put(struct page_encoder *e, uint64_t unit, const uint8_t *content, unsigned pieces,
		     struct byte_queue *out, struct error **err)
{
	struct unit_batch *batch;

	if (!e->begun && put_header(e, out, err) < 0)
		return -1;
	batch = payload_lanes_batch(e->lanes);
	if (!batch) {
		if (take_coded(e, payload_lanes_behind(e->lanes) - 1, out, err) < 0)
			return -1;
		batch = payload_lanes_batch(e->lanes);
	}
	if (!e->open)
		page_front_begin(e->front, batch, e->way.learn);
	e->open = true;
	page_front_put(e->front, batch, unit, content, pieces);
	if (!unit_batch_full(batch))
		return 0;
	give_batch(e);
	return take_coded(e, e->options.lanes == 1 ? 0 : UINT_MAX, out, err);
}

int page_encoder_flush(struct page_encoder *e, struct byte_queue *out, struct error **err)
{
	if (!e->begun && put_header(e, out, err) < 0)
		return -1;
	if (e->open)
		give_batch(e);
	return take_coded(e, 0, out, err);
}

bool page_encoder_behind(const struct page_encoder *e)
{
	return payload_lanes_behind(e->lanes) > 0;
}

int page_encoder_end(struct page_encoder *e, struct byte_queue *out, struct error **err)
{
	uint8_t *p;

	if (page_encoder_flush(e, out, err) < 0)
		return -1;
	p = byte_queue_reserve(out, CODEC_BATCH_SIZE);
	if (!p)
		return no_memory(err);
	memset(p, 0, CODEC_BATCH_SIZE);
	p[0] = RECORD_END;
	put_be32(p + 4, e->units);
	out->end += CODEC_BATCH_SIZE;
	return 0;
}

struct encoder_times page_encoder_times(const struct page_encoder *e)
{
	return (struct encoder_times){e->coder_s, payload_lanes_waited(e->lanes)};
}

void page_encoder_stats(const struct page_encoder *e, struct front_stats *stats)
{
	page_front_stats(e->front, stats);
}
