/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_QEMU_STREAM_H
#define MIGRATE_STREAM_QEMU_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * QEMU's migration stream, taken apart into pages and opaque bytes, and pages put back into it.
 * The format is documented in QEMU's docs/devel/migration (main.rst) and drawn in qemu_reader.c;
 * what is accepted was compared with what 7.2 sends, and with the sources of later versions up to
 * 10.x. Neither side opens, reads or writes a descriptor, or keeps a page. One thread at a time per
 * object.
 *
 * Accepted: version 3 of the file, section "ram" version 4 as the only iterable section, target
 * pages of 4096 bytes, plain and filled pages. Refused with ENOTSUP and the feature's name:
 * postcopy, COLO, multifd, compression, XBZRLE, RDMA, x-ignore-shared, mapped-ram, block, VFIO and
 * dirty bitmap sections, and whatever is unknown. Of these, only the encodings of single pages
 * (compression, XBZRLE, RDMA) can show after the first page; all else is refused before it.
 */
#define QEMU_PAGE	 4096u /* target page size, in bytes, of every machine that is accepted */
#define QEMU_BLOCKS_MOST 256

/* A block of guest memory, as the section "ram" lists it at its start. */
struct qemu_block {
	char name[256];
	uint64_t bytes; /* a multiple of QEMU_PAGE, not 0 */
};

/*
 * What the reader finds, in the order of the stream. None of these is NULL. Each returns 0, or -1
 * with *err set, which ends the reading with that error. None may feed or destroy its reader.
 */
struct qemu_stream_sink {
	/*
	 * n > 0 bytes to be passed on unchanged, in place; valid during the call only. Never
	 * between part_begin and part_end.
	 */
	int (*opaque)(void *arg, const uint8_t *bytes, size_t n, struct error **err);

	/*
	 * The next memory block; index counts from 0. Its bytes have gone through opaque. block
	 * is valid as long as the reader.
	 */
	int (*block)(void *arg, size_t index, const struct qemu_block *block, struct error **err);

	/* A section of pages begins: SECTION_PART, or SECTION_END if last. */
	int (*part_begin)(void *arg, bool last, struct error **err);

	/*
	 * A page: `page` counts pages of QEMU_PAGE bytes from the block's start. content:
	 * QEMU_PAGE bytes, valid during the call only; NULL: every byte is `fill` (else 0).
	 */
	int (*page)(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		    struct error **err);

	/* The section's end and footer have been read. last: devices follow, all opaque. */
	int (*part_end)(void *arg, bool last, struct error **err);

	void *arg; /* passed as first parameter */
};

struct qemu_reader;

/* Copies *sink. NULL: out of memory. */
struct qemu_reader *qemu_reader_create(const struct qemu_stream_sink *sink, struct error **err);
void qemu_reader_destroy(struct qemu_reader *reader); /* takes NULL */

/*
 * The next n bytes, cut anywhere. What they complete is passed to the sink before it returns.
 * EPROTO: not a stream that we know (offset from the stream's start, what was found and expected);
 * ENOTSUP: a version or feature that we refuse; else the sink's error. After a failure every
 * further call fails.
 */
int qemu_reader_feed(struct qemu_reader *reader, const uint8_t *bytes, size_t n,
		     struct error **err);

/*
 * The stream ended here: EPROTO if it is in the middle. Devices carry no length; their end is told
 * by the description (JSON) that every machine type since 2.4 sends last, or, for older ones, by
 * the end mark, a zero byte, which a cut stream may happen to end with too. May be asked after any
 * feed, and changes nothing: so a relay knows that all has come before the source closes.
 */
int qemu_reader_end(struct qemu_reader *reader, struct error **err);

/* Bytes that were fed and accepted; where an error was found, after a failure. */
uint64_t qemu_reader_offset(const struct qemu_reader *reader);

/* The blocks that have been read, and how many; the reader's. */
const struct qemu_block *qemu_reader_blocks(const struct qemu_reader *reader, size_t *count);

/*
 * Inside page(): the stream named the block although the page before was of the same block. QEMU
 * does so after its list of blocks changed. Only who wants the very same bytes needs to know: see
 * qemu_write_restart().
 */
bool qemu_reader_renamed(const struct qemu_reader *reader);

/*
 * Writes pages and sections as the source QEMU would. The order of pages is the caller's choice;
 * the writer shortens a page's header when the page before was of the same block, whatever section
 * that was in, as the destination remembers it too.
 */
struct qemu_writer;

/* NULL: out of memory. Nothing can be written before qemu_writer_format(). */
struct qemu_writer *qemu_writer_create(struct error **err);
void qemu_writer_destroy(struct qemu_writer *writer); /* takes NULL */

/*
 * Takes over section id, footers and block names from what the reader has seen. To be called from
 * the first part_begin() on, or when all has been fed that comes before it. -1, and nothing is
 * taken over: the reader has not come that far.
 */
int qemu_writer_format(struct qemu_writer *writer, const struct qemu_reader *reader);

#define QEMU_HEADER_MOST 320

/* Each fills buf and returns the number of bytes, at most QEMU_HEADER_MOST. */
size_t qemu_write_part_begin(struct qemu_writer *writer, bool last, uint8_t buf[QEMU_HEADER_MOST]);
size_t qemu_write_part_end(struct qemu_writer *writer, bool last, uint8_t buf[QEMU_HEADER_MOST]);

/*
 * The header of a page of a block that the reader has listed. Unless `filled`, the caller sends
 * the page's QEMU_PAGE bytes after it; if `filled`, the header says that every byte is `fill`, and
 * no content follows. From 9.0 on QEMU loads no fill but 0.
 */
size_t qemu_write_page(struct qemu_writer *writer, size_t block, uint64_t page, bool filled,
		       uint8_t fill, uint8_t buf[QEMU_HEADER_MOST]);

/* The next page names its block, whatever page was before. */
void qemu_write_restart(struct qemu_writer *writer);

#endif
