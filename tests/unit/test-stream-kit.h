/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_STREAM_KIT_H
#define TEST_STREAM_KIT_H

/* Streams of QEMU made by hand, a field at a time, so that each can be wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/stream/qemu_format.h"
#include "tests/fuzz/qemu-stream-rig.h"

#define RAM_ID	   2u
#define PAGES_A	   64u /* of block "a.ram", the first; "b" has 2 and a long name 1 */
#define PAGES_B	   2u
#define LONG_BYTES 255

struct stream {
	uint8_t bytes[1 << 18];
	size_t size;
	bool footers;
};

static inline void put(struct stream *s, const void *bytes, size_t n)
{
	assert_true(s->size + n <= sizeof(s->bytes));
	memcpy(s->bytes + s->size, bytes, n);
	s->size += n;
}

static inline void put8(struct stream *s, uint8_t v)
{
	put(s, &v, 1);
}

static inline void put16(struct stream *s, uint16_t v)
{
	uint8_t b[2];

	put_be16(b, v);
	put(s, b, sizeof(b));
}

static inline void put32(struct stream *s, uint32_t v)
{
	uint8_t b[4];

	put_be32(b, v);
	put(s, b, sizeof(b));
}

static inline void put64(struct stream *s, uint64_t v)
{
	uint8_t b[8];

	put_be64(b, v);
	put(s, b, sizeof(b));
}

static inline void put_name(struct stream *s, const char *name)
{
	put8(s, (uint8_t)strlen(name));
	put(s, name, strlen(name));
}

static inline void put_file_header(struct stream *s)
{
	put32(s, QEMU_FILE_MAGIC);
	put32(s, QEMU_FILE_VERSION);
}

static inline void put_configuration(struct stream *s, const char *machine)
{
	put8(s, QEMU_CONFIGURATION);
	put32(s, (uint32_t)strlen(machine));
	put(s, machine, strlen(machine));
}

static inline void put_subsection(struct stream *s, const char *name, uint32_t version)
{
	put8(s, QEMU_SUBSECTION);
	put_name(s, name);
	put32(s, version);
}

static inline void put_command(struct stream *s, uint16_t command, uint16_t length)
{
	put8(s, QEMU_COMMAND);
	put16(s, command);
	put16(s, length);
	for (uint16_t i = 0; i < length; i++)
		put8(s, 0x5a);
}

static inline void put_section(struct stream *s, uint8_t type, uint32_t id, const char *name,
			       uint32_t instance, uint32_t version)
{
	put8(s, type);
	put32(s, id);
	put_name(s, name);
	put32(s, instance);
	put32(s, version);
}

static inline void put_footer(struct stream *s, uint32_t id)
{
	if (!s->footers)
		return;
	put8(s, QEMU_FOOTER);
	put32(s, id);
}

static inline void put_block(struct stream *s, const char *name, uint64_t bytes)
{
	put_name(s, name);
	put64(s, bytes);
}

static inline const char *long_name(void)
{
	static char name[LONG_BYTES + 1];

	memset(name, 'n', LONG_BYTES);
	return name;
}

static inline void put_ram_start(struct stream *s)
{
	put_section(s, QEMU_SECTION_START, RAM_ID, "ram", 0, QEMU_RAM_VERSION);
	put64(s, (PAGES_A + PAGES_B + 1) * QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	put_block(s, "a.ram", PAGES_A * QEMU_PAGE);
	put_block(s, "b", PAGES_B * QEMU_PAGE);
	put_block(s, long_name(), QEMU_PAGE);
	put64(s, QEMU_RAM_EOS);
	put_footer(s, RAM_ID);
}

static inline void put_part(struct stream *s, bool last)
{
	put8(s, last ? QEMU_SECTION_END : QEMU_SECTION_PART);
	put32(s, RAM_ID);
}

static inline void put_part_end(struct stream *s)
{
	put64(s, QEMU_RAM_EOS);
	put_footer(s, RAM_ID);
}

/* block NULL: that of the page before. */
static inline void put_page(struct stream *s, const char *block, uint64_t page)
{
	put64(s, page * QEMU_PAGE | QEMU_RAM_PAGE | (block ? 0 : QEMU_RAM_CONTINUE));
	if (block)
		put_name(s, block);
	for (size_t i = 0; i < QEMU_PAGE; i++)
		put8(s, (uint8_t)(page * 7 + i));
}

static inline void put_filled(struct stream *s, const char *block, uint64_t page, uint8_t fill)
{
	put64(s, page * QEMU_PAGE | QEMU_RAM_FILLED | (block ? 0 : QEMU_RAM_CONTINUE));
	if (block)
		put_name(s, block);
	put8(s, fill);
}

static inline void put_devices(struct stream *s)
{
	put_section(s, QEMU_SECTION_FULL, 9, "timer", 0, 2);
	for (int i = 0; i < 3000; i++)
		put8(s, (uint8_t)i);
	put_footer(s, 9);
	put8(s, QEMU_EOF);
}

static inline void put_description(struct stream *s)
{
	static const char json[] = "{\"page_size\": 4096, \"devices\": []}";

	put8(s, QEMU_DESCRIPTION);
	put32(s, sizeof(json) - 1);
	put(s, json, sizeof(json) - 1);
}

/* Up to the first page: what most tests begin with. */
static inline struct stream *begun(void)
{
	static struct stream s;

	s.size = 0;
	s.footers = true;
	put_file_header(&s);
	put_configuration(&s, "pc-q35-7.2");
	put_ram_start(&s);
	return &s;
}

/* The same, and into a section of pages. */
static inline struct stream *in_part(void)
{
	struct stream *s = begun();

	put_part(s, false);
	return s;
}

static inline void put_end(struct stream *s)
{
	put_part(s, true);
	put_part_end(s);
	put_devices(s);
	put_description(s);
}

static inline struct stream *file_header(void)
{
	struct stream *s = begun();

	s->size = 0;
	put_file_header(s);
	return s;
}

static inline struct stream *configured(void)
{
	struct stream *s = file_header();

	put_configuration(s, "pc-q35-7.2");
	return s;
}

/*
 * Fed at once and byte by byte: the same error at the same place, after the same events, and what
 * came out until then is the beginning of what went in. Then all further calls fail.
 */
static inline void assert_refused(const struct stream *s, int code, const char *words, size_t pages)
{
	struct copy whole, bytes;

	assert_int_equal(copy_all(&whole, s->bytes, s->size, 0, 0), code);
	assert_int_equal(copy_all(&bytes, s->bytes, s->size, 1, 0), code);
	if (!strstr(whole.err->message, words))
		print_message("%s\n", whole.err->message);
	assert_non_null(strstr(whole.err->message, words));
	assert_non_null(strstr(whole.err->message, "offset "));
	assert_string_equal(whole.err->message, bytes.err->message);
	assert_true(whole.events == bytes.events && whole.size == bytes.size);
	assert_true(qemu_reader_offset(whole.reader) == qemu_reader_offset(bytes.reader));
	assert_true(whole.size <= qemu_reader_offset(whole.reader));
	assert_memory_equal(whole.out, s->bytes, whole.size);
	assert_int_equal(whole.pages + whole.filled, pages);
	assert_int_equal(qemu_reader_feed(whole.reader, s->bytes, 1, NULL), -1);
	assert_int_equal(qemu_reader_end(whole.reader, NULL), -1);
	copy_stop(&whole);
	copy_stop(&bytes);
}

#endif
