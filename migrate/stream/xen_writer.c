/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes what xen_reader.c's drawing calls batch, up to its contents. */
#include "common/bytes.h"
#include "migrate/stream/xen_format.h"
#include "migrate/stream/xen_stream.h"

bool xen_page_type_known(enum xen_page_type type)
{
	unsigned t = type;

	return t <= XEN_PAGE_L4TAB || (t > XEN_PAGE_PINNED && t <= XEN_PAGE_NOT_THERE);
}

bool xen_page_has_content(enum xen_page_type type)
{
	return type < XEN_PAGE_BROKEN;
}

static uint64_t entry_of(const struct xen_page *page)
{
	return (uint64_t)page->type << XEN_PFN_TYPE_SHIFT | page->pfn;
}

size_t xen_write_batch(const struct xen_page *pages, size_t count,
		       uint8_t buf[XEN_BATCH_HEADER_MOST])
{
	size_t contents = 0;

	if (count == 0 || count > XEN_BATCH_MOST)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!xen_page_type_known(pages[i].type) || pages[i].pfn >= XEN_PFNS_MOST)
			return 0;
		contents += xen_page_has_content(pages[i].type);
		put_le64(buf + 16 + 8 * i, entry_of(&pages[i]));
	}
	put_le32(buf, XEN_PAGE_DATA);
	put_le32(buf + 4, (uint32_t)(8 + 8 * count + XEN_PAGE_SIZE * contents));
	put_le32(buf + 8, (uint32_t)count);
	put_le32(buf + 12, 0);
	return 16 + 8 * count;
}
