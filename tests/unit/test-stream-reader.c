/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's stream, made by hand: what is accepted comes out of the writer as it went in. */
#include "tests/unit/test-stream-kit.h"

/* Accepted, and the same bytes come out, however it is cut. */
static void assert_copied(const struct stream *s)
{
	static const size_t cuts[] = {0, 1, 2, 7, 64, 5000};
	uint64_t events = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct copy copy;
		int code = copy_all(&copy, s->bytes, s->size, cuts[i], i * 77);

		if (code)
			print_message("%s\n", error_text(copy.err));
		assert_int_equal(code, 0);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		assert_true(copy.ended);
		assert_true(qemu_reader_offset(copy.reader) == s->size);
		if (i == 0)
			events = copy.events;
		assert_true(copy.events == events);
		copy_stop(&copy);
	}
}

/* All that one stream can have. */
static struct stream *everything(bool footers)
{
	static struct stream s;

	s.size = 0;
	s.footers = footers;
	put_file_header(&s);
	put_configuration(&s, "virt-10.0");
	put_subsection(&s, "configuration/target-page-bits", 1);
	put32(&s, 12);
	put_subsection(&s, "configuration/capabilities", 1);
	put32(&s, 0);
	put_subsection(&s, "configuration/uuid", 1);
	put64(&s, 1);
	put64(&s, 2);
	put_command(&s, QEMU_CMD_OPEN_RETURN_PATH, 0);
	put_command(&s, QEMU_CMD_PING, 4);
	put_section(&s, QEMU_SECTION_FULL, 7, "0000:00:03.0/virtio-mem-device-early", 0, 1);
	put64(&s, 1ull << 32);
	put64(&s, 65 * 2ull << 20);
	put64(&s, 2ull << 20);
	put32(&s, 0);
	put64(&s, 0);
	put64(&s, 0x1111);
	put64(&s, 1);
	put_footer(&s, 7);
	put_ram_start(&s);
	put_section(&s, QEMU_SECTION_FULL, 8, "virtio-mem-device-early", 0, 1);
	put64(&s, 1ull << 33);
	put64(&s, 64 * 2ull << 20);
	put64(&s, 2ull << 20);
	put32(&s, 0);
	put64(&s, 0);
	put64(&s, 0x2222);
	put_footer(&s, 8);
	put_part(&s, false);
	put_filled(&s, "a.ram", 0, 0);
	put_page(&s, NULL, 1);
	put_page(&s, NULL, PAGES_A - 1);
	put_page(&s, "b", 1);
	put_filled(&s, long_name(), 0, 0xff);
	put_page(&s, NULL, 0);
	put_part_end(&s);
	put_part(&s, false);
	put_part_end(&s);
	put_command(&s, QEMU_CMD_PING, 4);
	put_part(&s, false);
	put_page(&s, NULL, 0);
	put_page(&s, "a.ram", 5);
	put_part_end(&s);
	put_command(&s, QEMU_CMD_SWITCHOVER_START, 0);
	put_part(&s, true);
	put_filled(&s, NULL, 5, 0);
	put_filled(&s, "b", 0, 0);
	put_part_end(&s);
	put_devices(&s);
	put_description(&s);
	return &s;
}

static void test_everything(void **unused)
{
	struct stream *s = everything(true);
	struct copy copy;

	(void)unused;
	assert_copied(s);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), 0);
	assert_int_equal(copy.blocks, 3);
	assert_int_equal(copy.parts, 4);
	assert_int_equal(copy.pages, 6);
	assert_int_equal(copy.filled, 4);
	assert_int_equal(copy.renamed, 0);
	copy_stop(&copy);
}

static void test_without_footers(void **unused)
{
	(void)unused;
	assert_copied(everything(false));
}

static void assert_cut_short(const struct stream *s)
{
	struct copy copy;

	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), EPROTO);
	assert_non_null(strstr(error_text(copy.err), "the stream ends in the devices"));
	copy_stop(&copy);
}

/* As machine types before 2.4 send it: no configuration, no footers, and perhaps no description. */
static void test_old_machine(void **unused)
{
	static struct stream s;

	(void)unused;
	put_file_header(&s);
	put_ram_start(&s);
	put_part(&s, true);
	put_page(&s, "b", 0);
	put_part_end(&s);
	assert_cut_short(&s);
	put_devices(&s);
	assert_copied(&s);
	/* no end mark */
	s.size--;
	assert_cut_short(&s);
	put8(&s, QEMU_EOF);
	put_description(&s);
	assert_copied(&s);
	s.size--;
	assert_cut_short(&s);
}

