/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/disk_decoder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "common/bytes.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/pieces.h"
#include "migrate/stream/cutter.h"

/*
 * Theory of operation
 *
 * A text that has come is worked off item by item: its bytes go out, then the decoder awaits its
 * pieces. These come in units records; with the last one it goes on in the text. No other text, and
 * no end, comes before that one is worked off.
 */
#define SLICE 64u /* of units: what few bytes become is much, at the most */

/* What the cutter cuts. */
enum part {
	PART_HEADER,
	PART_RECORD
};

struct disk_decoder {
	struct cutter cutter;
	bool over, asked;
	enum coded_disk_record record; /* whose body passes */
	uint32_t body;		       /* bytes of it to come */
	struct page_decoder *blocks;
	uint8_t *text, *packed; /* CODED_TEXT_MOST each */
	size_t text_size, text_at, packed_size;
	unsigned awaited;	/* pieces, of the item before text_at */
	struct byte_queue *out; /* during a call */
};

static int put(struct disk_decoder *d, const uint8_t *bytes, size_t n, struct error **err)
{
	uint8_t *place = byte_queue_reserve(d->out, n);

	if (!place)
		return error_set(err, ENOMEM, "no memory for the decoded disk");
	memcpy(place, bytes, n);
	d->out->end += n;
	return 0;
}

/* ---- The text, and what comes in between ---- */

/* Up to an item that awaits pieces, or the text's end. */
static int work_off(struct disk_decoder *d, struct error **err)
{
	while (!d->awaited && d->text_at < d->text_size) {
		const uint8_t *item = d->text + d->text_at;
		size_t left = d->text_size - d->text_at, n;

		if (left < CODED_ITEM_SIZE)
			return error_set(err, EPROTO, "found an item of %zu bytes", left);
		n = get_be16(item);
		d->awaited = get_be16(item + 2);
		if (n + d->awaited == 0 || n > left - CODED_ITEM_SIZE)
			return error_set(err, EPROTO,
					 "found an item of %zu bytes and %u pieces, %zu are left",
					 n, d->awaited, left);
		if (n && put(d, item + CODED_ITEM_SIZE, n, err) < 0)
			return -1;
		d->text_at += CODED_ITEM_SIZE + n;
	}
	return 0;
}

static int on_unit(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
		   struct error **err)
{
	struct disk_decoder *d = arg;

	if (pieces > CODEC_PAGE_PIECES || pieces > d->awaited)
		return error_set(err, EPROTO,
				 "found %u KiB of block %" PRIu64 ", expected %u at the most",
				 pieces, unit,
				 d->awaited < CODEC_PAGE_PIECES ? d->awaited : CODEC_PAGE_PIECES);
	if (put(d, content, (size_t)pieces * PIECE, err) < 0)
		return -1;
	d->awaited -= pieces;
	return work_off(d, err);
}

static int unpack(struct disk_decoder *d, struct error **err)
{
	uint32_t size = get_be32(d->packed);

	if (size == 0 || size > CODED_TEXT_MOST ||
	    ZSTD_decompress(d->text, size, d->packed + 4, d->packed_size - 4) != size)
		return error_set(err, EPROTO, "a packed text is not of %u bytes", size);
	d->text_size = size;
	return work_off(d, err);
}

/* ---- Records ---- */

static bool may_come(const struct disk_decoder *d, unsigned type, uint32_t size)
{
	switch (type) {
	case CODED_DISK_TEXT:
		return !d->awaited && size > 0 && size <= CODED_TEXT_MOST;
	case CODED_DISK_PACKED:
		return !d->awaited && size > 4 && size <= CODED_TEXT_MOST;
	case CODED_DISK_UNITS:
		return size > 0;
	case CODED_DISK_END:
		return !d->awaited && size == 0;
	case CODED_DISK_ASK:
		return !d->asked && size == 0;
	default:
		return false;
	}
}

