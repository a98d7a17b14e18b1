/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_DISK_DECODER_H
#define CODEC_DISK_DECODER_H

#include "migrate/codec/coded_disk.h"
#include "migrate/codec/page_decoder.h"
#include "migrate/codec/stream_decoder.h"
#include "migrate/stream/byte_queue.h"

/*
 * What disk_encoder.h made, cut anywhere, into the bytes that were before it.
 *
 * It trusts nothing: record by record, item by item and unit by unit is checked against what may
 * come there, the rest as page_decoder.h says. What the bytes are to the server that reads them is
 * that server's to check, as it is without coding. A batch whose checksum is wrong is found at its
 * end, when its blocks may be on the disk already: that is a hop that fails, with a disk that is
 * thrown away.
 *
 * Memory: page_decoder.h's, CODED_TEXT_MOST twice, and what is in the caller's queue: a call takes
 * no more once that holds DECODED_FULL; what it took last can add 33 MiB to it at the most (blocks
 * of zeroes, thousands in a record of a few bytes).
 *
 * Not thread-safe.
 */
struct disk_decoder;

/* ENOMEM. */
struct disk_decoder *disk_decoder_create(const struct decoder_limits *limits, struct error **err);
void disk_decoder_destroy(struct disk_decoder *d); /* takes NULL */

/*
 * Takes as many of the next n bytes as there is room for: *used. What they make is appended to
 * `out`. EPROTO, ENOTSUP, ENOMEM; afterwards only destroy is of use.
 */
int disk_decoder_feed(struct disk_decoder *d, const uint8_t *bytes, size_t n, size_t *used,
		      struct byte_queue *out, struct error **err);

/* As page_decoder_know. */
void disk_decoder_know(struct disk_decoder *d, decoder_known *known, void *arg);

/* The encoder is ready for an offer. */
bool disk_decoder_asked(const struct disk_decoder *d);

/* The stream ended here. EPROTO: in the middle. */
int disk_decoder_end(const struct disk_decoder *d, struct error **err);

#endif
