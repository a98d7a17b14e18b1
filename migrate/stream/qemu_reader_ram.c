/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The section "ram": the list of blocks at its start, and the pages of its parts. The grammar and
 * the states are described in qemu_reader.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/stream/qemu_reader_internal.h"

#define HELD 1 /* not opaque */

/* Flags that some capability brings, each of which must be off. */
static const struct {
	uint32_t flag;
	const char *name;
} refused[] = {
	{QEMU_RAM_XBZRLE, "XBZRLE (capability xbzrle)"},
	{QEMU_RAM_HOOK, "RDMA"},
	{QEMU_RAM_COMPRESS, "compressed pages (capability compress)"},
	{QEMU_RAM_MULTIFD_FLUSH, "multifd (capability multifd)"},
};

static int refuse_flags(const struct qemu_reader *r, uint64_t word, const char *expected,
			struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (word & refused[i].flag)
			return qemu_refuse(r, err, ENOTSUP, "flags 0x%03x: %s is not supported",
					   (unsigned)(word & QEMU_RAM_FLAGS), refused[i].name);
	return qemu_refuse(r, err, EPROTO, "0x%016" PRIx64 ", expected %s", word, expected);
}

/* ---- The list of blocks ---- */

int qemu_take_ram_bytes(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t word = get_be64(bytes);

	if ((word & QEMU_RAM_FLAGS) != QEMU_RAM_MEM_SIZE || word == QEMU_RAM_MEM_SIZE)
		return refuse_flags(r, word, "the size of all memory, with flag 0x004 alone", err);
	r->ram_left = word & ~(uint64_t)QEMU_RAM_FLAGS;
	qemu_await(r, QEMU_AT_BLOCK_LENGTH, 1);
	return 0;
}

int qemu_take_block_length(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	if (r->block_count == QEMU_BLOCKS_MOST)
		return qemu_refuse(r, err, ENOTSUP, "more than %d memory blocks", QEMU_BLOCKS_MOST);
	if (bytes[0] == 0)
		return qemu_refuse(r, err, EPROTO,
				   "memory block %zu has no name, and %" PRIu64
				   " bytes of memory are not listed yet",
				   r->block_count, r->ram_left);
	r->name_length = bytes[0];
	qemu_await(r, QEMU_AT_BLOCK_NAME, r->name_length + 8);
	return 0;
}

static size_t find_block(const struct qemu_reader *r, const uint8_t *name, size_t n)
{
	for (size_t i = 0; i < r->block_count; i++)
		if (r->block_lengths[i] == n && memcmp(r->blocks[i].name, name, n) == 0)
			return i;
	return QEMU_NO_BLOCK;
}

static int check_block(const struct qemu_reader *r, const uint8_t *name, uint64_t size,
		       struct error **err)
{
	char text[QEMU_TEXT_MOST];

	qemu_text(text, name, r->name_length);
	if (memchr(name, '\0', r->name_length))
		return qemu_refuse(r, err, EPROTO, "memory block \"%s\" has a zero in its name",
				   text);
	if (find_block(r, name, r->name_length) != QEMU_NO_BLOCK)
		return qemu_refuse(r, err, EPROTO, "memory block \"%s\" is listed twice", text);
	if (size == 0 || size % QEMU_PAGE != 0 || size > r->ram_left)
		return qemu_refuse(r, err, EPROTO,
				   "memory block \"%s\" has %" PRIu64
				   " bytes, expected a multiple of %u, at most the %" PRIu64
				   " that are not listed yet (or the list has more than names and "
				   "sizes: x-ignore-shared, mapped-ram and postcopy must be off)",
				   text, size, QEMU_PAGE, r->ram_left);
	return 0;
}

int qemu_take_block_name(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	struct qemu_block *block = &r->blocks[r->block_count];
	uint64_t size = get_be64(bytes + r->name_length);

	if (check_block(r, bytes, size, err) < 0)
		return -1;
	memcpy(block->name, bytes, r->name_length);
	block->name[r->name_length] = '\0';
	r->block_lengths[r->block_count] = (uint8_t)r->name_length;
	block->bytes = size;
	r->ram_left -= size;
	if (r->ram_left)
		qemu_await(r, QEMU_AT_BLOCK_LENGTH, 1);
	else
		qemu_await(r, QEMU_AT_RAM_SETUP_END, 8);
	if (r->sink.opaque(r->sink.arg, bytes, r->name_length + 8, err) < 0)
		return -1;
	r->block_count++;
	return r->sink.block(r->sink.arg, r->block_count - 1, block, err) < 0 ? -1 : HELD;
}

