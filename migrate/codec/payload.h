/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PAYLOAD_H
#define CODEC_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/codec_format.h"

/*
 * What no cache knows, through lz4 or zstd: one stream for all payloads of a lane, so each is
 * compressed in view of those before it; each comes out whole, so the other end need not wait.
 * A lane's two ends are a coder and a reader. Lanes don't depend on each other: a thread may have
 * one of its own.
 *
 * Memory of a coder: four windows and 4 MiB for what zstd looks back at, and zstd's own for its
 * level (0.5 MB at level 1, 1.5 MB at 3, 20 MB at 9), 80 KiB for lz4, taken when first used. Of a
 * reader: the window and less than 0.6 MiB.
 */
struct payload_coder;
struct payload_reader;

struct payload_way {
	enum codec_method method;
	int level; /* zstd: as its library counts, negative ones included; lz4: acceleration, >= 1
		    */
};

/* window: log 2, CODEC_WINDOW_LEAST to _MOST. ENOMEM. */
struct payload_coder *payload_coder_create(unsigned window, struct error **err);
void payload_coder_destroy(struct payload_coder *c); /* takes NULL */

/* Bytes that n bytes of payload can become, whatever the method. */
size_t payload_bound(size_t n);

/*
 * Codes a payload, of at most CODEC_BATCH_MOST bytes and a unit, into `to`, which has room for
 * payload_bound; sets *coded, and *flags to FLAG_RESTART or 0. Another way than that of the call
 * before begins anew; with zstd, a window of history is then lost. ENOMEM, EIO: the library failed.
 */
int payload_code(struct payload_coder *c, struct payload_way way, const uint8_t *payload, size_t n,
		 uint8_t *to, size_t *coded, unsigned *flags, struct error **err);

struct payload_reader *payload_reader_create(unsigned window, struct error **err);
void payload_reader_destroy(struct payload_reader *r); /* takes NULL */

/* Exactly n bytes out of exactly so many coded ones, or EPROTO; ENOMEM. */
int payload_read(struct payload_reader *r, enum codec_method method, unsigned flags,
		 const uint8_t *coded, size_t coded_size, uint8_t *payload, size_t n,
		 struct error **err);

#endif
