/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hypervisor's stream, coded and decoded, says the same; damaged ones are refused. */
#include "tests/unit/test-codec-stream.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#include "common/bytes.h"
#include "common/random.h"
#include "migrate/stream/byte_queue.h"
#include "tests/unit/test-stream-kit.h"

static const size_t cuts[] = {1u << 20, 4096, 777, 13};

/* Every stream of the readers' corpora that is one. */
static void each_stream(enum coded_format format,
			void (*check)(enum coded_format format, const uint8_t *bytes, size_t n))
{
	const char *folder = format == CODED_QEMU ? "tests/fuzz/corpus/qemu-stream"
						  : "tests/fuzz/corpus/xen-stream";
	static struct said said;
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned checked = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[PATH_MAX];
		auto_free uint8_t *bytes = NULL;
		size_t n;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		bytes = (uint8_t *)read_file(path, 1 << 20, &n, NULL);
		assert_non_null(bytes);
		if (said_by(&said, coded_stream_formats[format], bytes, n) != 0)
			continue;
		check(format, bytes, n);
		checked++;
	}
	closedir(dir);
	assert_true(checked >= 3);
}

static void check_cut(enum coded_format format, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		for (unsigned flush = 0; flush < 4; flush++)
			assert_same(format, bytes, n, cuts[i], flush);
}

static void test_corpora(void **unused)
{
	(void)unused;
	each_stream(CODED_QEMU, check_cut);
	each_stream(CODED_XEN, check_cut);
}

/* A page comes with content, without, and with it again, while its batch waits. */
static void test_order(void **unused)
{
	struct stream *s = in_part();

	(void)unused;
	for (uint64_t i = 0; i < 20; i++) {
		put_page(s, "b", i % 2);
		put_filled(s, NULL, i % 2, (uint8_t)(i % 3));
		put_page(s, "a.ram", i % 5);
		put_filled(s, "a.ram", i % 5, 0);
		put_filled(s, NULL, 5 + i % 2, 9);
	}
	put_part_end(s);
	put_end(s);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		for (unsigned flush = 0; flush < 4; flush++)
			assert_same(CODED_QEMU, s->bytes, s->size, cuts[i], flush);
}

/* Whatever byte is another one: an error, or the same said; never a crash, never the end. */
static void check_damage(enum coded_format format, const uint8_t *bytes, size_t n)
{
	static struct said before, after;
	struct byte_queue coded = {0};
	struct random random;
	size_t size;

	random_seed(&random, 20261126);
	assert_int_equal(said_by(&before, coded_stream_formats[format], bytes, n), 0);
	encode(format, bytes, n, 1 << 20, 0, &coded);
	size = byte_queue_length(&coded);
	for (int i = 0; i < 60; i++) {
		struct byte_queue out = {0};
		size_t at = (size_t)(random_next(&random) % size);
		uint8_t was = coded.data[at];
		int code;

		coded.data[at] ^= (uint8_t)(1 + random_next(&random) % 255);
		code = decode(coded.data, size, 4096, &out, NULL);
		if (code == 0) /* opaque bytes are the hypervisor's to check */
			said_by(&after, coded_stream_formats[format], out.data,
				byte_queue_length(&out));
		else
			assert_true(code == EPROTO || code == ENOTSUP || code == ENOMEM);
		coded.data[at] = was;
		byte_queue_clear(&out);
	}
	/* cut short */
	for (int i = 0; i < 60; i++) {
		struct byte_queue out = {0};

		assert_int_equal(
			decode(coded.data, (size_t)(random_next(&random) % size), 4096, &out, NULL),
			EPROTO);
		byte_queue_clear(&out);
	}
	byte_queue_clear(&coded);
}

static void test_damage(void **unused)
{
	(void)unused;
	each_stream(CODED_QEMU, check_damage);
	each_stream(CODED_XEN, check_damage);
}

