/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_CODEC_DISK_H
#define TEST_CODEC_DISK_H

/* An NBD client's streams, made by hand, and both ends of their coding. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "migrate/codec/disk_decoder.h"
#include "migrate/codec/disk_encoder.h"

#define CMD_READ	 0
#define CMD_WRITE	 1
#define CMD_DISC	 2
#define CMD_FLUSH	 3
#define CMD_WRITE_ZEROES 6
#define PAYLOAD_LEN	 (1u << 5)

static const struct codec_options disk_cache = {
	.cache_bytes = 1u << 20, .batch_bytes = 256u << 10, .window = 16, .lanes = 1, .seed = 7};
static const struct decoder_limits disk_limits = {
	.cache_bytes = 4u << 20, .batch_bytes = 1u << 20, .window = 20};

static inline uint8_t *more(struct byte_queue *q, size_t n)
{
	uint8_t *place = byte_queue_reserve(q, n);

	assert_non_null(place);
	memset(place, 0, n);
	q->end += n;
	return place;
}

static inline void put_option(struct byte_queue *q, uint32_t option, const char *data)
{
	size_t n = strlen(data);
	uint8_t *p = more(q, 16 + n);

	memcpy(p, "IHAVEOPT", 8);
	put_be32(p + 8, option);
	put_be32(p + 12, (uint32_t)n);
	memcpy(p + 16, data, n);
}

/* As QEMU's client begins. */
static inline void put_handshake(struct byte_queue *q)
{
	put_be32(more(q, 4), 3);
	put_option(q, 8, "");
	put_option(q, 10, "12345disk0---\1---\17base:allocation");
	put_option(q, 7, "12345disk0\1");
}

static inline void put_request(struct byte_queue *q, unsigned type, uint64_t offset,
			       uint32_t length)
{
	static uint64_t cookie = 0x5500;
	uint8_t *p = more(q, 28);

	put_be32(p, 0x25609513);
	put_be16(p + 6, (uint16_t)type);
	put_be64(p + 8, cookie += 8);
	put_be64(p + 16, offset);
	put_be32(p + 24, length);
}

/* The payload is the caller's to fill. */
static inline uint8_t *put_write(struct byte_queue *q, uint64_t offset, uint32_t length)
{
	put_request(q, CMD_WRITE, offset, length);
	return more(q, length);
}

static inline void put_extended(struct byte_queue *q, unsigned flags, unsigned type,
				uint64_t offset, uint64_t length)
{
	uint8_t *p = more(q, 32);

	put_be32(p, 0x21e41c71);
	put_be16(p + 4, (uint16_t)flags);
	put_be16(p + 6, (uint16_t)type);
	put_be64(p + 16, offset);
	put_be64(p + 24, length);
}

static inline void fill_noise(uint8_t *p, size_t n, struct random *random)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)random_next(random);
}

static inline void fill_words(uint8_t *p, size_t n, uint64_t which)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)("the quick brown fox "[(i / 3 + which) % 20] +
				 (i / 512 + which) % 7);
}

/* Cuts of at most `most` bytes, and after each one in `flush` of them a flush; 0: none. */
static inline void disk_encode(const uint8_t *bytes, size_t n, size_t most, unsigned flush,
			       struct byte_queue *out)
{
	struct disk_encoder *e = disk_encoder_create(&disk_cache, NULL);
	unsigned feeds = 0;

	assert_non_null(e);
	while (n) {
		size_t some = n < most ? n : most;

		assert_int_equal(disk_encoder_feed(e, bytes, some, out, NULL), 0);
		if (flush && ++feeds % flush == 0) {
			assert_int_equal(disk_encoder_flush(e, out, NULL), 0);
			assert_false(disk_encoder_waits(e));
		}
		bytes += some;
		n -= some;
	}
	assert_int_equal(disk_encoder_end(e, out, NULL), 0);
	disk_encoder_destroy(e);
}

/* 0, or the error's code, and *why (may be NULL). What came out is in `out` in any case. */
static inline int disk_decode(const uint8_t *bytes, size_t n, size_t most, struct byte_queue *out,
			      struct error **why)
{
	struct disk_decoder *d = disk_decoder_create(&disk_limits, NULL);
	struct byte_queue some = {0};
	auto_error err = NULL;
	int result = 0;

	assert_non_null(d);
	while (n && result == 0) {
		size_t used, made;

		result = disk_decoder_feed(d, bytes, n < most ? n : most, &used, &some, &err);
		made = byte_queue_length(&some);
		if (made)
			memcpy(more(out, made), some.data + some.start, made);
		byte_queue_consume(&some, made);
		bytes += used;
		n -= used;
	}
	if (result == 0)
		disk_decoder_end(d, &err);
	byte_queue_clear(&some);
	disk_decoder_destroy(d);
	result = err ? err->code : 0;
	if (why)
		*why = steal_ptr(err);
	return result;
}

/* Through both ends: the same bytes. Returns how many went between. */
static inline size_t assert_exact(const uint8_t *bytes, size_t n, size_t most, unsigned flush)
{
	struct byte_queue coded = {0}, out = {0};
	size_t size;

	disk_encode(bytes, n, most, flush, &coded);
	size = byte_queue_length(&coded);
	assert_int_equal(disk_decode(coded.data, size, most, &out, NULL), 0);
	assert_int_equal(byte_queue_length(&out), n);
	if (n)
		assert_memory_equal(out.data, bytes, n);
	byte_queue_clear(&coded);
	byte_queue_clear(&out);
	return size;
}

#endif
