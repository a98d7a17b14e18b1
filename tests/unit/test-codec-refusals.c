/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the decoder refuses, with which words; and that it refuses whatever is damaged. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/control.h"
#include "tests/unit/test-codec-kit.h"

#define BATCH CODEC_HEADER_SIZE
#define OPS   (BATCH + CODEC_BATCH_SIZE)

static const struct codec_options small = {
	.cache_bytes = CODEC_SLOTS_LEAST * 1024ull,
	.batch_bytes = CODEC_BATCH_LEAST,
	.window = 12,
	.lanes = 1,
};

struct stream {
	uint8_t bytes[1u << 20];
	size_t n;
};

static struct stream s;

static int ignore(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
		  struct error **err)
{
	(void)arg, (void)unit, (void)content, (void)pieces, (void)err;
	return 0;
}

static int decode(const struct decoder_limits *limits, struct error **err)
{
	struct page_decoder *d = page_decoder_create(limits, ignore, NULL, NULL);
	int status;

	assert_non_null(d);
	status = page_decoder_feed(d, s.bytes, s.n, err);
	if (status == 0)
		status = page_decoder_end(d, err);
	page_decoder_destroy(d);
	return status;
}

static void refused(const struct decoder_limits *limits, int code, const char *words)
{
	struct error *err = NULL;

	assert_int_equal(decode(limits, &err), -1);
	assert_int_equal(err->code, code);
	if (!strstr(err->message, words))
		fail_msg("'%s' is not about '%s'", err->message, words);
	error_free(err);
}

/* Units of a guest, the first few of which are what follows from the seed. */
static void make(enum control_way way, unsigned units)
{
	struct kit_guest *g = kit_guest_create(7);
	struct page_encoder *e = page_encoder_create(&small, NULL);
	struct byte_queue out = {0};

	assert_non_null(e);
	page_encoder_use(e, control_way_of(way));
	for (unsigned i = 0; i < 20; i++)
		kit_noise(g, g->content[i], sizeof(g->content[i]));
	for (unsigned i = 0; i < units; i++) {
		unsigned unit = kit_write(g) % 20;

		assert_int_equal(
			page_encoder_put(e, unit, g->content[unit], g->pieces[unit], &out, NULL),
			0);
		if (i % 40 == 39)
			assert_int_equal(page_encoder_flush(e, &out, NULL), 0);
	}
	assert_int_equal(page_encoder_end(e, &out, NULL), 0);
	assert_true(byte_queue_length(&out) <= sizeof(s.bytes));
	s.n = byte_queue_length(&out);
	memcpy(s.bytes, out.data + out.start, s.n);
	byte_queue_clear(&out);
	page_encoder_destroy(e);
	free(g);
}

/* A stream of one batch by hand, without caches or with, and its end. */
static void make_batch(unsigned flags, uint32_t units, const uint8_t *ops, size_t ops_size,
		       size_t payload)
{
	uint8_t *p = s.bytes + BATCH;

	make(WAY_RAW, 0);
	memset(p, 0, CODEC_BATCH_SIZE);
	p[0] = RECORD_BATCH;
	p[1] = METHOD_RAW;
	p[3] = (uint8_t)flags;
	put_be32(p + 4, units);
	put_be32(p + 8, (uint32_t)ops_size);
	put_be32(p + 12, (uint32_t)payload);
	put_be32(p + 16, (uint32_t)payload);
	memcpy(p + CODEC_BATCH_SIZE, ops, ops_size);
	memset(p + CODEC_BATCH_SIZE + ops_size, 0x11, payload);
	p += CODEC_BATCH_SIZE + ops_size + payload;
	memset(p, 0, CODEC_BATCH_SIZE);
	p[0] = RECORD_END;
	put_be32(p + 4, units);
	s.n = (size_t)(p + CODEC_BATCH_SIZE - s.bytes);
}

#define BY_HAND(FLAGS, UNITS, PAYLOAD, WORDS, ...)                                                 \
	do {                                                                                       \
		static const uint8_t ops_[] = {__VA_ARGS__};                                       \
		make_batch(FLAGS, UNITS, ops_, sizeof(ops_), PAYLOAD);                             \
		refused(&decoder_defaults, EPROTO, WORDS);                                         \
	} while (0)

static void test_header(void **unused)
{
	static const struct {
		size_t at;
		uint8_t value;
		int code;
		const char *words;
	} cases[] = {
		{0, 'X', EPROTO, "magic"},
		{5, 0, EPROTO, "version"},
		{7, 9, EPROTO, "version"},
		{11, 1, ENOTSUP, "features"},
		{12, 0xff, EPROTO, "pieces"},
		{13, 0x10, ENOTSUP, "cache"},
		{15, 1, EPROTO, "pieces"},
		{19, 1, EPROTO, "versions"},
		{20, 1, EPROTO, "batches"},
		{21, 0x20, ENOTSUP, "batches"},
		{24, 24, EPROTO, "window"},
		{25, 0, EPROTO, "lanes"},
		{25, CODEC_LANES_MOST + 1, EPROTO, "lanes"},
	};
	struct decoder_limits limits = decoder_defaults;

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make(WAY_CACHE, 0);
		/* what of the cache can be had is small in the stream */
		if (cases[i].at == 13)
			put_be32(s.bytes + 16, 1u << 20);
		if (cases[i].at == 15)
			s.bytes[14] = 0;
		s.bytes[cases[i].at] = cases[i].value;
		refused(&limits, cases[i].code, cases[i].words);
	}
	make(WAY_CACHE, 0);
	s.bytes[5] = s.bytes[7] = 2;
	refused(&limits, ENOTSUP, "version 2");
	make(WAY_CACHE, 0);
	limits.window = 11;
	refused(&limits, ENOTSUP, "limits");
}

