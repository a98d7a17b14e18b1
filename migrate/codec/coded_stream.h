/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_CODED_STREAM_H
#define CODEC_CODED_STREAM_H

#include <stddef.h>
#include <stdint.h>

/*
 * A hypervisor's memory stream as it crosses the WAN: pages by what both ends know of them
 * (codec_format.h), all else as it is. Integers are big-endian. A header, then records.
 *
 *	header	be32 magic, u8 version, u8 format (coded_format), be16 0, be64 pages of the guest's
 *		memory, where the format itself does not tell (stream_format.h); else 0
 *	record	u8 type, be24 bytes of body; body
 *
 *	opaque	bytes of the hypervisor's stream, to be passed on
 *	packed	be32 bytes that it becomes, at most CODED_OPAQUE_MOST; the same as a zstd frame
 *	units	a part of the codec's stream, cut anywhere; a page is the unit block << 36 | page
 *	kinds	pages without content: runs of be64 first unit, be32 pages (above 0), u8 kind
 *	rounds	pages follow. All that the hypervisor's stream has before them has come.
 *	last	the guest is paused; pages that follow are the last ones
 *	done	there are no more pages: only opaque records and the end follow
 *	end	of the stream
 *
 * Pages come between `rounds` and `done`, in an order that keeps those of one number apart: what is
 * in a unit's batch is behind the records before it, and before the records behind it.
 */
#define CODED_MAGIC	  0x4548534du /* "EHSM" */
#define CODED_VERSION	  1
#define CODED_HEADER_SIZE 16u
#define CODED_RECORD_SIZE 4u
#define CODED_RUN_SIZE	  13u
#define CODED_BODY_MOST	  ((1u << 24) - 1)
#define CODED_OPAQUE_MOST (256u << 10)
#define CODED_PAGE_BITS	  36

enum coded_format {
	CODED_QEMU,
	CODED_XEN,
	CODED_FORMATS
};

struct stream_format;
extern const struct stream_format *const coded_stream_formats[CODED_FORMATS]; /* stream_format.h */

enum coded_record {
	CODED_OPAQUE = 1,
	CODED_PACKED,
	CODED_UNITS,
	CODED_KINDS,
	CODED_ROUNDS,
	CODED_LAST,
	CODED_DONE,
	CODED_END
};

static inline uint64_t coded_unit(size_t block, uint64_t page)
{
	return (uint64_t)block << CODED_PAGE_BITS | page;
}

#endif
