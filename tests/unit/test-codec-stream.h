/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_CODEC_STREAM_H
#define TEST_CODEC_STREAM_H

/*
 * What a hypervisor's stream says, whatever its bytes: for each page its versions in order, the
 * other bytes in order, and what comes between which. Two streams that say the same are the same.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/cleanup.h"
#include "migrate/codec/stream_decoder.h"
#include "migrate/codec/stream_encoder.h"
#include "migrate/stream/stream_format.h"

#define SAID_PAGES  (1u << 16) /* that are told apart; more share */
#define GUEST_PAGES (1u << 20)

struct said {
	const struct stream_format *format;
	uint64_t pages[SAID_PAGES]; /* of the versions of each */
	uint64_t bytes;		    /* of all that is no page */
	uint64_t opaque, marks, count, filled;
};

static inline uint64_t chain(uint64_t before, const void *bytes, size_t n)
{
	return XXH3_64bits_withSeed(bytes, n, before);
}

static inline int said_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct said *s = arg;

	(void)err;
	/* cut anywhere */
	for (size_t i = 0; i < n; i++)
		s->bytes = (s->bytes ^ bytes[i]) * 0x100000001b3u + 0x9e3779b97f4a7c15u;
	s->opaque += n;
	return 0;
}

static inline int said_block(void *arg, uint64_t pages, struct error **err)
{
	struct said *s = arg;

	(void)err;
	s->marks = chain(s->marks, &pages, sizeof(pages));
	return 0;
}

/* A mark stands behind certain bytes and a certain number of pages. */
static inline int said_mark(void *arg, struct error **err)
{
	struct said *s = arg;
	uint64_t place[] = {s->bytes, s->opaque, s->count};

	(void)err;
	s->marks = chain(s->marks, place, sizeof(place));
	return 0;
}

static inline int said_page(void *arg, size_t block, uint64_t page, const uint8_t *content,
			    uint8_t kind, struct error **err)
{
	static const uint8_t zeroes[STREAM_PAGE];
	struct said *s = arg;
	uint64_t *versions = &s->pages[(block * 40503 + page) % SAID_PAGES];
	uint64_t name[] = {block, page, s->opaque};

	(void)err;
	/* the same said in two ways */
	if (content && s->format->zero_kind && memcmp(content, zeroes, STREAM_PAGE) == 0) {
		content = NULL;
		kind = 0;
	}
	*versions = chain(*versions, name, sizeof(name));
	*versions = content ? chain(*versions, content, STREAM_PAGE) : chain(*versions, &kind, 1);
	s->count++;
	s->filled += !content;
	return 0;
}

/* 0, or the error's code. */
static inline int said_by(struct said *s, const struct stream_format *format, const uint8_t *bytes,
			  size_t n)
{
	static const struct stream_events events = {said_opaque, said_block, said_mark,
						    said_page,	 said_mark,  said_mark};
	struct stream_rewriter *reader;
	auto_error err = NULL;

	memset(s, 0, sizeof(*s));
	s->format = format;
	reader = format->create(&events, s, GUEST_PAGES, NULL);
	assert_non_null(reader);
	if (format->feed(reader, bytes, n, &err) == 0)
		format->feed_end(reader, &err);
	format->destroy(reader);
	return err ? err->code : 0;
}

static struct codec_options small_cache = {
	.cache_bytes = 4u << 20, .batch_bytes = 256u << 10, .window = 20, .seed = 7, .lanes = 1};
static const struct decoder_limits small_limits = {
	.cache_bytes = 4u << 20, .batch_bytes = 1u << 20, .window = 20};

/* Cuts of at most `most` bytes, and after each one in `flush` of them a flush; 0: none. */
static inline void encode(enum coded_format format, const uint8_t *bytes, size_t n, size_t most,
			  unsigned flush, struct byte_queue *out)
{
	struct stream_encoder *e = stream_encoder_create(format, GUEST_PAGES, &small_cache, NULL);
	unsigned feeds = 0;
	auto_error err = NULL;
	int result = 0;

	assert_non_null(e);
	while (n && result == 0) {
		size_t some = n < most ? n : most;

		result = stream_encoder_feed(e, bytes, some, out, &err);
		if (result == 0 && flush && ++feeds % flush == 0) {
			result = stream_encoder_flush(e, out, &err);
			assert_false(stream_encoder_waits(e));
		}
		bytes += some;
		n -= some;
	}
	if (result == 0)
		result = stream_encoder_end(e, out, &err);
	if (result < 0)
		print_message("%s\n", error_text(err));
	assert_int_equal(result, 0);
	stream_encoder_destroy(e);
}

/* 0, or the error's code, and *why (may be NULL). What came out is in `out` in any case. */
static inline int decode(const uint8_t *bytes, size_t n, size_t most, struct byte_queue *out,
			 struct error **why)
{
	struct stream_decoder *d = stream_decoder_create(&small_limits, GUEST_PAGES, NULL);
	struct byte_queue some = {0};
	auto_error err = NULL;
	int result = 0;

	assert_non_null(d);
	while (n && result == 0) {
		size_t used;

		result = stream_decoder_feed(d, bytes, n < most ? n : most, &used, &some, &err);
		if (result == 0) {
			size_t made = byte_queue_length(&some);
			uint8_t *place = byte_queue_reserve(out, made + 1);

			assert_non_null(place);
			if (made)
				memcpy(place, some.data + some.start, made);
			out->end += made;
			byte_queue_consume(&some, made);
		}
		bytes += used;
		n -= used;
	}
	if (result == 0)
		stream_decoder_end(d, &err);
	byte_queue_clear(&some);
	stream_decoder_destroy(d);
	result = err ? err->code : 0;
	if (why)
		*why = steal_ptr(err);
	return result;
}

/* Through both ends: the same is said. Returns how many bytes went between. */
static inline size_t assert_same(enum coded_format format, const uint8_t *bytes, size_t n,
				 size_t most, unsigned flush)
{
	static struct said before, after;
	struct byte_queue coded = {0}, out = {0};
	size_t size;

	assert_int_equal(said_by(&before, coded_stream_formats[format], bytes, n), 0);
	encode(format, bytes, n, most, flush, &coded);
	size = byte_queue_length(&coded);
	assert_int_equal(decode(coded.data, size, most, &out, NULL), 0);
	assert_int_equal(
		said_by(&after, coded_stream_formats[format], out.data, byte_queue_length(&out)),
		0);
	assert_memory_equal(&before, &after, sizeof(before));
	byte_queue_clear(&coded);
	byte_queue_clear(&out);
	return size;
}

#endif