static void put_record(struct stream *s, enum coded_record type, uint32_t size)
{
	put32(s, (uint32_t)type << 24 | size);
}

static struct stream *coded_header(enum coded_format format, uint64_t pages)
{
	static struct stream s;

	s.size = 0;
	put32(&s, CODED_MAGIC);
	put8(&s, CODED_VERSION);
	put8(&s, (uint8_t)format);
	put16(&s, 0);
	put64(&s, pages);
	return &s;
}

/* words: of the message; NULL: any */
static void assert_decoding(const struct stream *s, int expected, const char *words)
{
	struct byte_queue out = {0};
	auto_error why = NULL;

	assert_int_equal(decode(s->bytes, s->size, 4096, &out, &why), expected);
	if (words)
		assert_non_null(strstr(why->message, words));
	byte_queue_clear(&out);
}

/* Records where they may not come, and of sizes that they may not have. */
static void test_refused_records(void **unused)
{
	static const struct {
		enum coded_record type;
		uint32_t size;
	} records[] = {
		{CODED_OPAQUE, 0},
		{CODED_PACKED, 4},
		{CODED_UNITS, 8},
		{CODED_KINDS, CODED_RUN_SIZE},
		{CODED_ROUNDS, 1},
		{CODED_LAST, 0},
		{CODED_DONE, 0},
		{CODED_END, 0},
		{CODED_END + 1, 0},
		{CODED_PACKED, CODED_OPAQUE_MOST + 1},
		{0, 0},
		{CODED_ROUNDS, 0}, /* no blocks yet */
	};
	struct stream *s;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		s = coded_header(CODED_QEMU, 0);
		put_record(s, records[i].type, records[i].size);
		for (uint32_t k = 0; k < records[i].size && k < 64; k++)
			put8(s, 0);
		assert_decoding(s, EPROTO, NULL);
	}
	s = coded_header(CODED_FORMATS, 0);
	assert_decoding(s, ENOTSUP, NULL);
	s = coded_header(CODED_XEN, GUEST_PAGES + 1);
	assert_decoding(s, EPROTO, NULL);
	s = coded_header(CODED_QEMU, 0);
	s->bytes[4]++;
	assert_decoding(s, ENOTSUP, NULL);
	s->bytes[0]++;
	assert_decoding(s, EPROTO, NULL);
}

/* Pages that the guest has not, in a stream that is right before that. */
static void test_foreign_pages(void **unused)
{
	const struct {
		uint64_t unit;
		uint32_t pages;
	} runs[] = {
		{coded_unit(0, PAGES_A), 1},
		{coded_unit(0, PAGES_A - 1), 2},
		{coded_unit(3, 0), 1},
		{UINT64_MAX, 1},
		{UINT64_MAX, UINT32_MAX},
		{0, UINT32_MAX},
		{0, 0},
	};
	struct stream *opaque = begun();

	(void)unused;
	for (size_t i = 0; i <= ARRAY_SIZE(runs); i++) {
		struct stream *s = coded_header(CODED_QEMU, 0);
		bool good = i == ARRAY_SIZE(runs);

		put_record(s, CODED_OPAQUE, (uint32_t)opaque->size);
		put(s, opaque->bytes, opaque->size);
		put_record(s, CODED_ROUNDS, 0);
		put_record(s, CODED_KINDS, CODED_RUN_SIZE);
		put64(s, good ? 0 : runs[i].unit);
		put32(s, good ? PAGES_A : runs[i].pages);
		put8(s, 5);
		/* the good one is only cut short */
		assert_decoding(s, EPROTO,
				good		     ? "in the middle"
				: runs[i].pages == 0 ? "a run of no pages"
						     : "which the guest has not");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpora),	      cmocka_unit_test(test_order),
		cmocka_unit_test(test_damage),	      cmocka_unit_test(test_refused_records),
		cmocka_unit_test(test_foreign_pages),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	small_cache.lanes = 3;
	return failed + cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
