/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_TRACE_H
#define HOTSKIP_SIM_TRACE_H

#include <stdint.h>

#include "common/error.h"

/*
 * Which pages of a guest were written, interval by interval, in a file. Integers are big-endian.
 *
 *	header:		8 bytes "EDGEDIRT"
 *			u16 version (1), u16 lowest version that can read it (1)
 *			u32 page size, bytes, a power of 2 from 512 to 2^30
 *			u64 pages, 1 to 2^32
 *			u64 interval that was asked for, ns
 *	interval:	u64 its real length, ns, 1 to 2^42 (over an hour)
 *	(any number)	u32 runs of pages, u32 bytes that they take
 *			per run two numbers: pages from the end of the run before (from page 0 at
 *first) to its first one, at least 1 except at first; pages in it, at least 1
 *
 * The numbers are LEB128: 7 bits a byte, least significant first, bit 7 set in all bytes but the
 *last. The file ends after any interval. The reader trusts nothing: what is not as above is EPROTO.
 */
struct trace_header {
	uint32_t page_size;
	uint64_t pages;
	uint64_t interval_ns;
};

struct trace_writer;
struct trace_writer *trace_create(const char *path, const struct trace_header *header,
				  struct error **err);
/* dirty: a bitmap of the header's pages, words as in words.h. */
int trace_write(struct trace_writer *writer, uint64_t duration_ns, const uint64_t *dirty,
		struct error **err);
/* Writes what is still in memory. The writer is gone in any case. Takes NULL. */
int trace_close(struct trace_writer *writer, struct error **err);

struct trace_reader;
struct trace_reader *trace_open(const char *path, struct trace_header *header, struct error **err);
void trace_reader_destroy(struct trace_reader *reader); /* takes NULL */
/* The next interval: 1; none is left: 0; -1. dirty (the caller's, may be NULL) is overwritten. */
int trace_next(struct trace_reader *reader, uint64_t *duration_ns, uint64_t *dirty,
	       struct error **err);

#endif
