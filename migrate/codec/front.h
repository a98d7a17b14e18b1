/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_FRONT_H
#define CODEC_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/codec_format.h"

/*
 * The first half of encoding: units become operations and payload (codec_format.h), by what both
 * ends know. It has to see all units in order. The second half (payload.h) does not, and takes most
 * of the time, so where there are threads one may have this and others have that.
 *
 * A page whose last version is not known is looked for among what the other end offered, if it did.
 *
 * Cost of a page: 0.2 us if it is filled, else a hash of it, a look into the versions, and for each
 * piece one into the index; 1 KiB written for each piece that is new. A word that differs is told
 * in words of 8 bytes, 32 at a time. With an offer a digest for each page that is looked for.
 *
 * Not thread-safe.
 */
struct page_front;
struct known_pages;

/* Units on their way to the other end; the caller reads, the front writes. */
struct unit_batch {
	uint8_t *ops, *payload;
	size_t ops_size, payload_size;
	size_t payload_full; /* without room for a page up to here, it is full */
	uint32_t units;
	bool learn;
	uint64_t sum;
};

/*
 * payload_full: bytes, CODEC_BATCH_LEAST to _MOST; with units larger than pages it may be up to
 * CODEC_UNIT_PIECES KiB more.
 */
struct unit_batch *unit_batch_create(size_t payload_full, struct error **err);
void unit_batch_destroy(struct unit_batch *b); /* takes NULL */

/* Whether it takes no more units. */
bool unit_batch_full(const struct unit_batch *b);

struct front_stats {
	uint64_t units;
	uint64_t pieces[CODEC_PIECES]; /* by what became of them; those of filled units as well */
	uint64_t delta_bytes; /* of payload that are deltas, those against zeroes as well */
	uint64_t known;	      /* units that the other end has; their pieces are not in `pieces` */
	double known_s;	      /* seconds by the clock that looking for such took */
};

/* As piece_store_create. */
struct page_front *page_front_create(uint32_t slots, uint32_t versions, uint64_t seed,
				     struct error **err);
void page_front_destroy(struct page_front *f); /* takes NULL */

/* What the other end offered, whole; borrowed. NULL, as at first: nothing. */
void page_front_know(struct page_front *f, struct known_pages *known);

/* Begins a batch; `learn`: with caches, else only filled units are seen. */
void page_front_begin(struct page_front *f, struct unit_batch *b, bool learn);

/* pieces: 1 to CODEC_UNIT_PIECES; content: so many KiB. The batch is not full. */
void page_front_put(struct page_front *f, struct unit_batch *b, uint64_t unit,
		    const uint8_t *content, unsigned pieces);

/* Ends the batch: it can be coded. */
void page_front_close(struct page_front *f, struct unit_batch *b);

void page_front_stats(const struct page_front *f, struct front_stats *stats);

#endif
