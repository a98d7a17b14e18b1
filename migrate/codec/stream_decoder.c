/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/stream_decoder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/pieces.h"
#include "migrate/stream/cutter.h"
#include "migrate/stream/stream_format.h"

/*
 * Theory of operation
 *
 *	header -> before --rounds--> pages --done--> after --end--> over
 *
 * Before the rounds, opaque bytes go through the format's reader, which passes them on and learns
 * the guest's blocks. After that nothing is read any more: pages are written as the format has it,
 * opaque bytes go on as they are.
 */
#define SLICE 64u /* of units: what few bytes become is much, at the most */

enum phase {
	BEFORE,
	PAGES,
	AFTER,
	OVER
};

/* What the cutter cuts. */
enum part {
	PART_HEADER,
	PART_RECORD,
	PART_RUN
};

struct stream_decoder {
	struct cutter cutter;
	enum phase phase;
	bool last;
	enum coded_record record; /* whose body passes */
	uint32_t body;		  /* bytes of it to come */
	const struct stream_format *format;
	struct stream_rewriter *writer;
	struct page_decoder *pages;
	uint64_t blocks[STREAM_BLOCKS_MOST]; /* pages of each */
	size_t block_count;
	uint64_t guest_pages; /* the most that there may be yet */
	uint8_t *packed;      /* CODED_OPAQUE_MOST, twice */
	size_t packed_size;
	struct byte_queue *out; /* during a call */
};

static int put(struct stream_decoder *d, const uint8_t *bytes, size_t n, struct error **err)
{
	uint8_t *place = byte_queue_reserve(d->out, n);

	if (!place)
		return error_set(err, ENOMEM, "no memory for the decoded stream");
	memcpy(place, bytes, n);
	d->out->end += n;
	return 0;
}

/* ---- What the format's reader finds before the rounds ---- */

static int on_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	return put(arg, bytes, n, err);
}

static int on_block(void *arg, uint64_t pages, struct error **err)
{
	struct stream_decoder *d = arg;

	if (d->block_count == STREAM_BLOCKS_MOST || pages > d->guest_pages)
		return error_set(err, EPROTO,
				 "found block %zu of %" PRIu64 " pages, more than the guest has",
				 d->block_count, pages);
	d->guest_pages -= pages;
	d->blocks[d->block_count++] = pages;
	return 0;
}

static int on_rounds(void *arg, struct error **err)
{
	(void)arg;
	(void)err;
	return 0;
}

/* Pages have records of their own. */
static int on_stray(void *arg, struct error **err)
{
	(void)arg;
	return error_set(err, EPROTO, "found pages among opaque bytes");
}

static int on_stray_page(void *arg, size_t block, uint64_t page, const uint8_t *content,
			 uint8_t kind, struct error **err)
{
	(void)block;
	(void)page;
	(void)content;
	(void)kind;
	return on_stray(arg, err);
}

static const struct stream_events events = {
	.opaque = on_opaque,
	.block = on_block,
	.rounds = on_rounds,
	.page = on_stray_page,
	.last = on_stray,
	.pages_end = on_stray,
};

/* ---- Pages ---- */

static int write_page(struct stream_decoder *d, uint64_t unit, const uint8_t *content, uint8_t kind,
		      struct error **err)
{
	uint64_t block = unit >> CODED_PAGE_BITS;
	uint64_t page = unit & (((uint64_t)1 << CODED_PAGE_BITS) - 1);

	if (block >= d->block_count || page >= d->blocks[block])
		return error_set(err, EPROTO,
				 "found page %" PRIu64 " of block %" PRIu64
				 ", which the guest has not",
				 page, block);
	return d->format->write_page(d->writer, d->out, (size_t)block, page, content, kind, d->last,
				     err);
}

static int on_unit(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
		   struct error **err)
{
	struct stream_decoder *d = arg;
	uint64_t word;

	if (d->phase != PAGES)
		return on_stray(arg, err);
	if (pieces != CODEC_PAGE_PIECES)
		return error_set(err, EPROTO, "found a page of %u KiB, expected 4", pieces);
	if (d->format->zero_kind && pieces_filled(content, STREAM_PAGE, &word) && word == 0)
		content = NULL;
	return write_page(d, unit, content, 0, err);
}

