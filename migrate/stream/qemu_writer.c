/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes what qemu_reader.c's drawing calls part, ram-end, page and footer. State: the block of the
 * page before, which the destination remembers too, across sections.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/stream/qemu_reader_internal.h"

struct qemu_writer {
	uint32_t section;
	bool footers;
	size_t block; /* of the page before, or QEMU_NO_BLOCK */
	size_t block_count;
	struct {
		uint8_t length;
		char name[255]; /* not terminated */
	} blocks[QEMU_BLOCKS_MOST];
};

static_assert(8 + 1 + 255 + 1 <= QEMU_HEADER_MOST, "a filled page's header with the longest name");

struct qemu_writer *qemu_writer_create(struct error **err)
{
	struct qemu_writer *w = calloc(1, sizeof(*w));

	if (!w)
		error_set(err, ENOMEM, "no memory for a writer of QEMU's stream");
	else
		w->block = QEMU_NO_BLOCK;
	return w;
}

void qemu_writer_destroy(struct qemu_writer *w)
{
	free(w);
}

int qemu_writer_format(struct qemu_writer *w, const struct qemu_reader *r)
{
	/* behind the first section, where a footer would be, and all has been fed: there are none
	 */
	bool none = r->cutter.state == QEMU_AT_FOOTER;

	if (!r->ram_known || (r->footers == QEMU_FOOTERS_UNKNOWN && !none))
		return -1;
	w->section = r->ram;
	w->footers = r->footers == QEMU_FOOTERS_SENT;
	w->block = QEMU_NO_BLOCK;
	w->block_count = r->block_count;
	for (size_t i = 0; i < w->block_count; i++) {
		w->blocks[i].length = r->block_lengths[i];
		memcpy(w->blocks[i].name, r->blocks[i].name, w->blocks[i].length);
	}
	return 0;
}

size_t qemu_write_part_begin(struct qemu_writer *w, bool last, uint8_t buf[QEMU_HEADER_MOST])
{
	buf[0] = last ? QEMU_SECTION_END : QEMU_SECTION_PART;
	put_be32(buf + 1, w->section);
	return 5;
}

size_t qemu_write_part_end(struct qemu_writer *w, bool last, uint8_t buf[QEMU_HEADER_MOST])
{
	(void)last;
	put_be64(buf, QEMU_RAM_EOS);
	if (!w->footers)
		return 8;
	buf[8] = QEMU_FOOTER;
	put_be32(buf + 9, w->section);
	return 13;
}

size_t qemu_write_page(struct qemu_writer *w, size_t block, uint64_t page, bool filled,
		       uint8_t fill, uint8_t buf[QEMU_HEADER_MOST])
{
	uint64_t word = page * QEMU_PAGE | (filled ? QEMU_RAM_FILLED : QEMU_RAM_PAGE);
	size_t n = 8;

	if (block >= w->block_count)
		return 0;
	if (block == w->block) {
		word |= QEMU_RAM_CONTINUE;
	} else {
		buf[8] = w->blocks[block].length;
		memcpy(buf + 9, w->blocks[block].name, w->blocks[block].length);
		n += 1u + w->blocks[block].length;
		w->block = block;
	}
	put_be64(buf, word);
	if (filled)
		buf[n++] = fill;
	return n;
}

void qemu_write_restart(struct qemu_writer *w)
{
	w->block = QEMU_NO_BLOCK;
}
