/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the reader of QEMU's stream refuses in the section "ram": its list of blocks, and its pages.
 */
#include "tests/unit/test-stream-kit.h"

static void test_ram_start(void **unused)
{
	struct stream *s = configured();

	(void)unused;
	put_section(s, QEMU_SECTION_START, RAM_ID, "ram", 0, 3);
	assert_refused(s, ENOTSUP, "version 3 of section \"ram\", only 4 is known", 0);
	s = configured();
	put_section(s, QEMU_SECTION_START, RAM_ID, "ram", 1, 4);
	assert_refused(s, EPROTO, "of instance 1", 0);
}

/* As far as the size of all memory, which is `word`. */
static struct stream *ram_of(uint64_t word)
{
	struct stream *s = configured();

	put_section(s, QEMU_SECTION_START, RAM_ID, "ram", 0, QEMU_RAM_VERSION);
	put64(s, word);
	return s;
}

static void test_ram_bytes(void **unused)
{
	(void)unused;
	assert_refused(ram_of(QEMU_RAM_MEM_SIZE), EPROTO, "expected the size of all memory", 0);
	assert_refused(ram_of(QEMU_PAGE), EPROTO, "expected the size of all memory", 0);
	assert_refused(ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE | 1), EPROTO, "the size of all", 0);
	assert_refused(ram_of(QEMU_RAM_HOOK), ENOTSUP, "RDMA", 0);
}

static void test_blocks(void **unused)
{
	struct stream *s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);

	(void)unused;
	put_block(s, "", QEMU_PAGE);
	assert_refused(s, EPROTO, "memory block 0 has no name, and 4096 bytes", 0);
	s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put8(s, 3);
	put(s, "a\0b", 3);
	put64(s, QEMU_PAGE);
	assert_refused(s, EPROTO, "\"a?b\" has a zero in its name", 0);
	for (uint64_t size = 0; size < 3; size++) {
		s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
		put_block(s, "pc.ram", size == 1 ? QEMU_PAGE - 1 : size * QEMU_PAGE);
		assert_refused(s, EPROTO, "expected a multiple of 4096, at most the 4096", 0);
	}
	s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "pc.ram", UINT64_MAX - QEMU_PAGE + 1);
	assert_refused(s, EPROTO, "at most the 4096", 0);
	s = ram_of(2 * QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "pc.ram", QEMU_PAGE);
	put_block(s, "pc.ram", QEMU_PAGE);
	assert_refused(s, EPROTO, "\"pc.ram\" is listed twice", 0);
}

static void test_many_blocks(void **unused)
{
	struct stream *s = ram_of((QEMU_BLOCKS_MOST + 1ull) * QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	struct copy copy;
	char name[16];

	(void)unused;
	for (unsigned i = 0; i <= QEMU_BLOCKS_MOST; i++) {
		snprintf(name, sizeof(name), "block-%u", i);
		put_block(s, name, QEMU_PAGE);
	}
	assert_refused(s, ENOTSUP, "more than 256 memory blocks", 0);
	/* as many as that are accepted */
	s = ram_of((uint64_t)QEMU_BLOCKS_MOST * QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	for (unsigned i = 0; i < QEMU_BLOCKS_MOST; i++) {
		snprintf(name, sizeof(name), "block-%u", i);
		put_block(s, name, QEMU_PAGE);
	}
	put64(s, QEMU_RAM_EOS);
	put_footer(s, RAM_ID);
	put_part(s, true);
	put_page(s, "block-255", 0);
	put_part_end(s);
	put_devices(s);
	put_description(s);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), 0);
	assert_int_equal(copy.blocks, QEMU_BLOCKS_MOST);
	assert_memory_equal(copy.out, s->bytes, s->size);
	copy_stop(&copy);
}

/* Capabilities that show in the list: 8 bytes more per block, or another word at its end. */
static void test_ram_extras(void **unused)
{
	struct stream *s = ram_of(2 * QEMU_PAGE | QEMU_RAM_MEM_SIZE);

	(void)unused;
	put_block(s, "pc.ram", QEMU_PAGE);
	put64(s, 0);
	put_block(s, "vga.vram", QEMU_PAGE);
	assert_refused(s, EPROTO, "memory block 1 has no name", 0);
	s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "pc.ram", QEMU_PAGE);
	put64(s, 2 << 20);
	assert_refused(s, EPROTO, "more than names and sizes: x-ignore-shared", 0);
	s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "pc.ram", QEMU_PAGE);
	put64(s, QEMU_RAM_MULTIFD_FLUSH);
	assert_refused(s, ENOTSUP, "multifd", 0);
	s = ram_of(QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "pc.ram", QEMU_PAGE);
	put64(s, QEMU_RAM_HOOK);
	assert_refused(s, ENOTSUP, "RDMA", 0);
}

static void test_footers(void **unused)
{
	struct stream *s = in_part();

	(void)unused;
	put64(s, QEMU_RAM_EOS);
	put_part(s, false);
	assert_refused(s, EPROTO, "0x02, expected the footer (0x7e) of section 2", 0);
	s = in_part();
	put64(s, QEMU_RAM_EOS);
	put_footer(s, RAM_ID + 1);
	assert_refused(s, EPROTO, "footer of section 3, expected section 2", 0);
	s = file_header();
	s->footers = false;
	put_ram_start(s);
	put_part(s, false);
	put64(s, QEMU_RAM_EOS);
	s->footers = true;
	put_footer(s, RAM_ID);
	assert_refused(s, EPROTO, "0x7e, expected what begins a section", 0);
}

