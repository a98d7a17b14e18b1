/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_RECORD_H
#define CODEC_RECORD_H

#include <errno.h>
#include <string.h>

#include <zstd.h>

#include "common/bytes.h"
#include "common/error.h"
#include "migrate/stream/byte_queue.h"

/*
 * Records of a coded stream, memory's (coded_stream.h) and a disk's (coded_disk.h): u8 type, be24
 * bytes of body, body.
 */
#define RECORD_HEADER 4u
#define RECORD_LEVEL  3 /* zstd's, of what is packed */

static inline uint8_t *record_reserve(struct byte_queue *out, size_t n, struct error **err)
{
	uint8_t *place = byte_queue_reserve(out, n);

	if (!place)
		error_set(err, ENOMEM, "no memory for a coded stream");
	return place;
}

static inline int record_put(struct byte_queue *out, unsigned type, const void *body, size_t size,
			     struct error **err)
{
	uint8_t *place = record_reserve(out, RECORD_HEADER + size, err);

	if (!place)
		return -1;
	put_be32(place, (uint32_t)type << 24 | (uint32_t)size);
	if (size)
		memcpy(place + RECORD_HEADER, body, size);
	out->end += RECORD_HEADER + size;
	return 0;
}

/* As be32 size and a zstd frame, if that is less. 1: done; 0: it is not; -1: ENOMEM. */
static inline int record_pack(struct byte_queue *out, unsigned type, const void *body, size_t size,
			      struct error **err)
{
	size_t room = ZSTD_compressBound(size), packed;
	uint8_t *place = record_reserve(out, RECORD_HEADER + 4 + room, err);

	if (!place)
		return -1;
	packed = ZSTD_compress(place + RECORD_HEADER + 4, room, body, size, RECORD_LEVEL);
	if (ZSTD_isError(packed) || packed + 4 >= size)
		return 0;
	put_be32(place, (uint32_t)type << 24 | (uint32_t)(packed + 4));
	put_be32(place + RECORD_HEADER, (uint32_t)size);
	out->end += RECORD_HEADER + 4 + packed;
	return 1;
}

#endif