static int take_record(struct disk_decoder *d, const uint8_t *bytes, struct error **err)
{
	unsigned type = bytes[0];
	uint32_t size = get_be32(bytes) & CODED_DISK_BODY_MOST;

	if (d->over || !may_come(d, type, size))
		return error_set(err, EPROTO,
				 "coded disk, byte %" PRIu64 ": found record %u of %u bytes",
				 cutter_offset(&d->cutter), type, size);
	d->record = (enum coded_disk_record)type;
	d->body = size;
	cutter_await(&d->cutter, size, PART_RECORD, CODED_DISK_RECORD_SIZE);
	if (type == CODED_DISK_TEXT || type == CODED_DISK_PACKED)
		d->text_size = d->text_at = d->packed_size = 0;
	d->asked |= type == CODED_DISK_ASK;
	if (type != CODED_DISK_END)
		return 0;
	d->over = true;
	return page_decoder_end(d->blocks, err);
}

static int take_header(struct disk_decoder *d, const uint8_t *bytes, struct error **err)
{
	if (get_be32(bytes) != CODED_DISK_MAGIC)
		return error_set(err, EPROTO, "found no coded disk");
	if (get_be32(bytes + 4) != (uint32_t)CODED_DISK_VERSION << 24)
		return error_set(err, ENOTSUP, "coded disk: found version %u, expected %u",
				 bytes[4], CODED_DISK_VERSION);
	cutter_await(&d->cutter, 0, PART_RECORD, CODED_DISK_RECORD_SIZE);
	return 0;
}

static int on_item(void *arg, const uint8_t *bytes, struct error **err)
{
	struct disk_decoder *d = arg;
	int result = d->cutter.state == PART_HEADER ? take_header(d, bytes, err)
						    : take_record(d, bytes, err);

	return result < 0 ? -1 : 1;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct disk_decoder *d = arg;

	d->body -= (uint32_t)n;
	switch (d->record) {
	case CODED_DISK_TEXT:
		memcpy(d->text + d->text_size, bytes, n);
		d->text_size += n;
		return d->body ? 0 : work_off(d, err);
	case CODED_DISK_PACKED:
		memcpy(d->packed + d->packed_size, bytes, n);
		d->packed_size += n;
		return d->body ? 0 : unpack(d, err);
	default:
		return page_decoder_feed(d->blocks, bytes, n, err);
	}
}

/* ---- From outside ---- */

struct disk_decoder *disk_decoder_create(const struct decoder_limits *limits, struct error **err)
{
	struct disk_decoder *d = calloc(1, sizeof(*d));

	if (d)
		d->text = malloc((size_t)2 * CODED_TEXT_MOST);
	if (!d || !d->text) {
		free(d);
		error_set(err, ENOMEM, "no memory for the decoded disk");
		return NULL;
	}
	d->packed = d->text + CODED_TEXT_MOST;
	cutter_await(&d->cutter, 0, PART_HEADER, CODED_DISK_HEADER_SIZE);
	d->blocks = page_decoder_create(limits, on_unit, d, err);
	if (d->blocks)
		return d;
	disk_decoder_destroy(d);
	return NULL;
}

void disk_decoder_know(struct disk_decoder *d, decoder_known *known, void *arg)
{
	page_decoder_know(d->blocks, known, arg);
}

bool disk_decoder_asked(const struct disk_decoder *d)
{
	return d->asked;
}

void disk_decoder_destroy(struct disk_decoder *d)
{
	if (!d)
		return;
	page_decoder_destroy(d->blocks);
	free(d->text);
	free(d);
}

int disk_decoder_feed(struct disk_decoder *d, const uint8_t *bytes, size_t n, size_t *used,
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
	return 0;
}

int disk_decoder_end(const struct disk_decoder *d, struct error **err)
{
	if (d->over)
		return 0;
	return error_set(err, EPROTO, "the coded disk ends at byte %" PRIu64 ", in the middle",
			 cutter_offset(&d->cutter));
}
