/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PAGE_ENCODER_H
#define CODEC_PAGE_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/front.h"
#include "migrate/codec/payload_lanes.h"
#include "migrate/stream/byte_queue.h"

/*
 * Pages in, the bytes of codec_format.h out; what page_decoder.h takes. Units come in the order in
 * which they went in; a unit waits until its batch is full or page_encoder_flush, and with more
 * than one lane until its batch's turn has come after that.
 *
 * The front (front.h) works in the caller's thread, and so do the payload's coder if there is one
 * lane; of more than one each has a thread (payload_lanes.h).
 *
 * Memory: the cache (piece_store.h, piece_index.h: 1,050 bytes for each KiB of it), and
 * payload_lanes.h's. Cost: O(content). A guest 100 times as large takes 100 times as long; of it, a
 * hundredth as much is in the cache: what is more than the cache away is not found.
 *
 * Not thread-safe.
 */
struct page_encoder;

struct codec_options {
	uint64_t cache_bytes; /* of contents, at each end: at least 1 MiB, less than 16 GiB */
	size_t batch_bytes;   /* of contents that no cache knows, until a batch is coded */
	unsigned window;      /* log 2 of what zstd looks back */
	uint64_t seed;	      /* not to be known to the guest: it is hashed with */
	unsigned lanes;	      /* payloads that are coded at the same time, 1 to CODEC_LANES_MOST */
};

/* A cache of 256 MiB, batches of 256 KiB, a window of 4 MiB, one lane; the seed 0. */
extern const struct codec_options codec_defaults;

struct codec_way {
	bool learn; /* with caches */
	struct payload_way payload;
};

/* EINVAL: an option is out of its bounds; ENOMEM. */
struct page_encoder *page_encoder_create(const struct codec_options *options, struct error **err);
void page_encoder_destroy(struct page_encoder *e); /* takes NULL */

/* As page_front_know. */
void page_encoder_know(struct page_encoder *e, struct known_pages *known);

/* From the next batch on; at first, zstd of level 1 with caches. */
void page_encoder_use(struct page_encoder *e, struct codec_way way);

/*
 * The next unit; what it made ready is appended to `out`. unit: any number that is the same for all
 * versions of it; pages of several blocks of memory, and disks', must differ in it. content:
 * `pieces` KiB, 1 to CODEC_UNIT_PIECES. ENOMEM, EIO; afterwards only destroy is of use.
 */
int page_encoder_put(struct page_encoder *e, uint64_t unit, const uint8_t *content, unsigned pieces,
		     struct byte_queue *out, struct error **err);

/* All that was put is then in `out`: waits for the lanes. */
int page_encoder_flush(struct page_encoder *e, struct byte_queue *out, struct error **err);

/* The same, and the end of the stream: no unit may follow. */
int page_encoder_end(struct page_encoder *e, struct byte_queue *out, struct error **err);

/* Whether batches are with the lanes: `out` lacks some units that are in no batch any more. */
bool page_encoder_behind(const struct page_encoder *e);

/* Seconds by the clock: that lanes took for payloads, their sum; that the caller waited for lanes.
 */
struct encoder_times {
	double payload_s, waited_s;
};
struct encoder_times page_encoder_times(const struct page_encoder *e);

void page_encoder_stats(const struct page_encoder *e, struct front_stats *stats);

#endif
