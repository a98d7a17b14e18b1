/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/disk_encoder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/pieces.h"
#include "migrate/codec/record.h"
#include "migrate/stream/nbd_reader.h"

/*
 * Theory of operation
 *
 * Two things wait: a text, which says what is passed on and how many KiB of blocks come in between,
 * and the page encoder's batch, which has these. They go together, text first: when the batch or
 * the text is full, or the link has nothing to do. So a batch is as long where a disk is written in
 * blocks of 4 KiB, a request for each, as where it is copied.
 */
#define PACK_LEAST 128u /* bytes of text that are worth a try */

static_assert(NBD_BLOCK == CODEC_PAGE_PIECES * PIECE && NBD_PIECE == PIECE,
	      "a block is a unit as a page is");

struct disk_encoder {
	struct nbd_reader *reader;
	struct page_encoder *blocks;
	struct byte_queue *out; /* during a call */
	struct byte_queue units;
	uint8_t text[CODED_TEXT_MOST];
	size_t text_size;
	size_t item, pieces; /* the last item's start, and its pieces; of an empty text: nothing */
	bool batch;	     /* there are blocks in it */
	bool begun;	     /* the header is out */
	bool asked;	     /* for what the other end has */
	uint64_t before;     /* bytes in `out` when the call began */
	struct stream_encoder_stats stats;
};

/* ---- What waits ---- */

static int send_text(struct disk_encoder *e, struct error **err)
{
	int packed = e->text_size >= PACK_LEAST
			     ? record_pack(e->out, CODED_DISK_PACKED, e->text, e->text_size, err)
			     : 0;

	if (packed < 0 || (!packed && e->text_size &&
			   record_put(e->out, CODED_DISK_TEXT, e->text, e->text_size, err) < 0))
		return -1;
	e->text_size = e->item = e->pieces = 0;
	return 0;
}

static int send_units(struct disk_encoder *e, struct error **err)
{
	while (byte_queue_length(&e->units)) {
		size_t n = byte_queue_length(&e->units);

		if (n > CODED_DISK_BODY_MOST)
			n = CODED_DISK_BODY_MOST;
		e->stats.content_out += n;
		if (record_put(e->out, CODED_DISK_UNITS, e->units.data + e->units.start, n, err) <
		    0)
			return -1;
		byte_queue_consume(&e->units, n);
	}
	return 0;
}

/*
 * The codec's stream begins with the first block, not before: it has the other end take its memory,
 * and NBD's servers give a client no more than 10 s for the handshake.
 */
static int send_all(struct disk_encoder *e, struct error **err)
{
	if (e->text_size == 0)
		return 0;
	if (e->batch && page_encoder_flush(e->blocks, &e->units, err) < 0)
		return -1;
	e->batch = false;
	return send_text(e, err) < 0 ? -1 : send_units(e, err);
}

/* ---- The text ---- */

/* Another item, with room for at least one byte in it. */
static int begin_item(struct disk_encoder *e, struct error **err)
{
	if (CODED_TEXT_MOST - e->text_size <= CODED_ITEM_SIZE && send_all(e, err) < 0)
		return -1;
	e->item = e->text_size;
	e->pieces = 0;
	memset(e->text + e->text_size, 0, CODED_ITEM_SIZE);
	e->text_size += CODED_ITEM_SIZE;
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct disk_encoder *e = arg;

	while (n) {
		size_t room, some, has;

		if ((e->text_size == 0 || e->pieces || e->text_size == CODED_TEXT_MOST) &&
		    begin_item(e, err) < 0)
			return -1;
		has = e->text_size - e->item - CODED_ITEM_SIZE;
		room = CODED_TEXT_MOST - e->text_size;
		some = n < room ? n : room;
		memcpy(e->text + e->text_size, bytes, some);
		put_be16(e->text + e->item, (uint16_t)(has + some));
		e->text_size += some;
		bytes += some;
		n -= some;
	}
	return 0;
}

static int on_block(void *arg, uint64_t block, const uint8_t *content, unsigned pieces,
		    struct error **err)
{
	struct disk_encoder *e = arg;

	if ((e->text_size == 0 || e->pieces + pieces > CODED_ITEM_MOST) && begin_item(e, err) < 0)
		return -1;
	e->pieces += pieces;
	put_be16(e->text + e->item + 2, (uint16_t)e->pieces);
	e->stats.pages++;
	e->batch = true;
	if (page_encoder_put(e->blocks, block, content, pieces, &e->units, err) < 0)
		return -1;
	return byte_queue_length(&e->units) ? send_all(e, err) : 0;
}

