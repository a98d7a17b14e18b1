/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/page_decoder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/payload.h"
#include "migrate/codec/pieces.h"
#include "migrate/codec/replay.h"

const struct decoder_limits decoder_defaults = {
	.cache_bytes = 1ull << 30,
	.batch_bytes = 1u << 20,
	.window = 23,
};

/*
 * Theory of operation
 *
 * A record is gathered until it is whole: first its header, which says how much follows. `want` is
 * what the present part of it takes; room for it is made once, when the stream's header is known.
 */
enum state {
	STREAM_HEADER,
	BATCH_HEADER,
	BATCH_BODY,
	ENDED
};

struct page_decoder {
	struct decoder_limits limits;
	decoder_unit *unit;
	void *arg;
	decoder_known *known;
	void *known_arg;

	enum state state;
	uint64_t offset; /* of the record's first byte */
	uint8_t *record, *payload;
	size_t have, want;
	size_t payload_most;

	uint8_t lanes;
	unsigned window;
	uint32_t units;
	struct page_replay *replay;
	struct payload_reader *readers[CODEC_LANES_MOST];

	/* the batch's header */
	enum codec_method method;
	unsigned lane, flags;
	struct replay_batch batch;
	size_t coded_size;
};

static size_t record_most(size_t payload_most)
{
	return CODEC_BATCH_SIZE + CODEC_OPS_MOST + payload_bound(payload_most);
}

struct page_decoder *page_decoder_create(const struct decoder_limits *limits, decoder_unit *unit,
					 void *arg, struct error **err)
{
	struct page_decoder *d = calloc(1, sizeof(*d));

	if (d)
		d->record = malloc(CODEC_HEADER_SIZE);
	if (!d || !d->record) {
		page_decoder_destroy(d);
		error_set(err, ENOMEM, "no memory for a decoder of pages");
		return NULL;
	}
	d->limits = *limits;
	d->unit = unit;
	d->arg = arg;
	d->want = CODEC_HEADER_SIZE;
	return d;
}

void page_decoder_know(struct page_decoder *d, decoder_known *known, void *arg)
{
	d->known = known;
	d->known_arg = arg;
}

void page_decoder_destroy(struct page_decoder *d)
{
	if (!d)
		return;
	page_replay_destroy(d->replay);
	for (unsigned i = 0; i < CODEC_LANES_MOST; i++)
		payload_reader_destroy(d->readers[i]);
	free(d->record);
	free(d->payload);
	free(d);
}

/* ---- The stream's header ---- */

struct header {
	uint32_t slots, versions, batch;
	uint64_t seed;
};

static int check_version(const uint8_t *p, struct error **err)
{
	uint16_t version = get_be16(p + 4), lowest = get_be16(p + 6);

	if (get_be32(p) != CODEC_MAGIC)
		return error_set(err, EPROTO, "magic %08x, expected %08x", get_be32(p),
				 CODEC_MAGIC);
	if (lowest > version || version < CODEC_VERSION)
		return error_set(err, EPROTO, "version %u, compatible with %u, expected %d",
				 version, lowest, CODEC_VERSION);
	if (lowest > CODEC_VERSION || get_be32(p + 8) != 0)
		return error_set(err, ENOTSUP,
				 "version %u with features %08x, this end has %d with 0", lowest,
				 get_be32(p + 8), CODEC_VERSION);
	return 0;
}

static int check_header(const struct page_decoder *d, const struct header *h, struct error **err)
{
	if (h->slots < CODEC_SLOTS_LEAST || h->slots > CODEC_SLOTS_MOST ||
	    (h->versions & (h->versions - 1)) != 0 || h->versions < 2 ||
	    h->versions > 2 * h->slots || h->batch < CODEC_BATCH_LEAST ||
	    h->batch > CODEC_BATCH_MOST || d->window < CODEC_WINDOW_LEAST ||
	    d->window > CODEC_WINDOW_MOST || d->lanes == 0 || d->lanes > CODEC_LANES_MOST)
		return error_set(err, EPROTO,
				 "%u pieces, %u versions, batches of %u bytes, a window of 2^%u "
				 "and %u lanes are not what an encoder asks for",
				 h->slots, h->versions, h->batch, d->window, d->lanes);
	if ((uint64_t)h->slots * PIECE > d->limits.cache_bytes)
		return error_set(err, ENOTSUP,
				 "a cache of %" PRIu64 " bytes, the limit is %" PRIu64,
				 (uint64_t)h->slots * PIECE, d->limits.cache_bytes);
	if (h->batch > d->limits.batch_bytes || d->window > d->limits.window)
		return error_set(err, ENOTSUP,
				 "batches of %u bytes and a window of 2^%u, the limits are %zu and "
				 "2^%u",
				 h->batch, d->window, d->limits.batch_bytes, d->limits.window);
	return 0;
}

