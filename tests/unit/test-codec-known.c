/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one end has and offers: found by its content, taken as it was, and no more than offered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/control.h"
#include "migrate/codec/known_pages.h"
#include "migrate/codec/page_mac.h"
#include "tests/unit/test-codec-kit.h"

#define PAGES  300u
#define PAGE   4096u
#define OFFSET 100u /* of the first page in the file: nothing needs to be aligned */

static const struct codec_options small = {
	.cache_bytes = CODEC_SLOTS_LEAST * 1024ull,
	.batch_bytes = CODEC_BATCH_LEAST,
	.window = 12,
	.seed = 5,
	.lanes = 1,
};

static uint8_t pages[PAGES][PAGE];

static void make_pages(struct kit_random *random)
{
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned at = 0; at < PAGE; at += 8) {
			uint64_t word = kit_next(random);

			memcpy(pages[i] + at, &word, 8);
		}
	/* one with pieces that are filled */
	memset(pages[7], 0, 1024);
	memset(pages[7] + 2048, 0x55, 1024);
}

static int make_file(void)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, pages, sizeof(pages), OFFSET), (ssize_t)sizeof(pages));
	return fd;
}

/* Takes fd over. */
static struct held_pages *hold(int fd)
{
	return held_pages_create(&(struct held_file){fd, OFFSET, PAGES}, 1, PAGES, NULL);
}

/* Until it is complete, or refused: 0, or the error's code. */
static int offer(struct held_pages *h, struct known_pages *k, size_t most)
{
	uint8_t bytes[4096];
	size_t n;

	while ((n = held_pages_offer(h, bytes, most)) > 0)
		for (size_t at = 0, used; at < n; at += used) {
			auto_error err = NULL;

			if (known_pages_feed(k, bytes + at, n - at < 7 ? n - at : 7, &used, &err) <
			    0)
				return err->code;
			assert_true(used > 0);
		}
	return 0;
}

struct ends {
	struct held_pages *held;
	struct known_pages *known;
	int fd;
};

static void begin(struct ends *e, size_t most)
{
	e->fd = make_file();
	e->held = hold(dup(e->fd));
	e->known = known_pages_create(PAGES, NULL);
	assert_non_null(e->held);
	assert_non_null(e->known);
	assert_false(known_pages_complete(e->known));
	assert_int_equal(offer(e->held, e->known, most), 0);
	assert_true(known_pages_complete(e->known));
	assert_int_equal(known_pages_count(e->known), PAGES);
}

static void end(struct ends *e)
{
	held_pages_destroy(e->held);
	known_pages_destroy(e->known);
	close(e->fd);
}

static void test_digest(void **unused)
{
	static const uint8_t key[PAGE_MAC_KEY] = {1}, other[PAGE_MAC_KEY] = {2};
	struct page_mac *a = page_mac_create(key, NULL), *b = page_mac_create(other, NULL);
	uint8_t one[PAGE_MAC_SIZE], two[PAGE_MAC_SIZE];
	static const uint8_t zeroes[PAGE];
	/* (printf '\1'; head -c 4159 /dev/zero) | sha256sum */
	static const uint8_t expected[] = {0x77, 0x1c, 0xcc, 0xca, 0xd5, 0x82, 0x4c, 0x7b};

	(void)unused;

	assert_int_equal(page_mac_of(a, zeroes, one, NULL), 0);
	assert_int_equal(page_mac_of(a, zeroes, two, NULL), 0);
	assert_memory_equal(one, two, sizeof(one));
	assert_memory_equal(one, expected, sizeof(expected));
	assert_int_equal(page_mac_of(b, zeroes, two, NULL), 0);
	assert_memory_not_equal(one, two, sizeof(one));
	page_mac_destroy(a);
	page_mac_destroy(b);
}

static void test_found_by_content(void **unused)
{
	static const size_t rooms[] = {OFFER_HEADER_SIZE, 100, 4096};
	uint8_t content[PAGE];
	struct ends e;

	(void)unused;
	for (size_t r = 0; r < ARRAY_SIZE(rooms); r++) {
		begin(&e, rooms[r]);
		for (unsigned i = 0; i < PAGES; i++) {
			assert_int_equal(known_pages_find(e.known, pages[i]), i);
			assert_int_equal(held_pages_take(e.held, i, content, NULL), 0);
			assert_memory_equal(content, pages[i], PAGE);
			content[i] ^= 1;
			assert_int_equal(known_pages_find(e.known, content), KNOWN_NOWHERE);
		}
		end(&e);
	}
}

