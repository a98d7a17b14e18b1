/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the reader of QEMU's stream refuses around the memory: before any page, and in what words.
 */
#include "tests/unit/test-stream-kit.h"

static void test_file_header(void **unused)
{
	struct stream *s = file_header();

	(void)unused;
	s->bytes[0] = 'q';
	assert_refused(s, EPROTO, "begins with 0x7145564d, expected 0x5145564d", 0);
	s = file_header();
	s->bytes[7] = 2;
	assert_refused(s, ENOTSUP, "version 2 of the file format", 0);
}

static void test_configuration(void **unused)
{
	struct stream *s = file_header();

	(void)unused;
	put_configuration(s, "");
	assert_refused(s, EPROTO, "machine type's name has 0 bytes", 0);
	s = file_header();
	put8(s, QEMU_CONFIGURATION);
	put32(s, 256);
	assert_refused(s, EPROTO, "machine type's name has 256 bytes, expected 1 to 255", 0);
	s = configured();
	put_configuration(s, "pc");
	assert_refused(s, EPROTO, "a configuration, expected only at offset 8", 0);
	s = configured();
	put_command(s, QEMU_CMD_PING, 4);
	put_subsection(s, "configuration/uuid", 1);
	assert_refused(s, EPROTO, "a subsection, expected only in the configuration", 0);
}

static void test_subsections(void **unused)
{
	struct stream *s = configured();

	(void)unused;
	put_subsection(s, "", 1);
	assert_refused(s, EPROTO, "has no name", 0);
	s = configured();
	put_subsection(s, "configuration/\x1bnew", 1);
	assert_refused(s, ENOTSUP, "configuration/?new is unknown", 0);
	s = configured();
	put_subsection(s, "configuration/uuid", 2);
	assert_refused(s, ENOTSUP, "version 2 of configuration/uuid", 0);
	s = configured();
	put_subsection(s, "configuration/target-page-bits", 1);
	put32(s, 14);
	assert_refused(s, ENOTSUP, "pages have 2^14 bytes", 0);
}

static void test_capabilities(void **unused)
{
	static const char *const names[] = {"x-ignore-shared", "mapped-ram", "brand-new"};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct stream *s = configured();

		put_subsection(s, "configuration/capabilities", 1);
		put32(s, 1);
		put_name(s, names[i]);
		assert_refused(s, ENOTSUP, names[i], 0);
	}
	struct stream *s = configured();

	put_subsection(s, "configuration/capabilities", 1);
	put32(s, 1);
	put8(s, 0);
	assert_refused(s, EPROTO, "a capability has no name", 0);
}

