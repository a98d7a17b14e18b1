/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_XEN_READER_INTERNAL_H
#define MIGRATE_STREAM_XEN_READER_INTERNAL_H

#include <assert.h>

#include "common/cleanup.h"
#include "migrate/stream/cutter.h"
#include "migrate/stream/xen_format.h"
#include "migrate/stream/xen_stream.h"

/* What the reader waits for next. xen_reader.c has the table of what each does. */
enum xen_state {
	/* xen_reader_frame.c */
	XEN_AT_LIBXL_HEADER,
	XEN_AT_LIBXL_RECORD,
	XEN_AT_IMAGE_HEADER,
	XEN_AT_DOMAIN_HEADER,
	XEN_AT_END, /* nothing may come any more */
	/* xen_reader_records.c */
	XEN_AT_RECORD,
	XEN_AT_PARAMS,
	/* xen_reader_pages.c */
	XEN_AT_BATCH,
	XEN_AT_PFN,
	XEN_AT_CONTENT,
	XEN_STATES,
};

/* How far libxc's part has come; which records may come depends on it. */
enum xen_phase {
	XEN_PHASE_STATIC, /* before STATIC_DATA_END: what does not change while the guest runs */
	XEN_PHASE_MEMORY,
	XEN_PHASE_PAUSED,
};

struct xen_reader {
	struct xen_stream_sink sink;
	struct cutter cutter;

	bool libxc_over; /* its END has been read */
	enum xen_phase phase;
	bool context;	 /* HVM_CONTEXT has been read */
	uint32_t length; /* of the record whose body has begun */

	struct xen_memory memory;
	uint64_t pfn_before;

	/* The record of pages that is being read. */
	size_t listed;	 /* entries of the list that have been read */
	size_t contents; /* of these, with content */
	size_t next;	 /* the page that is to be passed to the sink */
	size_t count;
	struct xen_page pages[XEN_BATCH_MOST];
};

/*
 * What a state does with the bytes that it waited for: checks them, sets the next state. Returns
 * XEN_OPAQUE if they are to be passed on, XEN_TAKEN if not, -1 with *err.
 */
typedef int xen_take(struct xen_reader *r, const uint8_t *bytes, struct error **err);
#define XEN_OPAQUE 0
#define XEN_TAKEN  1

xen_take xen_take_libxl_header, xen_take_libxl_record, xen_take_end;
xen_take xen_take_image_header, xen_take_domain_header;
xen_take xen_take_record, xen_take_params;
xen_take xen_take_batch, xen_take_pfn, xen_take_content;

/* The next state, and how many bytes (1 to XEN_PAGE_SIZE) it takes at once. */
static inline void xen_await(struct xen_reader *r, enum xen_state state, size_t need)
{
	cutter_await(&r->cutter, 0, state, need);
}

/* Passes on n bytes as they come, then goes to the state. */
static inline void xen_await_pass(struct xen_reader *r, uint64_t n, enum xen_state state,
				  size_t need)
{
	cutter_await(&r->cutter, n, state, need);
}

/* A record's body is padded to a multiple of 8 bytes. */
static inline uint64_t xen_padded(uint32_t length)
{
	return ((uint64_t)length + 7) & ~UINT64_C(7);
}

/* Sets *err: "Xen's stream, offset N: FMT", N being where the present bytes begin. Returns -1. */
int xen_refuse(const struct xen_reader *r, struct error **err, int code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

#endif