/* The key is another one with each offer, so digests of one are nothing in the next. */
static void test_fresh_keys(void **unused)
{
	uint8_t one[4096], two[4096];
	struct held_pages *h;

	(void)unused;
	h = hold(make_file());
	assert_int_equal(held_pages_offer(h, one, sizeof(one)), sizeof(one));
	held_pages_destroy(h);
	h = hold(make_file());
	assert_int_equal(held_pages_offer(h, two, sizeof(two)), sizeof(two));
	held_pages_destroy(h);
	assert_memory_equal(one, two, 16);
	for (size_t at = 16; at < sizeof(one); at += 16)
		assert_memory_not_equal(one + at, two + at, 16);
}

static void test_nothing_to_offer(void **unused)
{
	struct held_pages *h = held_pages_create(NULL, 0, 0, NULL);
	struct known_pages *k = known_pages_create(PAGES, NULL);
	uint8_t content[PAGE];
	auto_error err = NULL;

	(void)unused;
	assert_int_equal(offer(h, k, 4096), 0);
	assert_true(known_pages_complete(k));
	assert_int_equal(known_pages_find(k, pages[0]), KNOWN_NOWHERE);
	assert_int_equal(held_pages_take(h, 0, content, &err), -1);
	assert_int_equal(err->code, EPROTO);
	held_pages_destroy(h);
	known_pages_destroy(k);
}

/* An image: what lies between its holes, up to its last whole page. */
static int make_image(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (off_t i = 0; i < 3; i++)
		assert_int_equal(pwrite(fd, pages[i], PAGE, (10 + i) * PAGE), PAGE);
	assert_int_equal(pwrite(fd, pages[3], PAGE, 2000 * PAGE), PAGE);
	assert_int_equal(pwrite(fd, pages[4], PAGE, 9000 * PAGE), PAGE);
	assert_int_equal(pwrite(fd, pages[5], 100, 9001 * PAGE), 100);
	return fd;
}

static void test_several_files(void **unused)
{
	const struct held_file files[] = {
		{make_image(), 0, 0}, {make_file(), OFFSET, 100}, {make_image(), 0, 0}};
	struct known_pages *k = known_pages_create(108, NULL);
	struct held_pages *h = held_pages_create(files, 3, 108, NULL);
	uint8_t content[PAGE];

	(void)unused;
	assert_int_equal(offer(h, k, 4096), 0);
	/* the last one of them has room for three */
	assert_int_equal(known_pages_count(k), 108);
	for (unsigned i = 0; i < 108; i++) {
		const uint8_t *expected = pages[i < 5 ? i : i < 105 ? i - 5 : i - 105];

		assert_int_equal(held_pages_take(h, i, content, NULL), 0);
		assert_memory_equal(content, expected, PAGE);
	}
	/* what is there twice is found where it is first */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(known_pages_find(k, pages[i]), i);
	assert_int_equal(known_pages_find(k, pages[99]), 104);
	assert_int_equal(known_pages_find(k, pages[100]), KNOWN_NOWHERE);
	assert_int_equal(held_pages_take(h, 108, content, NULL), -1);
	held_pages_destroy(h);
	known_pages_destroy(k);
}

/* A hole at its end, nothing but a hole, nothing at all, no file that could be searched. */
static void test_empty_images(void **unused)
{
	int ends[2];

	(void)unused;
	assert_int_equal(pipe(ends), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct held_file file = {i < 3 ? memfd_create("image", MFD_CLOEXEC) : ends[0], 0,
					 0};
		struct known_pages *k = known_pages_create(PAGES, NULL);
		struct held_pages *h;

		if (i == 0)
			assert_int_equal(pwrite(file.fd, pages[0], PAGE, 0), PAGE);
		if (i < 2)
			assert_int_equal(ftruncate(file.fd, 1000 * PAGE), 0);
		h = held_pages_create(&file, 1, PAGES, NULL);
		assert_int_equal(offer(h, k, 4096), 0);
		assert_int_equal(known_pages_count(k), i == 0);
		held_pages_destroy(h);
		known_pages_destroy(k);
	}
	close(ends[1]);
}