static void test_page_flags(void **unused)
{
	static const struct {
		uint64_t word;
		int code;
		const char *words;
	} cases[] = {
		{QEMU_RAM_XBZRLE | QEMU_RAM_CONTINUE, ENOTSUP, "XBZRLE"},
		{QEMU_RAM_HOOK, ENOTSUP, "RDMA"},
		{QEMU_RAM_COMPRESS, ENOTSUP, "compress"},
		{QEMU_RAM_MULTIFD_FLUSH, ENOTSUP, "multifd"},
		{QEMU_RAM_PAGE | QEMU_RAM_FILLED, EPROTO, "expected a page"},
		{QEMU_RAM_CONTINUE, EPROTO, "expected a page"},
		{0, EPROTO, "expected a page"},
		{QEMU_RAM_MEM_SIZE, EPROTO, "expected a page"},
		{QEMU_RAM_PAGE | 1, EPROTO, "expected a page"},
		{QEMU_RAM_PAGE | 0x400, EPROTO, "expected a page"},
		{QEMU_RAM_EOS | QEMU_PAGE, EPROTO, "expected a page"},
		{QEMU_RAM_EOS | QEMU_RAM_CONTINUE, EPROTO, "expected a page"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stream *s = in_part();

		put_page(s, "b", 0);
		put64(s, cases[i].word);
		assert_refused(s, cases[i].code, cases[i].words, 1);
	}
}

static void test_page_place(void **unused)
{
	struct stream *s = in_part();

	(void)unused;
	put_filled(s, NULL, 0, 0);
	assert_refused(s, EPROTO, "first page has flag 0x020, expected its block's name", 0);
	s = in_part();
	put_filled(s, "", 0, 0);
	assert_refused(s, EPROTO, "memory block has no name", 0);
	s = in_part();
	put_filled(s, "c", 0, 0);
	assert_refused(s, EPROTO, "memory block \"c\", which is not listed", 0);
	s = in_part();
	put64(s, QEMU_RAM_PAGE);
	put8(s, 2);
	put(s, "b", 2);
	assert_refused(s, EPROTO, "memory block \"b?\", which is not listed", 0);
	s = in_part();
	put_page(s, "b", PAGES_B);
	assert_refused(s, EPROTO, "page 0x2 of memory block \"b\", which has 0x2", 0);
	s = in_part();
	put_page(s, "b", 0);
	put_filled(s, NULL, UINT64_MAX / QEMU_PAGE, 0);
	assert_refused(s, EPROTO, "page 0xfffffffffffff of memory block \"b\"", 1);
}

/* The sink's errors end the reading as they are. */
static int fail_sink(struct error **err)
{
	return error_set(err, ENOSPC, "full");
}

static int fail_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	(void)bytes, (void)n;
	return --*(int *)arg ? 0 : fail_sink(err);
}

static int fail_block(void *arg, size_t index, const struct qemu_block *block, struct error **err)
{
	(void)index, (void)block;
	return --*(int *)arg ? 0 : fail_sink(err);
}

static int fail_part(void *arg, bool last, struct error **err)
{
	(void)last;
	return --*(int *)arg ? 0 : fail_sink(err);
}

static int fail_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		     struct error **err)
{
	(void)block, (void)page, (void)content, (void)fill;
	return --*(int *)arg ? 0 : fail_sink(err);
}

static void test_sink_fails(void **unused)
{
	const struct qemu_stream_sink sink = {
		.opaque = fail_opaque,
		.block = fail_block,
		.part_begin = fail_part,
		.page = fail_page,
		.part_end = fail_part,
	};
	struct stream *s = in_part();
	int calls, failures = 0;

	(void)unused;
	put_page(s, "b", 0);
	put_filled(s, NULL, 1, 0);
	put_part_end(s);
	put_end(s);
	/* each of the calls in its turn, until there are no more */
	for (calls = 1;; calls++) {
		struct qemu_stream_sink counting = sink;
		int left = calls;
		struct qemu_reader *reader;
		auto_error err = NULL;

		counting.arg = &left;
		reader = qemu_reader_create(&counting, NULL);
		if (qemu_reader_feed(reader, s->bytes, s->size, &err) == 0) {
			qemu_reader_destroy(reader);
			break;
		}
		assert_int_equal(left, 0);
		assert_int_equal(err->code, ENOSPC);
		assert_string_equal(err->message, "full");
		assert_int_equal(qemu_reader_feed(reader, s->bytes, 1, NULL), -1);
		assert_int_equal(left, 0);
		qemu_reader_destroy(reader);
		failures++;
	}
	assert_true(failures > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_start),  cmocka_unit_test(test_ram_bytes),
		cmocka_unit_test(test_blocks),	   cmocka_unit_test(test_many_blocks),
		cmocka_unit_test(test_ram_extras), cmocka_unit_test(test_footers),
		cmocka_unit_test(test_page_flags), cmocka_unit_test(test_page_place),
		cmocka_unit_test(test_sink_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