/* The source names the block again, as it does when its list of blocks has changed. */
static void test_renamed(void **unused)
{
	struct stream *s = in_part();
	struct copy copy;

	(void)unused;
	put_page(s, "a.ram", 1);
	put_page(s, "a.ram", 2);
	put_page(s, NULL, 3);
	put_part_end(s);
	put_end(s);
	assert_copied(s);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), 0);
	assert_int_equal(copy.renamed, 1);
	copy_stop(&copy);
}

/* Something in a device's state looks like the description's header. */
static void test_false_description(void **unused)
{
	struct stream *s = begun();

	(void)unused;
	put_part(s, true);
	put_part_end(s);
	put_section(s, QEMU_SECTION_FULL, 9, "timer", 0, 2);
	put8(s, 0);
	put8(s, QEMU_DESCRIPTION);
	put32(s, 4);
	put(s, "{\0\6\0\0\0\2{}xyz", 12);
	put8(s, QEMU_EOF);
	put_description(s);
	assert_copied(s);
}

/* Whether the stream may end can be asked after each byte, and changes nothing. */
static void test_end_is_asked(void **unused)
{
	struct stream *s = everything(true);
	struct copy copy;

	(void)unused;
	copy_start(&copy);
	for (size_t i = 0; i < s->size; i++) {
		assert_int_equal(qemu_reader_end(copy.reader, NULL), -1);
		assert_int_equal(copy_feed(&copy, s->bytes + i, 1), 0);
	}
	assert_int_equal(qemu_reader_end(copy.reader, NULL), 0);
	assert_int_equal(qemu_reader_end(copy.reader, NULL), 0);
	assert_int_equal(copy.size, s->size);
	copy_stop(&copy);
}

/* Every cut in two: the same result, and nothing but whole items is held back. */
static void test_every_cut(void **unused)
{
	struct stream *s = everything(true);
	struct copy whole;

	(void)unused;
	assert_int_equal(copy_all(&whole, s->bytes, s->size, 0, 0), 0);
	for (size_t cut = 0; cut <= s->size; cut++) {
		struct copy copy;

		copy_start(&copy);
		assert_int_equal(copy_feed(&copy, s->bytes, cut), 0);
		assert_true(qemu_reader_offset(copy.reader) == cut);
		assert_true(copy.size <= cut && cut - copy.size <= QEMU_PAGE + QEMU_HEADER_MOST);
		assert_memory_equal(copy.out, s->bytes, copy.size);
		assert_int_equal(copy_feed(&copy, s->bytes + cut, s->size - cut), 0);
		assert_int_equal(copy_end(&copy), 0);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		assert_true(copy.events == whole.events);
		copy_stop(&copy);
	}
	copy_stop(&whole);
}

/* A stream that ends anywhere but at its end is an error that says where. */
static void test_every_truncation(void **unused)
{
	struct stream *s = everything(true);

	(void)unused;
	for (size_t end = 0; end < s->size; end++) {
		struct copy copy;

		assert_int_equal(copy_all(&copy, s->bytes, end, 0, 0), EPROTO);
		assert_non_null(strstr(error_text(copy.err), "the stream ends "));
		copy_stop(&copy);
	}
}

/* One byte is another: an error, or a stream that is copied as it is. Never more than that. */
static void test_every_change(void **unused)
{
	struct stream *s = everything(true);
	uint64_t random = 4711;

	(void)unused;
	for (size_t at = 0; at < s->size; at++) {
		uint8_t kept = s->bytes[at];
		struct copy copy;

		if (at % QEMU_PAGE > 700 && at % 16)
			continue;
		s->bytes[at] ^= (uint8_t)(1 + rig_random(&random) % 255);
		if (copy_all(&copy, s->bytes, s->size, 0, 0) == 0)
			assert_int_equal(copy.size, s->size);
		else
			assert_true(copy.err->code == EPROTO || copy.err->code == ENOTSUP);
		assert_memory_equal(copy.out, s->bytes, copy.size);
		copy_stop(&copy);
		s->bytes[at] = kept;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),	  cmocka_unit_test(test_without_footers),
		cmocka_unit_test(test_old_machine),	  cmocka_unit_test(test_renamed),
		cmocka_unit_test(test_false_description), cmocka_unit_test(test_end_is_asked),
		cmocka_unit_test(test_every_cut),	  cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_every_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
