/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_STREAM_ENCODER_H
#define CODEC_STREAM_ENCODER_H

#include "migrate/codec/coded_stream.h"
#include "migrate/codec/page_encoder.h"

/*
 * A hypervisor's memory stream in, coded_stream.h out. What stream_decoder.h makes of that is a
 * stream of the same pages in the same order, and of the same other bytes: not the same bytes where
 * a format lets one say a thing in two ways (sections of pages, pages that are zero).
 *
 * Cost and memory: page_encoder.h's, and 64 KiB; 8 bytes for each page of a batch.
 *
 * Not thread-safe.
 */
struct stream_encoder;

/* pages: as stream_format's create. ENOMEM, EINVAL (the options). */
struct stream_encoder *stream_encoder_create(enum coded_format format, uint64_t pages,
					     const struct codec_options *options,
					     struct error **err);
void stream_encoder_destroy(struct stream_encoder *e); /* takes NULL */

/* As page_front_know. */
void stream_encoder_know(struct stream_encoder *e, struct known_pages *known);

/* How pages are coded from the next batch on. */
void stream_encoder_use(struct stream_encoder *e, struct codec_way way);

/*
 * The next n bytes; what is ready is appended to `out`. Errors: as the format's reader, ENOMEM,
 * EIO. Afterwards only destroy is of use.
 */
int stream_encoder_feed(struct stream_encoder *e, const uint8_t *bytes, size_t n,
			struct byte_queue *out, struct error **err);

/* Is anything kept for which flush would have something to do? */
bool stream_encoder_waits(const struct stream_encoder *e);

/* All that was fed, as far as it made whole items, is then in `out`. */
int stream_encoder_flush(struct stream_encoder *e, struct byte_queue *out, struct error **err);

/* The stream ended here. EPROTO: in the middle. */
int stream_encoder_end(struct stream_encoder *e, struct byte_queue *out, struct error **err);

struct stream_encoder_stats {
	uint64_t bytes_in, bytes_out; /* of the stream as a whole, without what is kept */
	uint64_t pages;		      /* with contents */
	/* of pages that are neither filled nor known; of the codec's stream */
	uint64_t content_in, content_out;
	struct encoder_times times;
	struct front_stats front;
};
void stream_encoder_stats(const struct stream_encoder *e, struct stream_encoder_stats *stats);

#endif
