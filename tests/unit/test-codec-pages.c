/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whatever a guest writes, what is encoded comes out of the decoder, whatever ways are used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/control.h"
#include "tests/unit/test-codec-kit.h"

#define STEPS 6000u

/* The smallest cache there is: it is soon full. */
static const struct codec_options small = {
	.cache_bytes = CODEC_SLOTS_LEAST * 1024ull,
	.batch_bytes = CODEC_BATCH_LEAST,
	.window = 12,
	.seed = 77,
	.lanes = 1,
};

struct pair {
	struct page_encoder *encoder;
	struct page_decoder *decoder;
	struct byte_queue out;
	struct kit_queue queue;
	uint64_t in, coded;
};

static void pair_begin(struct pair *p, const struct codec_options *options, size_t units)
{
	*p = (struct pair){0};
	p->queue.units = calloc(units, sizeof(*p->queue.units));
	p->encoder = page_encoder_create(options, NULL);
	p->decoder = page_decoder_create(&decoder_defaults, kit_came, &p->queue, NULL);
	assert_non_null(p->queue.units);
	assert_non_null(p->encoder);
	assert_non_null(p->decoder);
}

static void pair_put(struct pair *p, uint64_t number, const uint8_t *content, unsigned pieces)
{
	kit_expect(&p->queue, number, content, pieces);
	p->in += (uint64_t)pieces * 1024;
	assert_int_equal(page_encoder_put(p->encoder, number, content, pieces, &p->out, NULL), 0);
}

/* What is there goes to the decoder, in parts of at most so many bytes. */
static void pair_move(struct pair *p, struct kit_random *random, unsigned most)
{
	struct error *err = NULL;

	while (byte_queue_length(&p->out) > 0) {
		size_t n = 1 + kit_below(random, most);

		if (n > byte_queue_length(&p->out))
			n = byte_queue_length(&p->out);
		if (page_decoder_feed(p->decoder, p->out.data + p->out.start, n, &err) < 0)
			fail_msg("%s", error_text(err));
		p->coded += n;
		byte_queue_consume(&p->out, n);
	}
	assert_false(p->queue.wrong);
}

static void pair_end(struct pair *p, struct kit_random *random)
{
	assert_int_equal(page_encoder_end(p->encoder, &p->out, NULL), 0);
	pair_move(p, random, 1000);
	assert_int_equal(page_decoder_end(p->decoder, NULL), 0);
	assert_int_equal(p->queue.first, p->queue.end);
	page_encoder_destroy(p->encoder);
	page_decoder_destroy(p->decoder);
	byte_queue_clear(&p->out);
	free(p->queue.units);
}

/* A hop's life: units in any order, flushes, other ways, the output cut anywhere. */
static void live(const struct codec_options *options, bool ways, unsigned cut)
{
	struct kit_guest *g = kit_guest_create(0x9e3779b97f4a7c15ull + cut);
	struct pair p;

	pair_begin(&p, options, STEPS + KIT_UNITS);
	for (unsigned i = 0; i < KIT_UNITS; i++)
		pair_put(&p, kit_number(i), g->content[i], g->pieces[i]);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned unit = kit_write(g);

		pair_put(&p, kit_number(unit), g->content[unit], g->pieces[unit]);
		if (kit_below(&g->random, 300) == 0)
			assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
		if (ways && kit_below(&g->random, 100) == 0)
			page_encoder_use(p.encoder,
					 control_way_of(kit_below(&g->random, WAY_ZSTD_9)));
		if (step % 64 == 0)
			pair_move(&p, &g->random, cut);
	}
	pair_end(&p, &g->random);
	assert_true(p.coded < p.in / 2);
	free(g);
}

static void test_default_way(void **unused)
{
	(void)unused;
	live(&codec_defaults, false, 100000);
}

static void test_small_cache(void **unused)
{
	(void)unused;
	live(&small, false, 3000);
}

static void test_all_ways(void **unused)
{
	(void)unused;
	live(&small, true, 5000);
}

/* Coders side by side: all comes out, in order, whatever way each batch goes. */
static void test_lanes(void **unused)
{
	struct codec_options o = small;

	(void)unused;
	for (o.lanes = 2; o.lanes <= CODEC_LANES_MOST; o.lanes += 5) {
		live(&o, false, 100000);
		live(&o, true, 5000);
	}
}

/* What is with the lanes stays bounded, and a flush has them all. */
static void test_lanes_behind(void **unused)
{
	struct codec_options o = small;
	struct kit_guest *g = kit_guest_create(44);
	struct kit_random random = {5};
	int64_t begun = clock_ns();
	struct pair p;

	(void)unused;
	o.lanes = 2;
	pair_begin(&p, &o, 2000);
	assert_false(page_encoder_behind(p.encoder));
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t page[4096];

		kit_noise(g, page, sizeof(page));
		pair_put(&p, i, page, 4);
		pair_move(&p, &random, 100000);
		/* of those that are not out, each batch holds no more than its bytes */
		assert_true((p.queue.end - p.queue.first) * sizeof(page) <=
			    (o.lanes * PAYLOAD_BATCHES + 1) * o.batch_bytes);
	}
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
	assert_false(page_encoder_behind(p.encoder));
	/* nobody can have been faster than the clock */
	assert_true(page_encoder_times(p.encoder).payload_s > 0);
	assert_true(page_encoder_times(p.encoder).waited_s > 0);
	assert_true(page_encoder_times(p.encoder).waited_s <=
		    (double)(clock_ns() - begun) / NS_PER_SEC);
	pair_move(&p, &random, 100000);
	assert_int_equal(p.queue.first, p.queue.end);
	pair_end(&p, &random);
	free(g);
}