static_assert(CODED_TEXT_MOST - CODED_ITEM_SIZE <= CODED_ITEM_MOST, "an item may fill a text");

/* ---- From outside ---- */

struct disk_encoder *disk_encoder_create(const struct codec_options *options, struct error **err)
{
	struct disk_encoder *e = calloc(1, sizeof(*e));
	struct nbd_sink sink = {on_pass, on_block, e};

	if (!e) {
		error_set(err, ENOMEM, "no memory for the coded disk");
		return NULL;
	}
	e->reader = nbd_reader_create(&sink, err);
	if (e->reader)
		e->blocks = page_encoder_create(options, err);
	if (e->blocks)
		return e;
	disk_encoder_destroy(e);
	return NULL;
}

void disk_encoder_destroy(struct disk_encoder *e)
{
	if (!e)
		return;
	nbd_reader_destroy(e->reader);
	page_encoder_destroy(e->blocks);
	byte_queue_clear(&e->units);
	free(e);
}

void disk_encoder_use(struct disk_encoder *e, struct codec_way way)
{
	page_encoder_use(e->blocks, way);
}

static int begin_call(struct disk_encoder *e, struct byte_queue *out, struct error **err)
{
	uint8_t *header;

	e->out = out;
	e->before = byte_queue_length(out);
	if (e->begun)
		return 0;
	header = record_reserve(out, CODED_DISK_HEADER_SIZE, err);
	if (!header)
		return -1;
	put_be32(header, CODED_DISK_MAGIC);
	put_be32(header + 4, (uint32_t)CODED_DISK_VERSION << 24);
	out->end += CODED_DISK_HEADER_SIZE;
	e->begun = true;
	return 0;
}

static int end_call(struct disk_encoder *e, int result)
{
	e->stats.bytes_out += byte_queue_length(e->out) - e->before;
	e->out = NULL;
	return result;
}

/* With the first request, not before: NBD's servers give the handshake no more than 10 s. */
static int ask(struct disk_encoder *e, struct error **err)
{
	if (e->asked || !nbd_reader_asked(e->reader))
		return 0;
	e->asked = true;
	return record_put(e->out, CODED_DISK_ASK, NULL, 0, err);
}

int disk_encoder_feed(struct disk_encoder *e, const uint8_t *bytes, size_t n,
		      struct byte_queue *out, struct error **err)
{
	int result;

	if (begin_call(e, out, err) < 0)
		return -1;
	e->stats.bytes_in += n;
	result = nbd_reader_feed(e->reader, bytes, n, err);
	return end_call(e, result < 0 ? -1 : ask(e, err));
}

bool disk_encoder_asks(const struct disk_encoder *e)
{
	return e->asked;
}

void disk_encoder_know(struct disk_encoder *e, struct known_pages *known)
{
	page_encoder_know(e->blocks, known);
}

bool disk_encoder_waits(const struct disk_encoder *e)
{
	return e->text_size > 0;
}

int disk_encoder_flush(struct disk_encoder *e, struct byte_queue *out, struct error **err)
{
	return begin_call(e, out, err) < 0 ? -1 : end_call(e, send_all(e, err));
}

static int finish(struct disk_encoder *e, struct error **err)
{
	if (nbd_reader_end(e->reader, err) < 0 || send_all(e, err) < 0 ||
	    page_encoder_end(e->blocks, &e->units, err) < 0 || send_units(e, err) < 0)
		return -1;
	return record_put(e->out, CODED_DISK_END, NULL, 0, err);
}

int disk_encoder_end(struct disk_encoder *e, struct byte_queue *out, struct error **err)
{
	return begin_call(e, out, err) < 0 ? -1 : end_call(e, finish(e, err));
}

void disk_encoder_stats(const struct disk_encoder *e, struct stream_encoder_stats *stats)
{
	uint64_t pieces = 0;

	*stats = e->stats;
	page_encoder_stats(e->blocks, &stats->front);
	for (unsigned i = 0; i < CODEC_PIECES; i++)
		if (i != PIECE_ZERO && i != PIECE_FILLED)
			pieces += stats->front.pieces[i];
	stats->content_in = pieces * PIECE;
	stats->times = page_encoder_times(e->blocks);
}