/* What is behind the file's end is not offered; the rest is. */
static void test_file_too_short(void **unused)
{
	struct known_pages *k = known_pages_create(PAGES, NULL);
	int fd = make_file();
	struct held_pages *h;
	uint8_t content[PAGE];

	(void)unused;
	assert_int_equal(ftruncate(fd, OFFSET + 100 * PAGE + 17), 0);
	h = hold(fd);
	assert_int_equal(offer(h, k, 4096), 0);
	assert_int_equal(known_pages_find(k, pages[99]), 99);
	assert_int_equal(known_pages_find(k, pages[100]), KNOWN_NOWHERE);
	assert_int_equal(held_pages_take(h, 99, content, NULL), 0);
	assert_int_equal(held_pages_take(h, 100, content, NULL), -1);
	held_pages_destroy(h);
	known_pages_destroy(k);
}

/* One that changed, or went, after it was offered is an error and not another content. */
static void test_file_changes(void **unused)
{
	uint8_t content[PAGE];
	auto_error changed = NULL;
	auto_error gone = NULL;
	struct ends e;

	(void)unused;
	begin(&e, 4096);
	assert_int_equal(pwrite(e.fd, "x", 1, OFFSET + 20 * PAGE + 4095), 1);
	assert_int_equal(ftruncate(e.fd, OFFSET + 200 * PAGE), 0);
	assert_int_equal(held_pages_take(e.held, 19, content, NULL), 0);
	assert_int_equal(held_pages_take(e.held, 20, content, &changed), -1);
	assert_int_equal(changed->code, EPROTO);
	assert_non_null(strstr(changed->message, "is not what it was"));
	assert_int_equal(held_pages_take(e.held, 200, content, &gone), -1);
	assert_non_null(strstr(gone->message, "can't be read"));
	end(&e);
}

static int refused(const uint8_t *bytes, size_t n, uint64_t most, const char *words)
{
	struct known_pages *k = known_pages_create(most, NULL);
	auto_error err = NULL;
	size_t used;

	assert_int_equal(known_pages_feed(k, bytes, n, &used, &err), -1);
	if (!strstr(err->message, words))
		fail_msg("'%s' is not about '%s'", err->message, words);
	known_pages_destroy(k);
	return err->code;
}

static void put_header(uint8_t header[OFFER_HEADER_SIZE], uint32_t count)
{
	memset(header, 0, OFFER_HEADER_SIZE);
	put_be32(header, OFFER_MAGIC);
	header[4] = OFFER_VERSION;
	put_be32(header + 8, count);
}

static void test_hostile_headers(void **unused)
{
	uint8_t header[OFFER_HEADER_SIZE];

	(void)unused;
	put_header(header, 11);
	assert_int_equal(refused(header, sizeof(header), 10, "at most 10"), EPROTO);
	put_header(header, UINT32_MAX);
	assert_int_equal(refused(header, sizeof(header), UINT64_MAX, "at most"), EPROTO);
	put_header(header, 1);
	header[3] ^= 1;
	assert_int_equal(refused(header, sizeof(header), 10, "magic"), EPROTO);
	put_header(header, 1);
	header[4]++;
	assert_int_equal(refused(header, sizeof(header), 10, "version 2"), ENOTSUP);
}

/* Digests that all want one place: each costs no more than a few looks. */
static void test_hostile_digests(void **unused)
{
	enum {
		MANY = 200000
	};
	struct known_pages *k = known_pages_create(MANY, NULL);
	uint8_t header[OFFER_HEADER_SIZE], digest[PAGE_MAC_SIZE] = {0};
	double begun = clock_thread_s();
	size_t used;

	(void)unused;
	put_header(header, MANY);
	assert_int_equal(known_pages_feed(k, header, sizeof(header), &used, NULL), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		put_be32(digest + 8, i + 1);
		assert_int_equal(known_pages_feed(k, digest, sizeof(digest), &used, NULL), 0);
	}
	assert_true(known_pages_complete(k));
	/* quadratic it would be minutes */
	assert_true(clock_thread_s() - begun < 10);
	assert_int_equal(known_pages_find(k, pages[0]), KNOWN_NOWHERE);
	known_pages_destroy(k);
}

/* ---- Through encoder and decoder ---- */

struct pair {
	struct ends ends;
	struct page_encoder *encoder;
	struct page_decoder *decoder;
	struct byte_queue out;
	struct kit_queue queue;
	uint64_t coded;
};

static int take(void *arg, uint64_t page, uint8_t *content, struct error **err)
{
	struct pair *p = arg;

	return held_pages_take(p->ends.held, page, content, err);
}