/* An encoder can go at any time, also with its lanes at work. */
static void test_lanes_end_early(void **unused)
{
	struct codec_options o = small;
	struct kit_guest *g = kit_guest_create(45);
	struct byte_queue out = {0};

	(void)unused;
	o.lanes = 4;
	for (unsigned round = 0; round < 20; round++) {
		struct page_encoder *e = page_encoder_create(&o, NULL);

		assert_non_null(e);
		page_encoder_use(e, control_way_of(WAY_ZSTD_6));
		for (unsigned i = 0; i < 20 * round; i++) {
			uint8_t page[4096];

			kit_noise(g, page, sizeof(page));
			assert_int_equal(page_encoder_put(e, i, page, 4, &out, NULL), 0);
		}
		page_encoder_destroy(e);
	}
	byte_queue_clear(&out);
	free(g);
}

static void test_byte_by_byte(void **unused)
{
	static uint8_t page[4096] = {1, 2, 3};
	struct kit_random random = {5};
	struct pair p;

	(void)unused;
	pair_begin(&p, &small, 100);
	for (unsigned i = 0; i < 100; i++) {
		page[i * 8]++;
		pair_put(&p, i / 3, page, 4);
	}
	pair_move(&p, &random, 1);
	pair_end(&p, &random);
}

/* What each kind of content costs, at the most. */
static void test_what_it_takes(void **unused)
{
	struct kit_guest *g = kit_guest_create(42);
	struct kit_random random = {5};
	uint8_t page[4096] = {0}, other[4096];
	struct front_stats stats;
	struct pair p;

	(void)unused;
	pair_begin(&p, &small, 2000);
	for (unsigned i = 0; i < 1000; i++)
		pair_put(&p, i, page, 4);
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
	assert_true(byte_queue_length(&p.out) < CODEC_HEADER_SIZE + CODEC_BATCH_SIZE + 8);
	pair_move(&p, &random, 10);

	kit_noise(g, page, sizeof(page));
	pair_put(&p, 5000, page, 4);
	pair_put(&p, 6000, page, 4); /* the same: a reference */
	memcpy(other, page, sizeof(page));
	other[1000] ^= 1;
	pair_put(&p, 6000, other, 4); /* one word */
	pair_put(&p, 6000, other, 4); /* unchanged */
	pair_put(&p, 5000, page, 4);  /* its piece was changed in place */
	page_encoder_stats(p.encoder, &stats);
	assert_int_equal(stats.pieces[PIECE_LITERAL], 4);
	assert_int_equal(stats.pieces[PIECE_REFERENCE], 0);
	assert_int_equal(stats.pieces[PIECE_NEXT], 4); /* slot 0 is where one begins */
	assert_int_equal(stats.pieces[PIECE_DELTA], 2);
	assert_int_equal(stats.pieces[PIECE_UNCHANGED], 4 + 3 + 3);
	assert_int_equal(stats.delta_bytes, 2 * (16 + 8));
	pair_end(&p, &random);
	free(g);
}

/* The same page in four rounds, a few words different: next to nothing each time. */
static void test_rounds(void **unused)
{
	struct kit_guest *g = kit_guest_create(43);
	struct kit_random random = {5};
	static uint8_t pages[64][4096];
	struct pair p;

	(void)unused;
	pair_begin(&p, &small, 64 * 5);
	kit_noise(g, pages[0], sizeof(pages));
	for (unsigned round = 0; round < 5; round++) {
		uint64_t before = p.coded;

		for (unsigned i = 0; i < 64; i++) {
			pages[i][round * 500] ^= 0x55;
			pair_put(&p, i, pages[i], 4);
		}
		assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
		pair_move(&p, &random, 100000);
		if (round > 0)
			assert_true(p.coded - before < 64 * 40);
	}
	pair_end(&p, &random);
	free(g);
}

static void test_options(void **unused)
{
	struct codec_options o = codec_defaults;

	(void)unused;
	o.cache_bytes = 1000;
	assert_null(page_encoder_create(&o, NULL));
	o = codec_defaults;
	o.cache_bytes = 1ull << 34;
	assert_null(page_encoder_create(&o, NULL));
	o = codec_defaults;
	o.batch_bytes = CODEC_BATCH_MOST + 1;
	assert_null(page_encoder_create(&o, NULL));
	o = codec_defaults;
	o.window = 9;
	assert_null(page_encoder_create(&o, NULL));
	o = codec_defaults;
	o.lanes = 0;
	assert_null(page_encoder_create(&o, NULL));
	o.lanes = CODEC_LANES_MOST + 1;
	assert_null(page_encoder_create(&o, NULL));
	page_encoder_destroy(NULL);
	page_decoder_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_way),   cmocka_unit_test(test_small_cache),
		cmocka_unit_test(test_all_ways),      cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_what_it_takes), cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_options),	      cmocka_unit_test(test_lanes),
		cmocka_unit_test(test_lanes_behind),  cmocka_unit_test(test_lanes_end_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
