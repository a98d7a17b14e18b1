/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_XEN_STREAM_H
#define MIGRATE_STREAM_XEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Xen's migration stream, taken apart into pages and opaque bytes, and pages put back into it: what
 * libxl_domain_suspend() writes and libxl_domain_create_restore() reads. (xl puts a header and the
 * domain's configuration before it, and says more after it: none of that is part of the stream.)
 * Neither side opens, reads or writes a descriptor. One thread at a time per object.
 *
 * Sources: Xen's docs/specs/libxl-migration-stream.pandoc (Header, Records) and
 * libxc-migration-stream.pandoc (Headers, Records, Layout, Compatibility with older versions,
 * Errata). Where these are silent, what 4.17 does counts: tools/libs/guest/xg_sr_*.c and
 * tools/libs/light/libxl_stream_*.c. Where the two differ (HVM_CONTEXT comes before HVM_PARAMS in
 * fact, not after), both are accepted.
 *
 * Accepted: version 2 of libxl's format and 3 of libxc's (Xen 4.14 and later), little-endian, HVM
 * and PVH guests, which the stream does not tell apart. Padding, reserved fields of headers, and
 * records that are unknown but optional are passed on unread, as the specification has it. (libxl
 * 4.17 itself fails at an optional record of its own that it does not know; libxc does not.)
 *
 * Refused with ENOTSUP, each by its name:
 * - libxc's version 2 (Xen 4.13 and earlier), which does not mark where pages may begin; any other
 *   version; big-endian streams; what was converted from Xen 4.5 and earlier.
 * - x86 PV guests: pre-copy of one needs Xen's shadow paging, which Debian's is built without; and
 *   their page tables may not be reordered freely. ARM guests: they have no format yet.
 * - unknown mandatory records; TOOLSTACK, which every receiver refuses.
 * - CHECKPOINT and all that belongs to it (Remus, COLO): memory comes again after the guest's
 *   state, so "the last page" has no meaning.
 * - VERIFY (xl migrate --debug): pages after it are not stored but compared, so none may be held
 *   back across it.
 * - PAGE_DATA after the guest's state: see paused() below.
 * - more than XEN_BATCH_MOST pages in a record. A receiver takes what fits into 128 MiB; no source
 *   sends more, since the hypervisor tells the types of no more at once.
 * - reserved bits in a list of pages: zero in all versions, and no way to hand them on.
 *
 * Memory: the reader has a fixed size, some 21 KiB: the list of one record's pages and at most one
 * page that a feed cut. No length that the stream names is ever allocated.
 */
#define XEN_PAGE_SIZE  4096u
#define XEN_BATCH_MOST 1024u

/* Pages are below this: guest-physical addresses have at most 48 bits. Others are EPROTO. */
#define XEN_PFNS_MOST (UINT64_C(1) << 36)

/* XEN_DOMCTL_PFINFO_*, shifted to 0. For an HVM guest, Xen 4.17 sends NOTAB, BROKEN and XTAB. */
enum xen_page_type {
	XEN_PAGE_NOTAB = 0x0, /* a page with content */
	XEN_PAGE_L1TAB = 0x1, /* to L4TAB: page tables of PV guests, with content */
	XEN_PAGE_L4TAB = 0x4,
	XEN_PAGE_PINNED = 0x8,	  /* flag on L1TAB to L4TAB */
	XEN_PAGE_BROKEN = 0xd,	  /* no content: the machine's memory failed there */
	XEN_PAGE_ALLOCATE = 0xe,  /* no content: to be allocated ("XALLOC"; Xen 4.2 to 4.5) */
	XEN_PAGE_NOT_THERE = 0xf, /* no content: the guest has no memory there ("XTAB") */
};

struct xen_page {
	uint64_t pfn; /* guest page frame number, below XEN_PFNS_MOST */
	enum xen_page_type type;
};

/* Whether the type is one that the format knows. */
bool xen_page_type_known(enum xen_page_type type);

/* Whether XEN_PAGE_SIZE bytes come with a page of that known type. */
bool xen_page_has_content(enum xen_page_type type);

/*
 * What the stream tells of the guest's memory: one block, addressed by pfn, with holes. Its size is
 * nowhere in the stream. But a source goes through all pfns in each round, upwards, and its first
 * round names every one, holes as NOT_THERE: where pfns first fall, the size is known. It does not
 * change in later rounds.
 */
struct xen_memory {
	uint32_t xen_major, xen_minor; /* of the source */
	uint64_t pfns;		       /* 1 more than the highest that came; 0: none came yet */
	bool complete;		       /* the first round is over, so pfns is the size */
};

/*
 * What the reader finds, in the order of the stream. None of these is NULL. Each returns 0, or -1
 * with *err set, which ends the reading with that error. None may feed or destroy its reader.
 *
 * What a scheduler may do with the pages of an HVM guest, as far as an unmodified receiver goes:
 * - It may send them in any order, in batches of any size up to XEN_BATCH_MOST, a page in as many
 *   of them as it likes: a receiver stores content at once, so the last one counts.
 * - It may drop an entry if a later one of the same pfn goes out that has content. One without
 *   replaces nothing: BROKEN and NOT_THERE do nothing at a receiver, which neither frees nor clears
 *   a page for them, and ALLOCATE leaves content alone.
 * - It may not change the type of a content, nor drop the last entry of a pfn.
 * - All must have gone out before what comes after paused(): HVM_PARAMS clears pages at the
 *   receiver (the rings of xenstore and of the devices), which late content would bring back.
 * - None may go out before memory(). Opaque bytes between memory() and paused() (optional records)
 *   keep their order among themselves; pages may pass them.
 */
struct xen_stream_sink {
	/*
	 * n > 0 bytes to be passed on unchanged, in place; valid during the call only. Never
	 * between batch_begin and batch_end.
	 */
	int (*opaque)(void *arg, const uint8_t *bytes, size_t n, struct error **err);

	/* Once: pages may follow. memory is valid as long as the reader, and grows with pages. */
	int (*memory)(void *arg, const struct xen_memory *memory, struct error **err);

	/* A record of pages begins, with this list of 1 to XEN_BATCH_MOST; valid to batch_end. */
	int (*batch_begin)(void *arg, const struct xen_page *pages, size_t count,
			   struct error **err);

	/*
	 * Each page of the list, in its order. content: XEN_PAGE_SIZE bytes, valid during the call
	 * only; NULL: its type has none.
	 */
	int (*page)(void *arg, const struct xen_page *page, const uint8_t *content,
		    struct error **err);

	int (*batch_end)(void *arg, struct error **err);

	/*
	 * Once: the guest is paused, and no more pages come. The stream does not tell so before
	 * the last round, but only here, after it: what follows is the guest's state. (Whoever
	 * serves the source's suspend callback knows earlier.)
	 */
	int (*paused)(void *arg, struct error **err);

	void *arg; /* passed as first parameter */
};

struct xen_reader;

/* Copies *sink. NULL: out of memory. */
struct xen_reader *xen_reader_create(const struct xen_stream_sink *sink, struct error **err);
void xen_reader_destroy(struct xen_reader *reader); /* takes NULL */

/*
 * The next n bytes, cut anywhere. What they complete is passed to the sink before it returns.
 * EPROTO: not a stream that we know (offset from the stream's start, what was found and expected),
 * or more bytes than the stream has; ENOTSUP: a version or feature that we refuse; else the sink's
 * error. After a failure every further call fails.
 */
int xen_reader_feed(struct xen_reader *reader, const uint8_t *bytes, size_t n, struct error **err);

/*
 * The stream ended here: EPROTO unless libxl's END was the last thing read. May be asked after any
 * feed, and changes nothing: so a relay knows that all has come before the source closes.
 */
int xen_reader_end(struct xen_reader *reader, struct error **err);

/* Bytes that were fed and accepted; where an error was found, after a failure. */
uint64_t xen_reader_offset(const struct xen_reader *reader);

/* What is known by now; the reader's. */
const struct xen_memory *xen_reader_memory(const struct xen_reader *reader);

#define XEN_BATCH_HEADER_MOST (16 + 8 * XEN_BATCH_MOST)

/*
 * Writes what comes before the content of a batch: a record's header and the list of its pages. The
 * caller sends the contents after it, in the order of the list, of those that have one; nothing
 * comes after them. Returns the number of bytes, or 0: count is not 1 to XEN_BATCH_MOST, or a
 * page's pfn or type is not valid. There is no state: a batch does not depend on those before.
 */
size_t xen_write_batch(const struct xen_page *pages, size_t count,
		       uint8_t buf[XEN_BATCH_HEADER_MOST]);

#endif