static void test_operations(void **unused)
{
	(void)unused;
	BY_HAND(0, 1, 0, "record at byte 36", SHAPE_LITERAL);
	BY_HAND(0, 1, 0, "payload end", SHAPE_LITERAL);
	BY_HAND(0, 2, 4096, "1 units fewer", SHAPE_LITERAL);
	BY_HAND(0, 1, 8192, "more units", SHAPE_LITERAL, SHAPE_LITERAL);
	BY_HAND(0, 1, 4097, "nobody's", SHAPE_LITERAL);
	BY_HAND(0, 1, 0, "shape 7", CODEC_SHAPES);
	BY_HAND(0, 1, 0, "none was made", SHAPE_KNOWN, 0);
	BY_HAND(0, 1, 0, "operations end", SHAPE_FILLED, 1, 2);
	BY_HAND(0, 1, 0, "zero units", SHAPE_ZEROES, 1);
	BY_HAND(0, 1, 0, "no cache", SHAPE_COPY, 0);
	BY_HAND(0, 1, 0, "no cache", SHAPE_UNCHANGED);
	BY_HAND(0, 1, 0, "kind 8", SHAPE_MIXED, 8, 0);
	BY_HAND(FLAG_LEARN, 1, 0, "kind 8", SHAPE_MIXED, 8, 0);
	BY_HAND(FLAG_LEARN, 1, 0, "which has 0", SHAPE_COPY, 0);
	BY_HAND(FLAG_LEARN, 1, 0, "which has 0", SHAPE_UNCHANGED);
	BY_HAND(FLAG_LEARN, 1, 24, "which has 0", SHAPE_MIXED, PIECE_DELTA, 0);
	BY_HAND(FLAG_LEARN, 1, 16, "payload end", SHAPE_MIXED, PIECE_SPARSE, 0);
	BY_HAND(FLAG_LEARN, 1, 4096, "checksum", SHAPE_LITERAL);
	BY_HAND(0, 1, 4096, "0 pieces", SHAPE_LITERAL | OP_PIECES, 0);
	BY_HAND(0, 1, 4096, "65 pieces", SHAPE_LITERAL | OP_PIECES, 65);
	BY_HAND(0, 1, 0, "more than 10 bytes", SHAPE_ZEROES, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff);
	BY_HAND(0, 0, 0, "limits", SHAPE_ZEROES, 0);
	BY_HAND(8, 1, 0, "flags", SHAPE_ZEROES, 0);
}

static void test_ends(void **unused)
{
	(void)unused;
	make(WAY_ZSTD_1, 100);
	s.n--;
	refused(&decoder_defaults, EPROTO, "the stream ends in");
	s.n = 0;
	refused(&decoder_defaults, EPROTO, "the stream ends in");
	make(WAY_ZSTD_1, 100);
	s.bytes[s.n++] = 0;
	refused(&decoder_defaults, EPROTO, "after the end");
	make(WAY_ZSTD_1, 100);
	s.bytes[s.n - CODEC_BATCH_SIZE + 7] ^= 1;
	refused(&decoder_defaults, EPROTO, "the end says");
	make(WAY_ZSTD_1, 100);
	s.bytes[s.n - CODEC_BATCH_SIZE] = 3;
	refused(&decoder_defaults, EPROTO, "type 3");
	make(WAY_ZSTD_1, 100);
	s.bytes[BATCH + 3] &= (uint8_t)~FLAG_RESTART;
	refused(&decoder_defaults, EPROTO, "before it began");
}

/* One bit anywhere: never more than an error, and with caches hardly ever less. */
static void test_damage(void **unused)
{
	static const enum control_way ways[] = {WAY_RAW, WAY_CACHE, WAY_LZ4, WAY_ZSTD_1};
	struct kit_random random = {11};

	(void)unused;
	for (unsigned w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
		unsigned unseen = 0;

		for (unsigned i = 0; i < 60; i++) {
			struct error *err = NULL;
			unsigned at;

			make(ways[w], 60);
			at = CODEC_HEADER_SIZE +
			     kit_below(&random, (unsigned)s.n - CODEC_HEADER_SIZE);
			s.bytes[at] ^= (uint8_t)(1 << kit_below(&random, 8));
			if (decode(&decoder_defaults, &err) == 0) {
				unseen++;
			} else {
				assert_true(err->code == EPROTO || err->code == ENOTSUP);
				assert_null(strchr(err->message, '\n'));
			}
			error_free(err);
		}
		assert_true(ways[w] == WAY_RAW || unseen <= 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_operations),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