static int prepare(struct page_decoder *d, const struct header *h, struct error **err)
{
	uint8_t *record;

	d->payload_most = h->batch + CODEC_UNIT_PIECES * PIECE;
	d->payload = malloc(d->payload_most);
	record = realloc(d->record, record_most(d->payload_most));
	if (record)
		d->record = record;
	if (!d->payload || !record)
		return error_set(err, ENOMEM, "no memory for a batch of %u bytes", h->batch);
	d->replay = page_replay_create(h->slots, h->versions, h->seed, d->unit, d->arg, err);
	if (!d->replay)
		return -1;
	page_replay_know(d->replay, d->known, d->known_arg);
	for (unsigned i = 0; i < d->lanes; i++) {
		d->readers[i] = payload_reader_create(d->window, err);
		if (!d->readers[i])
			return -1;
	}
	return 0;
}

static int use_header(struct page_decoder *d, struct error **err)
{
	const uint8_t *p = d->record;
	struct header h = {get_be32(p + 12), get_be32(p + 16), get_be32(p + 20), get_be64(p + 28)};

	d->window = p[24];
	d->lanes = p[25];
	if (check_version(p, err) < 0 || check_header(d, &h, err) < 0 || prepare(d, &h, err) < 0)
		return -1;
	d->state = BATCH_HEADER;
	d->want = CODEC_BATCH_SIZE;
	return 0;
}

/* ---- Batches ---- */

static int use_end(struct page_decoder *d, struct error **err)
{
	if (get_be32(d->record + 4) != d->units)
		return error_set(err, EPROTO, "%u units came, the end says %u", d->units,
				 get_be32(d->record + 4));
	d->state = ENDED;
	d->want = 0;
	return 0;
}

static int use_batch_header(struct page_decoder *d, struct error **err)
{
	const uint8_t *p = d->record;
	struct replay_batch *b = &d->batch;

	if (p[0] == RECORD_END)
		return use_end(d, err);
	if (p[0] != RECORD_BATCH)
		return error_set(err, EPROTO, "a record of type %u, expected %d or %d", p[0],
				 RECORD_BATCH, RECORD_END);
	d->method = p[1];
	d->lane = p[2];
	d->flags = p[3];
	b->units = get_be32(p + 4);
	b->ops_size = get_be32(p + 8);
	b->payload_size = get_be32(p + 12);
	d->coded_size = get_be32(p + 16);
	b->sum = get_be64(p + 20);
	b->learn = d->flags & FLAG_LEARN;
	if (d->method >= CODEC_METHODS || d->lane >= d->lanes ||
	    (d->flags & ~(unsigned)(FLAG_LEARN | FLAG_RESTART)) != 0)
		return error_set(err, EPROTO, "method %d, lane %u and flags %02x are not known",
				 (int)d->method, d->lane, d->flags);
	if (b->units == 0 || b->units > CODEC_UNITS_MOST || b->ops_size > CODEC_OPS_MOST ||
	    b->payload_size > d->payload_most || d->coded_size > payload_bound(b->payload_size))
		return error_set(err, EPROTO,
				 "%u units, %zu bytes of operations and %zu of payload in %zu are "
				 "beyond the limits",
				 b->units, b->ops_size, b->payload_size, d->coded_size);
	d->state = BATCH_BODY;
	d->want = CODEC_BATCH_SIZE + b->ops_size + d->coded_size;
	return 0;
}

static int use_batch(struct page_decoder *d, struct error **err)
{
	const uint8_t *ops = d->record + CODEC_BATCH_SIZE;

	if (payload_read(d->readers[d->lane], d->method, d->flags, ops + d->batch.ops_size,
			 d->coded_size, d->payload, d->batch.payload_size, err) < 0)
		return -1;
	d->batch.ops = ops;
	d->batch.payload = d->payload;
	d->units += d->batch.units;
	if (page_replay(d->replay, &d->batch, err) < 0)
		return -1;
	d->state = BATCH_HEADER;
	d->want = CODEC_BATCH_SIZE;
	return 0;
}

/* The part of a record that is whole now. */
static int use_part(struct page_decoder *d, struct error **err)
{
	enum state before = d->state;
	static int (*const uses[])(struct page_decoder *, struct error **) = {
		[STREAM_HEADER] = use_header,
		[BATCH_HEADER] = use_batch_header,
		[BATCH_BODY] = use_batch,
	};

	if (uses[before](d, err) < 0)
		return error_wrap(err, "pages: record at byte %" PRIu64, d->offset);
	if (d->state != BATCH_BODY) {
		d->offset += d->have;
		d->have = 0;
	}
	return 0;
}

int page_decoder_feed(struct page_decoder *d, const uint8_t *bytes, size_t n, struct error **err)
{
	while (n > 0) {
		size_t more = d->want - d->have < n ? d->want - d->have : n;

		if (d->state == ENDED)
			return error_set(err, EPROTO, "pages: bytes after the end at byte %" PRIu64,
					 d->offset);
		memcpy(d->record + d->have, bytes, more);
		d->have += more;
		bytes += more;
		n -= more;
		if (d->have == d->want && use_part(d, err) < 0)
			return -1;
		/* a body of no bytes */
		if (d->state == BATCH_BODY && d->have == d->want && use_part(d, err) < 0)
			return -1;
	}
	return 0;
}

int page_decoder_end(const struct page_decoder *d, struct error **err)
{
	if (d->state == ENDED)
		return 0;
	return error_set(err, EPROTO, "pages: the stream ends in the record at byte %" PRIu64,
			 d->offset);
}
