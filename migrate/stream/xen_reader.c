/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Goal: everything that a source's libxl sends is either a page, with its place and type, or passed
 * on as it is. Nothing is kept but the list of one record's pages, and at most one page that a feed
 * cut.
 *
 * The stream (lengths in bytes; BE: big-endian, all else little-endian):
 *
 *   stream   = "LibxlFmt" version:4BE options:4BE {record} libxc {record} end
 *   record   = type:4 length:4 body padding          padding: to a multiple of 8, of any content
 *   libxc    = 1:4 0:4 image domain {static} 0x10:4 0:4 {batch} {state} end
 *   image    = ff:8 "XENF" version:4BE options:2BE reserved:6
 *   domain   = type:4 page-shift:2 reserved:2 xen-major:4 xen-minor:4
 *   static   = record               of types 0x11 and 0x12
 *   batch    = 1:4 length:4 count:4 reserved:4 {pfn|type:8} {content:4096}
 *   state    = record               of types 8, 9 and 10
 *   end      = 0:4 0:4
 *
 * and optional records anywhere between others.
 *
 * States: one per item of these (enum xen_state), each of which says how many bytes it needs. The
 * loop in xen_reader_feed() hands a state its bytes where they lie; only an item that a feed cuts
 * is first put together in `hold`. A state's function checks the bytes, calls the sink, and sets
 * the next state; it allocates nothing. PASS takes what comes, of a known number of bytes: bodies
 * and padding.
 *
 * Phases: libxc's records may come before STATIC_DATA_END, or after it while there is memory to
 * send, or from the first record on that shows that the guest is paused (enum xen_phase). Nothing
 * comes after libxl's END, so the stream's end is known.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/stream/xen_reader_internal.h"

int xen_refuse(const struct xen_reader *r, struct error **err, int code, const char *fmt, ...)
{
	char what[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return error_set(err, code, "Xen's stream, offset %" PRIu64 ": %s", r->offset, what);
}

void xen_await_pass(struct xen_reader *r, uint64_t n, enum xen_state state, size_t need)
{
	xen_await(r, n ? XEN_AT_PASS : state, need);
	r->pass = n;
	r->after_pass = state;
	r->after_need = need;
}

static const struct {
	const char *name; /* of what is cut when the stream ends there */
	xen_take *take;
} states[] = {
	[XEN_AT_PASS] = {"a record of known length", NULL},
	[XEN_AT_LIBXL_HEADER] = {"libxl's header", xen_take_libxl_header},
	[XEN_AT_LIBXL_RECORD] = {"libxl's records, before END", xen_take_libxl_record},
	[XEN_AT_IMAGE_HEADER] = {"libxc's image header", xen_take_image_header},
	[XEN_AT_DOMAIN_HEADER] = {"libxc's domain header", xen_take_domain_header},
	[XEN_AT_END] = {"nothing", xen_take_end},
	[XEN_AT_RECORD] = {"libxc's records, before END", xen_take_record},
	[XEN_AT_PARAMS] = {"the record HVM_PARAMS", xen_take_params},
	[XEN_AT_BATCH] = {"a list of pages", xen_take_batch},
	[XEN_AT_PFN] = {"a list of pages", xen_take_pfn},
	[XEN_AT_CONTENT] = {"a page", xen_take_content},
};
static_assert(ARRAY_SIZE(states) == XEN_STATES, "a state has a row");

/* What PASS takes of the n bytes that are there. */
static int take_some(struct xen_reader *r, const uint8_t *bytes, size_t *n, struct error **err)
{
	if (*n > r->pass)
		*n = (size_t)r->pass;
	r->pass -= *n;
	if (!r->pass)
		xen_await(r, r->after_pass, r->after_need);
	r->offset += *n;
	return r->sink.opaque(r->sink.arg, bytes, *n, err);
}

/* The state's bytes are complete. */
static int take_item(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	size_t n = r->need;
	int taken = states[r->state].take(r, bytes, err);

	if (taken < 0)
		return -1;
	r->held = 0;
	r->offset += n;
	return taken == XEN_TAKEN ? 0 : r->sink.opaque(r->sink.arg, bytes, n, err);
}

static int feed(struct xen_reader *r, const uint8_t *bytes, size_t n, struct error **err)
{
	while (n) {
		size_t took = n;
		int status = 0;

		if (!states[r->state].take) {
			status = take_some(r, bytes, &took, err);
		} else if (!r->held && n >= r->need) {
			took = r->need;
			status = take_item(r, bytes, err);
		} else {
			if (took > r->need - r->held)
				took = r->need - r->held;
			memcpy(r->hold + r->held, bytes, took);
			r->held += took;
			if (r->held == r->need)
				status = take_item(r, r->hold, err);
		}
		if (status < 0)
			return -1;
		bytes += took;
		n -= took;
	}
	return 0;
}

int xen_reader_feed(struct xen_reader *r, const uint8_t *bytes, size_t n, struct error **err)
{
	if (r->failed)
		return xen_refuse(r, err, EPROTO, "reading failed here before");
	if (feed(r, bytes, n, err) == 0)
		return 0;
	r->failed = true;
	return -1;
}

int xen_reader_end(struct xen_reader *r, struct error **err)
{
	if (r->failed)
		return xen_refuse(r, err, EPROTO, "reading failed here before");
	if (r->state != XEN_AT_END)
		return xen_refuse(r, err, EPROTO, "the stream ends after %" PRIu64 " bytes, in %s",
				  xen_reader_offset(r), states[r->state].name);
	return 0;
}

struct xen_reader *xen_reader_create(const struct xen_stream_sink *sink, struct error **err)
{
	struct xen_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for a reader of Xen's stream");
		return NULL;
	}
	r->sink = *sink;
	xen_await(r, XEN_AT_LIBXL_HEADER, 16);
	return r;
}

void xen_reader_destroy(struct xen_reader *r)
{
	free(r);
}

uint64_t xen_reader_offset(const struct xen_reader *r)
{
	return r->failed ? r->offset : r->offset + r->held;
}

const struct xen_memory *xen_reader_memory(const struct xen_reader *r)
{
	return &r->memory;
}
