/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_QEMU_STREAM_RIG_H
#define FUZZ_QEMU_STREAM_RIG_H

/*
 * Reader and writer back to back: what is fed comes out again, to be compared. Used by the fuzz
 * target and by the unit tests.
 */
#include <errno.h>
#include <string.h>

#include "migrate/stream/qemu_stream.h"
#include "tests/fuzz/rig.h"

struct copy {
	struct qemu_reader *reader;
	struct qemu_writer *writer;
	uint8_t *out;
	size_t size, room;
	uint64_t events; /* digest of all calls but opaque, with the place in `out` where each came
			  */
	uint64_t bytes;	 /* of all memory blocks */
	size_t blocks, parts, pages, filled, renamed;
	bool in_part, ended;
	struct error *err; /* of the first call that failed */
};

static inline void copy_bytes(struct copy *copy, const uint8_t *bytes, size_t n)
{
	if (copy->size + n > copy->room) {
		copy->room = (copy->size + n) * 2;
		copy->out = realloc(copy->out, copy->room);
		rig_check(copy->out);
	}
	memcpy(copy->out + copy->size, bytes, n);
	copy->size += n;
}

static inline void copy_event(struct copy *copy, uint64_t kind, uint64_t a, uint64_t b)
{
	const uint64_t words[] = {kind, a, b, copy->size};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		copy->events = (copy->events ^ words[i]) * 0x100000001b3u + 0x9e3779b97f4a7c15u;
}

static inline int copy_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(n > 0 && !copy->in_part);
	copy_bytes(copy, bytes, n);
	return 0;
}

static inline int copy_block(void *arg, size_t index, const struct qemu_block *block,
			     struct error **err)
{
	struct copy *copy = arg;
	size_t count;

	(void)err;
	rig_check(index == copy->blocks && copy->parts == 0);
	rig_check(block == &qemu_reader_blocks(copy->reader, &count)[index] && count == index + 1);
	rig_check(block->bytes && block->bytes % QEMU_PAGE == 0 && block->name[0]);
	copy->blocks++;
	copy->bytes += block->bytes;
	copy_event(copy, 'b', index, block->bytes);
	return 0;
}

static inline int copy_part_begin(void *arg, bool last, struct error **err)
{
	struct copy *copy = arg;
	uint8_t header[QEMU_HEADER_MOST];

	(void)err;
	rig_check(!copy->in_part && !copy->ended);
	if (copy->parts == 0)
		rig_check(qemu_writer_format(copy->writer, copy->reader) == 0);
	copy->in_part = true;
	copy->parts++;
	copy_event(copy, 'p', last, 0);
	copy_bytes(copy, header, qemu_write_part_begin(copy->writer, last, header));
	return 0;
}

static inline int copy_page(void *arg, size_t block, uint64_t page, const uint8_t *content,
			    uint8_t fill, struct error **err)
{
	struct copy *copy = arg;
	uint8_t header[QEMU_HEADER_MOST];
	size_t count, n;

	(void)err;
	rig_check(copy->in_part && block < copy->blocks && (!content || fill == 0));
	rig_check(page < qemu_reader_blocks(copy->reader, &count)[block].bytes / QEMU_PAGE);
	if (qemu_reader_renamed(copy->reader)) {
		qemu_write_restart(copy->writer);
		copy->renamed++;
	}
	copy_event(copy, content ? 'c' : 'f', block, page);
	n = qemu_write_page(copy->writer, block, page, !content, fill, header);
	rig_check(n > 0 && n <= QEMU_HEADER_MOST);
	copy_bytes(copy, header, n);
	if (content)
		copy_bytes(copy, content, QEMU_PAGE);
	*(content ? &copy->pages : &copy->filled) += 1;
	return 0;
}

static inline int copy_part_end(void *arg, bool last, struct error **err)
{
	struct copy *copy = arg;
	uint8_t header[QEMU_HEADER_MOST];

	(void)err;
	rig_check(copy->in_part && !copy->ended);
	copy->in_part = false;
	copy->ended = last;
	copy_event(copy, 'e', last, 0);
	copy_bytes(copy, header, qemu_write_part_end(copy->writer, last, header));
	return 0;
}

static const struct qemu_stream_sink copy_sink = {
	.opaque = copy_opaque,
	.block = copy_block,
	.part_begin = copy_part_begin,
	.page = copy_page,
	.part_end = copy_part_end,
};

static inline void copy_start(struct copy *copy)
{
	struct qemu_stream_sink sink = copy_sink;

	memset(copy, 0, sizeof(*copy));
	sink.arg = copy;
	copy->reader = qemu_reader_create(&sink, NULL);
	copy->writer = qemu_writer_create(NULL);
	rig_check(copy->reader && copy->writer);
}

static inline int copy_feed(struct copy *copy, const uint8_t *bytes, size_t n)
{
	int status = qemu_reader_feed(copy->reader, bytes, n, &copy->err);

	rig_check(status == 0 ? !copy->err : status == -1 && copy->err);
	return status;
}

static inline int copy_end(struct copy *copy)
{
	return qemu_reader_end(copy->reader, &copy->err);
}

static inline void copy_stop(struct copy *copy)
{
	qemu_reader_destroy(copy->reader);
	qemu_writer_destroy(copy->writer);
	error_free(copy->err);
	free(copy->out);
}

/*
 * Feeds all of it, in pieces of 1 to `most` bytes (0: at once), and ends the stream. Returns 0 or
 * the code of the error, which is in copy->err.
 */
static inline int copy_all(struct copy *copy, const uint8_t *bytes, size_t n, size_t most,
			   uint64_t seed)
{
	uint64_t state = seed | 1;

	copy_start(copy);
	for (size_t i = 0; i < n;) {
		size_t cut = most ? 1 + (size_t)(rig_random(&state) % most) : n;

		if (cut > n - i)
			cut = n - i;
		if (copy_feed(copy, bytes + i, cut) < 0)
			return copy->err->code;
		i += cut;
	}
	return copy_end(copy) < 0 ? copy->err->code : 0;
}

#endif
