/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_CODER_H
#define CODEC_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/page_encoder.h"
#include "migrate/codec/stream_encoder.h"
#include "migrate/stream/byte_queue.h"

/*
 * What a pipe has in its middle: an encoder or a decoder, of a memory's stream (stream_encoder.h,
 * stream_decoder.h) or a disk's (disk_encoder.h, disk_decoder.h). As those headers say; `self` is
 * the object.
 */
struct coder {
	/* Takes as many of the n bytes as there is room for. */
	int (*feed)(void *self, const uint8_t *bytes, size_t n, size_t *used,
		    struct byte_queue *out, struct error **err);
	int (*end)(void *self, struct byte_queue *out, struct error **err);
	void (*destroy)(void *self); /* takes NULL */

	/* an encoder's */
	bool (*waits)(const void *self);
	int (*flush)(void *self, struct byte_queue *out, struct error **err);
	void (*use)(void *self, struct codec_way way);
	void (*stats)(const void *self, struct stream_encoder_stats *stats);
	void (*know)(void *self, struct known_pages *known);
	/* what it takes next is better taken with the offer known */
	bool (*awaits)(const void *self);

	/* a decoder's: the encoder is ready for the offer */
	bool (*asked)(const void *self);
};

extern const struct coder coder_memory_encoder, coder_memory_decoder, coder_disk_encoder,
	coder_disk_decoder;

#endif