int qemu_take_ram_setup_end(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t word = get_be64(bytes);

	if (word != QEMU_RAM_EOS)
		return refuse_flags(
			r, word,
			"0x0000000000000010 after the last memory block (more than "
			"names and sizes: x-ignore-shared, mapped-ram and postcopy must "
			"be off)",
			err);
	r->ram_known = true;
	return qemu_section_done(r, err);
}

/* ---- Pages ---- */

int qemu_take_part_id(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t id = get_be32(bytes);

	if (id != r->ram)
		return qemu_refuse(r, err, EPROTO,
				   "part of section %" PRIu32 ", expected %" PRIu32 " (\"ram\")",
				   id, r->ram);
	r->section = id;
	r->in_part = true;
	r->setup_over = true;
	qemu_await(r, QEMU_AT_PAGE_HEADER, 8);
	return r->sink.part_begin(r->sink.arg, r->last, err) < 0 ? -1 : HELD;
}

/* The page's block is known. */
static int locate_page(struct qemu_reader *r, struct error **err)
{
	const struct qemu_block *block = &r->blocks[r->block];

	if (r->page >= block->bytes / QEMU_PAGE)
		return qemu_refuse(r, err, EPROTO,
				   "page 0x%" PRIx64
				   " of memory block \"%s\", which has 0x%" PRIx64,
				   r->page, block->name, block->bytes / QEMU_PAGE);
	if (r->page_flags & QEMU_RAM_PAGE)
		qemu_await(r, QEMU_AT_PAGE_CONTENT, QEMU_PAGE);
	else
		qemu_await(r, QEMU_AT_PAGE_FILL, 1);
	return HELD;
}

int qemu_take_page_header(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t word = get_be64(bytes);
	uint32_t flags = (uint32_t)(word & QEMU_RAM_FLAGS);

	if (word == QEMU_RAM_EOS)
		return qemu_section_done(r, err) < 0 ? -1 : HELD;
	r->page_flags = flags & ~(uint32_t)QEMU_RAM_CONTINUE;
	r->page = word / QEMU_PAGE;
	r->renamed = false;
	if (r->page_flags != QEMU_RAM_PAGE && r->page_flags != QEMU_RAM_FILLED)
		return refuse_flags(
			r, word,
			"a page (flag 0x008 or 0x002, and 0x020 if its block is that of "
			"the page before) or the end of the section (0x10)",
			err);
	if (!(flags & QEMU_RAM_CONTINUE)) {
		qemu_await(r, QEMU_AT_PAGE_BLOCK_LENGTH, 1);
		return HELD;
	}
	if (r->block == QEMU_NO_BLOCK)
		return qemu_refuse(r, err, EPROTO,
				   "the first page has flag 0x020, expected its block's name");
	return locate_page(r, err);
}

int qemu_take_page_block_length(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	if (bytes[0] == 0)
		return qemu_refuse(r, err, EPROTO, "a page's memory block has no name");
	r->name_length = bytes[0];
	qemu_await(r, QEMU_AT_PAGE_BLOCK_NAME, r->name_length);
	return HELD;
}

int qemu_take_page_block_name(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	size_t block = find_block(r, bytes, r->name_length);
	char text[QEMU_TEXT_MOST];

	if (block == QEMU_NO_BLOCK)
		return qemu_refuse(r, err, EPROTO,
				   "a page of memory block \"%s\", which is not listed",
				   qemu_text(text, bytes, r->name_length));
	r->renamed = block == r->block;
	r->block = block;
	return locate_page(r, err);
}

static int pass_page(struct qemu_reader *r, const uint8_t *content, uint8_t fill,
		     struct error **err)
{
	qemu_await(r, QEMU_AT_PAGE_HEADER, 8);
	if (r->sink.page(r->sink.arg, r->block, r->page, content, fill, err) < 0)
		return -1;
	return HELD;
}

int qemu_take_page_content(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	return pass_page(r, bytes, 0, err);
}

int qemu_take_page_fill(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	return pass_page(r, NULL, bytes[0], err);
}
