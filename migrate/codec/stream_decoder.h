/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_STREAM_DECODER_H
#define CODEC_STREAM_DECODER_H

#include "migrate/codec/coded_stream.h"
#include "migrate/codec/page_decoder.h"
#include "migrate/stream/byte_queue.h"

/*
 * What stream_encoder.h made, cut anywhere, into a stream that the hypervisor loads.
 *
 * It trusts nothing: record by record is checked against what may come there, pages against the
 * guest's blocks, the rest as page_decoder.h and the format's reader say. A stream that is refused
 * has given no end to the hypervisor, which then loads nothing.
 *
 * Memory: page_decoder.h's, CODED_OPAQUE_MOST twice, and what is in the caller's queue: a call
 * takes no more once that holds DECODED_FULL; what it took last can add 32 MiB to it at the most
 * (pages of zeroes, thousands in a record of a few bytes).
 *
 * Not thread-safe.
 */
struct stream_decoder;

#define DECODED_FULL (1u << 20)

/* guest_pages: the most that the guest's blocks have together. ENOMEM. */
struct stream_decoder *stream_decoder_create(const struct decoder_limits *limits,
					     uint64_t guest_pages, struct error **err);
void stream_decoder_destroy(struct stream_decoder *d); /* takes NULL */

/* As page_decoder_know. */
void stream_decoder_know(struct stream_decoder *d, decoder_known *known, void *arg);

/*
 * Takes as many of the next n bytes as there is room for: *used. What they make is appended to
 * `out`. EPROTO, ENOTSUP, ENOMEM; afterwards only destroy is of use.
 */
int stream_decoder_feed(struct stream_decoder *d, const uint8_t *bytes, size_t n, size_t *used,
			struct byte_queue *out, struct error **err);

/* The stream ended here. EPROTO: in the middle. */
int stream_decoder_end(const struct stream_decoder *d, struct error **err);

#endif
