/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_DISK_ENCODER_H
#define CODEC_DISK_ENCODER_H

#include "migrate/codec/coded_disk.h"
#include "migrate/codec/page_encoder.h"
#include "migrate/codec/stream_encoder.h"

/*
 * An NBD client's stream in (nbd_reader.h), coded_disk.h out; disk_decoder.h makes the same bytes
 * of it, whatever they are. A stream that is not NBD is packed, 64 KiB at a time.
 *
 * Cost and memory: page_encoder.h's, and 70 KiB.
 *
 * Not thread-safe.
 */
struct disk_encoder;

/* ENOMEM, EINVAL (the options). */
struct disk_encoder *disk_encoder_create(const struct codec_options *options, struct error **err);
void disk_encoder_destroy(struct disk_encoder *e); /* takes NULL */

/* How blocks are coded from the next batch on. */
void disk_encoder_use(struct disk_encoder *e, struct codec_way way);

/* As page_front_know. */
void disk_encoder_know(struct disk_encoder *e, struct known_pages *known);

/* It has asked for what the other end knows, and has to be told before more is fed. */
bool disk_encoder_asks(const struct disk_encoder *e);

/*
 * The next n bytes; what is ready is appended to `out`. ENOMEM, EIO; afterwards only destroy is of
 * use.
 */
int disk_encoder_feed(struct disk_encoder *e, const uint8_t *bytes, size_t n,
		      struct byte_queue *out, struct error **err);

/* Is anything kept for which flush would have something to do? */
bool disk_encoder_waits(const struct disk_encoder *e);

/* All that was fed, but for an item that is not whole, is then in `out`. */
int disk_encoder_flush(struct disk_encoder *e, struct byte_queue *out, struct error **err);

/* The stream ended here, wherever that is. */
int disk_encoder_end(struct disk_encoder *e, struct byte_queue *out, struct error **err);

/* stats->pages: blocks. */
void disk_encoder_stats(const struct disk_encoder *e, struct stream_encoder_stats *stats);

#endif
