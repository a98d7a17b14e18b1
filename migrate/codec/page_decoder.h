/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PAGE_DECODER_H
#define CODEC_PAGE_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * What page_encoder.h made, cut anywhere, into units again, in their order.
 *
 * It trusts nothing: every field is checked against what may be there, every slot against what is
 * in the cache, every batch against its checksum, and memory is taken by the stream's header alone,
 * which is refused if it asks for more than the decoder's own limits. Memory: the cache
 * (piece_store.h: 1,048 bytes for each KiB), twice a batch, for each lane zstd's window and 0.6 MiB
 * more. O(content); a hundred times the guest is a hundred times the time and the same memory.
 *
 * A wrong checksum is found at the end of a batch, when its units have been given away: whoever
 * took them must not run on them.
 *
 * Not thread-safe.
 */
struct page_decoder;

struct decoder_limits {
	uint64_t cache_bytes; /* the most that the stream may ask for */
	size_t batch_bytes;
	unsigned window; /* log 2 */
};

/* 1 GiB, 1 MiB, 2^23. */
extern const struct decoder_limits decoder_defaults;

/* Content is good during the call; of `pieces` KiB. 0, or -1 with *err, which ends the decoding. */
typedef int decoder_unit(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
			 struct error **err);

/*
 * The page of an offer (known_pages.h) that the stream refers to by its number, which may be any:
 * 4096 bytes into content. As decoder_unit; EPROTO: it was not offered.
 */
typedef int decoder_known(void *arg, uint64_t page, uint8_t *content, struct error **err);

/* limits: of CODEC_..._LEAST at the least, as codec_format.h has them. ENOMEM. */
struct page_decoder *page_decoder_create(const struct decoder_limits *limits, decoder_unit *unit,
					 void *arg, struct error **err);
void page_decoder_destroy(struct page_decoder *d); /* takes NULL */

/* Before the first byte: an offer was made. */
void page_decoder_know(struct page_decoder *d, decoder_known *known, void *arg);

/*
 * The next n bytes. EPROTO: they are not what an encoder makes; ENOTSUP: a newer version, or more
 * than the limits; ENOMEM; what `unit` said. Messages say at which byte of the stream the record
 * that was refused begins. Afterwards only destroy is of use.
 */
int page_decoder_feed(struct page_decoder *d, const uint8_t *bytes, size_t n, struct error **err);

/* The stream ended here. EPROTO if it was in the middle. */
int page_decoder_end(const struct page_decoder *d, struct error **err);

#endif