static void test_commands(void **unused)
{
	static const struct {
		uint16_t command, length;
		int code;
		const char *words;
	} cases[] = {
		{0, 0, ENOTSUP, "command 0 is unknown"},
		{QEMU_CMD_POSTCOPY_ADVISE, 16, ENOTSUP, "POSTCOPY_ADVISE"},
		{QEMU_CMD_POSTCOPY_LISTEN, 0, ENOTSUP, "POSTCOPY_LISTEN"},
		{QEMU_CMD_POSTCOPY_RUN, 0, ENOTSUP, "POSTCOPY_RUN"},
		{QEMU_CMD_POSTCOPY_RAM_DISCARD, 20, ENOTSUP, "POSTCOPY_RAM_DISCARD"},
		{QEMU_CMD_PACKAGED, 4, ENOTSUP, "PACKAGED"},
		{QEMU_CMD_ENABLE_COLO, 0, ENOTSUP, "COLO"},
		{QEMU_CMD_POSTCOPY_RESUME, 0, ENOTSUP, "POSTCOPY_RESUME"},
		{QEMU_CMD_RECV_BITMAP, 5, ENOTSUP, "RECV_BITMAP"},
		{12, 0, ENOTSUP, "command 12 is unknown"},
		{0xffff, 0, ENOTSUP, "command 65535 is unknown"},
		{QEMU_CMD_PING, 5, EPROTO, "command PING has 5 bytes, expected 4"},
		{QEMU_CMD_OPEN_RETURN_PATH, 1, EPROTO, "OPEN_RETURN_PATH has 1 bytes, expected 0"},
		{QEMU_CMD_SWITCHOVER_START, 2, EPROTO, "SWITCHOVER_START has 2 bytes"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stream *s = configured();

		put_command(s, cases[i].command, cases[i].length);
		assert_refused(s, cases[i].code, cases[i].words, 0);
	}
}

static void test_sections(void **unused)
{
	struct stream *s = configured();

	(void)unused;
	put8(s, QEMU_EOF);
	assert_refused(s, EPROTO, "the end mark, expected the memory's last round", 0);
	s = configured();
	put8(s, QEMU_DESCRIPTION);
	assert_refused(s, EPROTO, "0x06, expected what begins a section", 0);
	s = configured();
	put_part(s, false);
	assert_refused(s, EPROTO, "expected the start of section \"ram\" first", 0);
	s = configured();
	put_section(s, QEMU_SECTION_START, 1, "", 0, 1);
	assert_refused(s, EPROTO, "section 1 has no name", 0);
	s = begun();
	put_section(s, QEMU_SECTION_FULL, RAM_ID, "timer", 0, 1);
	assert_refused(s, EPROTO, "another section with the id 2 of \"ram\"", 0);
	s = begun();
	put_section(s, QEMU_SECTION_START, RAM_ID + 1, "ram", 0, QEMU_RAM_VERSION);
	assert_refused(s, EPROTO, "a second section \"ram\"", 0);
	s = in_part();
	put_filled(s, "b", 0, 0);
	put_part_end(s);
	put_section(s, QEMU_SECTION_FULL, 9, "timer", 0, 2);
	assert_refused(s, EPROTO, "expected only before the pages", 1);
	s = begun();
	put8(s, QEMU_SECTION_PART);
	put32(s, RAM_ID + 1);
	assert_refused(s, EPROTO, "part of section 3, expected 2 (\"ram\")", 0);
}

static void test_iterables(void **unused)
{
	static const struct {
		const char *name, *words;
	} cases[] = {
		{"block", "block migration"},
		{"dirty-bitmap", "dirty-bitmaps"},
		{"0000:00:04.0/vfio", "VFIO"},
		{"spapr/htab", "page table"},
		{"s390-stattrib", "s390"},
		{"ram2", "\"ram2\" is sent in parts"},
		{"0000:00:04.0/virtio-net", "is sent in parts"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stream *s = configured();

		put_section(s, QEMU_SECTION_START, 1, cases[i].name, 0, 1);
		assert_refused(s, ENOTSUP, cases[i].words, 0);
		s = begun();
		put_section(s, QEMU_SECTION_START, 1, cases[i].name, 0, 1);
		assert_refused(s, ENOTSUP, cases[i].words, 0);
	}
}

static void test_early_devices(void **unused)
{
	struct stream *s = configured();

	(void)unused;
	put_section(s, QEMU_SECTION_FULL, 1, "0000:00:02.0/virtio-net-early", 0, 11);
	assert_refused(s, ENOTSUP, "virtio-net-early\": a device that is sent before", 0);
	s = configured();
	put_section(s, QEMU_SECTION_FULL, 1, "not-virtio-mem-device-early", 0, 1);
	assert_refused(s, ENOTSUP, "a device that is sent before", 0);
	s = configured();
	put_section(s, QEMU_SECTION_FULL, 1, "ram", 0, QEMU_RAM_VERSION);
	assert_refused(s, ENOTSUP, "a device that is sent before", 0);
	s = configured();
	put_section(s, QEMU_SECTION_FULL, 1, "virtio-mem-device-early", 0, 2);
	assert_refused(s, ENOTSUP, "version 2 of section \"virtio-mem-device-early\"", 0);
	for (uint64_t block = 0; block < 8; block += 3) {
		s = configured();
		put_section(s, QEMU_SECTION_FULL, 1, "virtio-mem-device-early", 0, 1);
		put64(s, 0);
		put64(s, block ? block - 1 : 8);
		put64(s, block);
		put32(s, 0);
		put64(s, 0);
		assert_refused(s, EPROTO, "expected a multiple", 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_header), cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_subsections), cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_commands),    cmocka_unit_test(test_sections),
		cmocka_unit_test(test_iterables),   cmocka_unit_test(test_early_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
