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
 * States: one per item of these (enum xen_state), each of which says how many bytes it needs
 * (cutter.h). A state's function checks the bytes, calls the sink, and sets the next state; it
 * allocates nothing. Bodies and padding, of a known number of bytes, are passed on as they come.
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
	return error_set(err, code, "Xen's stream, offset %" PRIu64 ": %s", r->cutter.offset, what);
}

static const struct {
	const char *name; /* of what is cut when the stream ends there */
	xen_take *take;
} states[] = {
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

static int take_item(void *arg, const uint8_t *bytes, struct error **err)
{
	struct xen_reader *r = arg;

	return states[r->cutter.state].take(r, bytes, err);
}

static int pass_on(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct xen_reader *r = arg;

	return r->sink.opaque(r->sink.arg, bytes, n, err);
}

int xen_reader_feed(struct xen_reader *r, const uint8_t *bytes, size_t n, struct error **err)
{
	static const struct cutter_calls calls = {take_item, pass_on};

	if (r->cutter.failed)
		return xen_refuse(r, err, EPROTO, "reading failed here before");
	return cutter_feed(&r->cutter, &calls, r, bytes, n, err);
}

int xen_reader_end(struct xen_reader *r, struct error **err)
{
	const struct cutter *c = &r->cutter;

	if (c->failed)
		return xen_refuse(r, err, EPROTO, "reading failed here before");
	if (c->state != XEN_AT_END || c->pass)
		return xen_refuse(r, err, EPROTO, "the stream ends after %" PRIu64 " bytes, in %s",
				  cutter_offset(c),
				  c->pass ? "a record of known length" : states[c->state].name);
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
	return cutter_offset(&r->cutter);
}

const struct xen_memory *xen_reader_memory(const struct xen_reader *r)
{
	return &r->memory;
}
