/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The writer of QEMU's stream by itself: headers, and what a page's header remembers. */
#include "tests/unit/test-stream-kit.h"

/* A writer with the format of what is in the stream. */
static struct qemu_writer *writer_of(const struct stream *s)
{
	struct qemu_writer *writer = qemu_writer_create(NULL);
	struct copy copy;

	assert_non_null(writer);
	copy_start(&copy);
	assert_int_equal(copy_feed(&copy, s->bytes, s->size), 0);
	assert_int_equal(qemu_writer_format(writer, copy.reader), 0);
	copy_stop(&copy);
	return writer;
}

/* Not before the reader knows blocks and footers; then nothing is written. */
static void test_format_comes_late(void **unused)
{
	struct stream *s = in_part();
	struct qemu_writer *writer = qemu_writer_create(NULL);
	uint8_t buf[QEMU_HEADER_MOST];
	struct copy copy;
	size_t known = 0;

	(void)unused;
	copy_start(&copy);
	for (size_t i = 0; i < s->size && copy.parts == 0; i++) {
		assert_int_equal(qemu_write_page(writer, 0, 0, false, 0, buf), 0);
		known += qemu_writer_format(writer, copy.reader) == 0;
		if (known)
			break;
		assert_int_equal(copy_feed(&copy, s->bytes + i, 1), 0);
	}
	assert_int_equal(known, 1);
	assert_int_equal(copy.blocks, 3);
	assert_true(qemu_write_page(writer, 0, 0, false, 0, buf) > 0);
	copy_stop(&copy);
	qemu_writer_destroy(writer);
}

static void assert_page(struct qemu_writer *writer, size_t block, uint64_t page, bool filled,
			const struct stream *expected)
{
	uint8_t buf[QEMU_HEADER_MOST];
	size_t n = qemu_write_page(writer, block, page, filled, 0xee, buf);

	assert_int_equal(n, expected->size);
	assert_memory_equal(buf, expected->bytes, n);
}

/* What a page's header should be. */
static const struct stream *header(uint64_t word, const char *name, bool filled)
{
	static struct stream s;

	s.size = 0;
	put64(&s, word);
	if (name)
		put_name(&s, name);
	if (filled)
		put8(&s, 0xee);
	return &s;
}

static void test_pages(void **unused)
{
	struct qemu_writer *writer = writer_of(in_part());
	uint8_t buf[QEMU_HEADER_MOST];
	const uint64_t far = 0xfffffffffffffu;

	(void)unused;
	assert_page(writer, 0, 3, false, header(3 * 4096 + 0x08, "a.ram", false));
	assert_page(writer, 0, far, false, header(far * 4096 + 0x28, NULL, false));
	assert_page(writer, 2, 0, true, header(0x02, long_name(), true));
	/* the block persists across sections */
	qemu_write_part_end(writer, false, buf);
	qemu_write_part_begin(writer, true, buf);
	assert_page(writer, 2, 0, true, header(0x22, NULL, true));
	assert_page(writer, 1, 1, true, header(4096 + 0x02, "b", true));
	qemu_write_restart(writer);
	assert_page(writer, 1, 0, false, header(0x08, "b", false));
	assert_page(writer, 1, 0, false, header(0x28, NULL, false));
	/* no such block: nothing, and nothing is forgotten */
	assert_int_equal(qemu_write_page(writer, 3, 0, false, 0, buf), 0);
	assert_page(writer, 1, 0, false, header(0x28, NULL, false));
	qemu_writer_destroy(writer);
	qemu_writer_destroy(NULL);
}

static void test_sections(void **unused)
{
	static const uint8_t part[] = {2, 0, 0, 0, RAM_ID}, end[] = {3, 0, 0, 0, RAM_ID};
	static const uint8_t tail[] = {0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, RAM_ID};
	struct qemu_writer *writer = writer_of(in_part());
	uint8_t buf[QEMU_HEADER_MOST];

	(void)unused;
	assert_int_equal(qemu_write_part_begin(writer, false, buf), sizeof(part));
	assert_memory_equal(buf, part, sizeof(part));
	assert_int_equal(qemu_write_part_begin(writer, true, buf), sizeof(end));
	assert_memory_equal(buf, end, sizeof(end));
	assert_int_equal(qemu_write_part_end(writer, false, buf), sizeof(tail));
	assert_memory_equal(buf, tail, sizeof(tail));
	assert_int_equal(qemu_write_part_end(writer, true, buf), sizeof(tail));
	assert_memory_equal(buf, tail, sizeof(tail));
	qemu_writer_destroy(writer);
}

static void test_sections_without_footers(void **unused)
{
	struct stream *s = begun();
	uint8_t buf[QEMU_HEADER_MOST];
	struct qemu_writer *writer;

	(void)unused;
	s->size = 0;
	s->footers = false;
	put_file_header(s);
	put_ram_start(s);
	put_part(s, false);
	writer = writer_of(s);
	assert_int_equal(qemu_write_part_end(writer, false, buf), 8);
	qemu_writer_destroy(writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format_comes_late),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_sections_without_footers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