static int take_run(struct stream_decoder *d, const uint8_t *bytes, struct error **err)
{
	uint64_t first = get_be64(bytes);
	uint32_t pages = get_be32(bytes + 8);

	if (pages == 0)
		return error_set(err, EPROTO, "found a run of no pages");
	for (uint32_t i = 0; i < pages; i++)
		if (write_page(d, first + i, NULL, bytes[12], err) < 0)
			return -1;
	return 0;
}

/* ---- Records ---- */

static int bad_record(const struct stream_decoder *d, unsigned type, uint32_t size,
		      struct error **err)
{
	return error_set(err, EPROTO, "coded stream, byte %" PRIu64 ": found record %u of %u bytes",
			 cutter_offset(&d->cutter), type, size);
}

static bool may_come(const struct stream_decoder *d, unsigned type, uint32_t size)
{
	switch (type) {
	case CODED_OPAQUE:
		return d->phase != OVER && size > 0;
	case CODED_PACKED:
		return d->phase != OVER && size > 4 && size <= CODED_OPAQUE_MOST;
	case CODED_UNITS:
		/* its own end comes when there are no more pages */
		return (d->phase == PAGES || d->phase == AFTER) && size > 0;
	case CODED_KINDS:
		return d->phase == PAGES && size > 0 && size % CODED_RUN_SIZE == 0;
	case CODED_ROUNDS:
		return d->phase == BEFORE && size == 0;
	case CODED_LAST:
		return d->phase == PAGES && !d->last && size == 0;
	case CODED_DONE:
		return d->phase == PAGES && d->last && size == 0;
	case CODED_END:
		return d->phase == AFTER && size == 0;
	default:
		return false;
	}
}

static int mark(struct stream_decoder *d, enum coded_record type, struct error **err)
{
	switch (type) {
	case CODED_ROUNDS:
		d->phase = PAGES;
		return d->format->begin_pages(d->writer, err);
	case CODED_LAST:
		d->last = true;
		return 0;
	case CODED_DONE:
		d->phase = AFTER;
		return d->format->end_pages(d->writer, d->out, err);
	default:
		d->phase = OVER;
		return page_decoder_end(d->pages, err);
	}
}

static int take_record(struct stream_decoder *d, const uint8_t *bytes, struct error **err)
{
	unsigned type = bytes[0];
	uint32_t size = get_be32(bytes) & CODED_BODY_MOST;

	if (!may_come(d, type, size))
		return bad_record(d, type, size, err);
	d->record = (enum coded_record)type;
	d->body = size;
	cutter_await(&d->cutter, 0, PART_RECORD, CODED_RECORD_SIZE);
	if (type == CODED_KINDS) {
		cutter_await(&d->cutter, 0, PART_RUN, CODED_RUN_SIZE);
	} else if (size) {
		d->packed_size = 0;
		d->cutter.pass = size;
	} else {
		return mark(d, d->record, err);
	}
	return 0;
}

static int take_header(struct stream_decoder *d, const uint8_t *bytes, struct error **err)
{
	if (get_be32(bytes) != CODED_MAGIC)
		return error_set(err, EPROTO, "found no coded stream");
	if (bytes[4] != CODED_VERSION || bytes[5] >= CODED_FORMATS || get_be16(bytes + 6) != 0)
		return error_set(err, ENOTSUP,
				 "coded stream: found version %u, format %u, expected %u and "
				 "less than %u",
				 bytes[4], bytes[5], CODED_VERSION, CODED_FORMATS);
	if (get_be64(bytes + 8) > d->guest_pages)
		return error_set(err, EPROTO,
				 "coded stream: found %" PRIu64 " pages, expected %" PRIu64
				 " at the most",
				 get_be64(bytes + 8), d->guest_pages);
	d->format = coded_stream_formats[bytes[5]];
	d->writer = d->format->create(&events, d, get_be64(bytes + 8), err);
	cutter_await(&d->cutter, 0, PART_RECORD, CODED_RECORD_SIZE);
	return d->writer ? 0 : -1;
}

