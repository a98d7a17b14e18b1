/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record PAGE_DATA: a list of pages, then the contents of those that have one. The list is
 * complete before the sink hears of it, since its writer has to begin with all of it. The grammar
 * and the states are described in xen_reader.c.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/bytes.h"
#include "migrate/stream/xen_reader_internal.h"

int xen_take_batch(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t count = get_le32(bytes), reserved = get_le32(bytes + 4);

	if (count == 0)
		return xen_refuse(r, err, EPROTO, "a record PAGE_DATA of 0 pages");
	if (count > (r->length - 8) / 8)
		return xen_refuse(r, err, EPROTO,
				  "%" PRIu32 " pages, expected at most the %" PRIu32
				  " that a record PAGE_DATA of %" PRIu32 " bytes can list",
				  count, (r->length - 8) / 8, r->length);
	if (count > XEN_BATCH_MOST)
		return xen_refuse(r, err, ENOTSUP,
				  "%" PRIu32
				  " pages in one record PAGE_DATA, only %u are supported",
				  count, XEN_BATCH_MOST);
	if (reserved)
		return xen_refuse(r, err, ENOTSUP,
				  "reserved field 0x%08" PRIx32
				  " of a record PAGE_DATA, only 0 is known",
				  reserved);
	r->count = count;
	r->listed = r->contents = r->next = 0;
	xen_await(r, XEN_AT_PFN, 8);
	return XEN_TAKEN;
}

/* A source's rounds go upwards through all pages, and the first one leaves out none. */
static void note_pfn(struct xen_reader *r, uint64_t pfn)
{
	if (r->memory.pfns && pfn <= r->pfn_before)
		r->memory.complete = true;
	if (pfn >= r->memory.pfns)
		r->memory.pfns = pfn + 1;
	r->pfn_before = pfn;
}

/* Passes on pages up to the next whose content has to come first. */
static int pass_pages(struct xen_reader *r, struct error **err)
{
	while (r->next < r->count) {
		const struct xen_page *page = &r->pages[r->next];

		if (xen_page_has_content(page->type)) {
			xen_await(r, XEN_AT_CONTENT, XEN_PAGE_SIZE);
			return XEN_TAKEN;
		}
		r->next++;
		if (r->sink.page(r->sink.arg, page, NULL, err) < 0)
			return -1;
	}
	xen_await(r, XEN_AT_RECORD, 8);
	return r->sink.batch_end(r->sink.arg, err) < 0 ? -1 : XEN_TAKEN;
}

static int begin_batch(struct xen_reader *r, struct error **err)
{
	uint64_t length = 8 + 8 * (uint64_t)r->count + (uint64_t)XEN_PAGE_SIZE * r->contents;

	if (r->length != length)
		return xen_refuse(r, err, EPROTO,
				  "the last of %zu pages, of which %zu have content, in a record "
				  "PAGE_DATA of %" PRIu32 " bytes, expected %" PRIu64,
				  r->count, r->contents, r->length, length);
	for (size_t i = 0; i < r->count; i++)
		note_pfn(r, r->pages[i].pfn);
	if (r->sink.batch_begin(r->sink.arg, r->pages, r->count, err) < 0)
		return -1;
	return pass_pages(r, err);
}

int xen_take_pfn(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t word = get_le64(bytes), pfn = word & XEN_PFN_MASK;
	enum xen_page_type type = word >> XEN_PFN_TYPE_SHIFT;

	if (word & XEN_PFN_RESERVED)
		return xen_refuse(r, err, ENOTSUP,
				  "reserved bits in 0x%016" PRIx64 ", the list's entry %zu, only 0 "
				  "is known",
				  word, r->listed);
	if (!xen_page_type_known(type))
		return xen_refuse(r, err, EPROTO,
				  "type 0x%x of page 0x%" PRIx64 ", expected 0 to 4 or 9 to 15",
				  (unsigned)type, pfn);
	if (pfn >= XEN_PFNS_MOST)
		return xen_refuse(r, err, EPROTO,
				  "page 0x%" PRIx64 ", expected one below 0x%" PRIx64, pfn,
				  XEN_PFNS_MOST);
	r->pages[r->listed++] = (struct xen_page){.pfn = pfn, .type = type};
	r->contents += xen_page_has_content(type);
	return r->listed < r->count ? XEN_TAKEN : begin_batch(r, err);
}

int xen_take_content(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	const struct xen_page *page = &r->pages[r->next++];

	if (r->sink.page(r->sink.arg, page, bytes, err) < 0)
		return -1;
	return pass_pages(r, err);
}