static void pair_begin_lanes(struct pair *p, size_t units, unsigned lanes)
{
	struct codec_options options = small;

	options.lanes = lanes;
	*p = (struct pair){0};
	begin(&p->ends, 4096);
	p->queue.units = calloc(units, sizeof(*p->queue.units));
	p->encoder = page_encoder_create(&options, NULL);
	p->decoder = page_decoder_create(&decoder_defaults, kit_came, &p->queue, NULL);
	assert_non_null(p->queue.units);
	assert_non_null(p->encoder);
	assert_non_null(p->decoder);
	page_encoder_know(p->encoder, p->ends.known);
	page_decoder_know(p->decoder, take, p);
}

static void pair_begin(struct pair *p, size_t units)
{
	pair_begin_lanes(p, units, 1);
}

static void pair_put(struct pair *p, uint64_t number, const uint8_t *content, unsigned pieces)
{
	kit_expect(&p->queue, number, content, pieces);
	assert_int_equal(page_encoder_put(p->encoder, number, content, pieces, &p->out, NULL), 0);
}

static int pair_move(struct pair *p, struct error **err)
{
	size_t n = byte_queue_length(&p->out);
	int result = page_decoder_feed(p->decoder, p->out.data + p->out.start, n, err);

	p->coded += n;
	byte_queue_consume(&p->out, n);
	assert_false(p->queue.wrong);
	return result;
}

static void pair_destroy(struct pair *p)
{
	page_encoder_destroy(p->encoder);
	page_decoder_destroy(p->decoder);
	byte_queue_clear(&p->out);
	for (size_t i = p->queue.first; i < p->queue.end; i++)
		free(p->queue.units[i].content);
	free(p->queue.units);
	end(&p->ends);
}

static void pair_end(struct pair *p)
{
	assert_int_equal(page_encoder_end(p->encoder, &p->out, NULL), 0);
	assert_int_equal(pair_move(p, NULL), 0);
	assert_int_equal(page_decoder_end(p->decoder, NULL), 0);
	assert_int_equal(p->queue.first, p->queue.end);
	pair_destroy(p);
}

/* All pages, at other numbers: two bytes each, or a little more. A change after that is a delta. */
static void test_other_numbers(void **unused)
{
	struct front_stats stats;
	struct pair p;

	(void)unused;
	pair_begin(&p, 2 * PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		pair_put(&p, i, pages[(i + 100) % PAGES], 4);
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
	page_encoder_stats(p.encoder, &stats);
	assert_int_equal(stats.known, PAGES);
	assert_true(byte_queue_length(&p.out) < 200 + 3 * PAGES);
	assert_int_equal(pair_move(&p, NULL), 0);
	p.coded = 0;
	for (unsigned i = 0; i < 100; i++) {
		uint8_t content[PAGE];

		/* those that the cache has still */
		memcpy(content, pages[i], PAGE);
		content[i * 40] ^= 1;
		pair_put(&p, i + 200, content, 4);
	}
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
	page_encoder_stats(p.encoder, &stats);
	/* one of them in a piece of zeroes */
	assert_int_equal(stats.pieces[PIECE_DELTA], 99);
	assert_int_equal(stats.pieces[PIECE_SPARSE], 1);
	assert_int_equal(stats.known, PAGES);
	assert_int_equal(pair_move(&p, NULL), 0);
	assert_true(p.coded < 100 * 40);
	pair_end(&p);
}

/* A life in which pages of the offer come again and again, whatever way is used. */
static void live(unsigned lanes)
{
	enum {
		STEPS = 8000
	};
	struct kit_guest *g = kit_guest_create(99);
	struct front_stats stats;
	struct pair p;

	pair_begin_lanes(&p, STEPS, lanes);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned unit = kit_write(g);

		if (kit_below(&g->random, 3) == 0 && g->pieces[unit] == 4)
			memcpy(g->content[unit], pages[kit_below(&g->random, PAGES)], PAGE);
		pair_put(&p, kit_number(unit), g->content[unit], g->pieces[unit]);
		if (kit_below(&g->random, 100) == 0)
			page_encoder_use(p.encoder,
					 control_way_of(kit_below(&g->random, WAY_ZSTD_3)));
		if (step % 64 == 0)
			assert_int_equal(pair_move(&p, NULL), 0);
	}
	page_encoder_stats(p.encoder, &stats);
	assert_true(stats.known > 300);
	pair_end(&p);
	free(g);
}

static void test_life(void **unused)
{
	(void)unused;
	live(1);
	live(3);
}