static int on_item(void *arg, const uint8_t *bytes, struct error **err)
{
	struct stream_decoder *d = arg;
	int result;

	switch (d->cutter.state) {
	case PART_HEADER:
		result = take_header(d, bytes, err);
		break;
	case PART_RECORD:
		result = take_record(d, bytes, err);
		break;
	default:
		result = take_run(d, bytes, err);
		d->body -= CODED_RUN_SIZE;
		if (d->body == 0)
			cutter_await(&d->cutter, 0, PART_RECORD, CODED_RECORD_SIZE);
	}
	return result < 0 ? -1 : 1;
}

/* ---- Bodies ---- */

static int take_opaque(struct stream_decoder *d, const uint8_t *bytes, size_t n, struct error **err)
{
	if (d->phase == BEFORE)
		return d->format->feed(d->writer, bytes, n, err);
	/* what is kept of pages came before */
	return d->format->flush(d->writer, d->out, err) < 0 ? -1 : put(d, bytes, n, err);
}

static int unpack(struct stream_decoder *d, struct error **err)
{
	uint32_t size = get_be32(d->packed);
	uint8_t *to = d->packed + CODED_OPAQUE_MOST;

	if (size == 0 || size > CODED_OPAQUE_MOST ||
	    ZSTD_decompress(to, size, d->packed + 4, d->packed_size - 4) != size)
		return error_set(err, EPROTO, "packed bytes are not %u", size);
	return take_opaque(d, to, size, err);
}

static int take_packed(struct stream_decoder *d, const uint8_t *bytes, size_t n, struct error **err)
{
	memcpy(d->packed + d->packed_size, bytes, n);
	d->packed_size += n;
	return d->body ? 0 : unpack(d, err);
}

static int on_pass(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct stream_decoder *d = arg;

	d->body -= (uint32_t)n;
	switch (d->record) {
	case CODED_OPAQUE:
		return take_opaque(d, bytes, n, err);
	case CODED_PACKED:
		return take_packed(d, bytes, n, err);
	default:
		return page_decoder_feed(d->pages, bytes, n, err);
	}
}

/* ---- From outside ---- */

struct stream_decoder *stream_decoder_create(const struct decoder_limits *limits,
					     uint64_t guest_pages, struct error **err)
{
	struct stream_decoder *d = calloc(1, sizeof(*d));

	if (d)
		d->packed = malloc((size_t)2 * CODED_OPAQUE_MOST);
	if (!d || !d->packed) {
		free(d);
		error_set(err, ENOMEM, "no memory for the decoded stream");
		return NULL;
	}
	cutter_await(&d->cutter, 0, PART_HEADER, CODED_HEADER_SIZE);
	d->guest_pages = guest_pages;
	d->pages = page_decoder_create(limits, on_unit, d, err);
	if (d->pages)
		return d;
	stream_decoder_destroy(d);
	return NULL;
}

void stream_decoder_destroy(struct stream_decoder *d)
{
	if (!d)
		return;
	if (d->writer)
		d->format->destroy(d->writer);
	page_decoder_destroy(d->pages);
	free(d->packed);
	free(d);
}

void stream_decoder_know(struct stream_decoder *d, decoder_known *known, void *arg)
{
	page_decoder_know(d->pages, known, arg);
}

int stream_decoder_feed(struct stream_decoder *d, const uint8_t *bytes, size_t n, size_t *used,
			struct byte_queue *out, struct error **err)
{
	static const struct cutter_calls calls = {on_item, on_pass};

	d->out = out;
	*used = 0;
	while (*used < n && byte_queue_length(out) < DECODED_FULL) {
		size_t some = n - *used < SLICE ? n - *used : SLICE;

		if (cutter_feed(&d->cutter, &calls, d, bytes + *used, some, err) < 0)
			return -1;
		*used += some;
	}
	/* what is kept of pages does not wait for more */
	if (d->phase == PAGES && d->format->flush(d->writer, out, err) < 0)
		return -1;
	return 0;
}

int stream_decoder_end(const struct stream_decoder *d, struct error **err)
{
	if (d->phase == OVER)
		return 0;
	return error_set(err, EPROTO, "the coded stream ends at byte %" PRIu64 ", in the middle",
			 cutter_offset(&d->cutter));
}