/* A unit of another size is never looked for, and no reference for one is taken. */
static void test_only_pages(void **unused)
{
	uint8_t block[8 * 1024];
	struct front_stats stats;
	struct pair p;

	(void)unused;
	memcpy(block, pages[3], PAGE);
	memcpy(block + PAGE, pages[4], PAGE);
	pair_begin(&p, 10);
	pair_put(&p, 1, block, 8);
	page_encoder_stats(p.encoder, &stats);
	assert_int_equal(stats.known, 0);
	pair_end(&p);
}

/* The file changes under the decoder: the stream ends there, and nobody has got a wrong page. */
static void test_rot(void **unused)
{
	auto_error err = NULL;
	struct pair p;

	(void)unused;
	pair_begin(&p, PAGES);
	assert_int_equal(pwrite(p.ends.fd, "x", 1, OFFSET + 20 * PAGE), 1);
	for (unsigned i = 0; i < 30; i++)
		pair_put(&p, i, pages[i], 4);
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0);
	assert_int_equal(pair_move(&p, &err), -1);
	assert_int_equal(err->code, EPROTO);
	assert_non_null(strstr(err->message, "page 20 of what was offered is not what it was"));
	assert_int_equal(p.queue.first, 20);
	pair_destroy(&p);
}

/* ---- References by hand ---- */

static void refuse(bool offered, unsigned flags, const uint8_t *ops, size_t size, const char *words)
{
	uint8_t batch[CODEC_BATCH_SIZE + 64] = {RECORD_BATCH, METHOD_RAW, 0, (uint8_t)flags};
	auto_error err = NULL;
	struct pair p;

	pair_begin(&p, 10);
	if (!offered)
		page_decoder_know(p.decoder, NULL, NULL);
	assert_int_equal(page_encoder_flush(p.encoder, &p.out, NULL), 0); /* the header */
	assert_int_equal(pair_move(&p, NULL), 0);
	put_be32(batch + 4, 1);
	put_be32(batch + 8, (uint32_t)size);
	memcpy(batch + CODEC_BATCH_SIZE, ops, size);
	assert_int_equal(page_decoder_feed(p.decoder, batch, CODEC_BATCH_SIZE + size, &err), -1);
	assert_int_equal(err->code, EPROTO);
	if (!strstr(err->message, words))
		fail_msg("'%s' is not about '%s'", err->message, words);
	pair_destroy(&p);
}

#define REFUSE(OFFERED, FLAGS, WORDS, ...)                                                         \
	do {                                                                                       \
		static const uint8_t ops_[] = {__VA_ARGS__};                                       \
		refuse(OFFERED, FLAGS, ops_, sizeof(ops_), WORDS);                                 \
	} while (0)

static void test_hostile_references(void **unused)
{
	(void)unused;
	REFUSE(true, 0, "page 300 of what is here, of which 300", SHAPE_KNOWN, 0xd8, 0x04);
	REFUSE(true, FLAG_LEARN, "page 300 of what is here, of which 300", SHAPE_KNOWN, 0xd8, 0x04);
	REFUSE(true, 0, "page 18446744073709551615", SHAPE_KNOWN, 0x01);
	REFUSE(true, 0, "operations end", SHAPE_KNOWN);
	REFUSE(true, 0, "for a unit of 8 pieces", SHAPE_KNOWN | OP_PIECES, 8, 0);
	REFUSE(true, 0, "more units", SHAPE_KNOWN, 0, SHAPE_KNOWN, 0);
	REFUSE(true, FLAG_LEARN, "checksum", SHAPE_KNOWN, 0);
	REFUSE(false, 0, "none was made", SHAPE_KNOWN, 0);
	REFUSE(false, FLAG_LEARN, "none was made", SHAPE_KNOWN, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_found_by_content),
		cmocka_unit_test(test_fresh_keys),
		cmocka_unit_test(test_nothing_to_offer),
		cmocka_unit_test(test_several_files),
		cmocka_unit_test(test_empty_images),
		cmocka_unit_test(test_file_too_short),
		cmocka_unit_test(test_file_changes),
		cmocka_unit_test(test_hostile_headers),
		cmocka_unit_test(test_hostile_digests),
		cmocka_unit_test(test_other_numbers),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_only_pages),
		cmocka_unit_test(test_rot),
		cmocka_unit_test(test_hostile_references),
	};
	struct kit_random random = {3};

	make_pages(&random);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
