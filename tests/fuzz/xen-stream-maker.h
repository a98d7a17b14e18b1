/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_XEN_STREAM_MAKER_H
#define FUZZ_XEN_STREAM_MAKER_H

/*
 * Streams of Xen made by hand, a field at a time, so that each can be wrong. Used by the unit tests
 * and by the program that makes the fuzz target's seeds.
 */
#include <string.h>

#include "common/bytes.h"
#include "migrate/stream/xen_format.h"
#include "migrate/stream/xen_stream.h"
#include "tests/fuzz/rig.h"

struct stream {
	uint8_t bytes[5 << 20];
	size_t size;
};

static inline void put(struct stream *s, const void *bytes, size_t n)
{
	rig_check(s->size + n <= sizeof(s->bytes));
	memcpy(s->bytes + s->size, bytes, n);
	s->size += n;
}

static inline void put8(struct stream *s, uint8_t v)
{
	put(s, &v, 1);
}

static inline void put16(struct stream *s, uint16_t v)
{
	put8(s, (uint8_t)v);
	put8(s, (uint8_t)(v >> 8));
}

static inline void put32(struct stream *s, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	put(s, b, sizeof(b));
}

static inline void put64(struct stream *s, uint64_t v)
{
	uint8_t b[8];

	put_le64(b, v);
	put(s, b, sizeof(b));
}

static inline void put32_be(struct stream *s, uint32_t v)
{
	uint8_t b[4];

	put_be32(b, v);
	put(s, b, sizeof(b));
}

static inline void put_libxl_header(struct stream *s, uint32_t version, uint32_t options)
{
	put(s, "LibxlFmt", 8);
	put32_be(s, version);
	put32_be(s, options);
}

static inline void put_image_header(struct stream *s, uint32_t version, uint16_t options)
{
	put64(s, XEN_LIBXC_MARKER);
	put32_be(s, XEN_LIBXC_ID);
	put32_be(s, version);
	put8(s, (uint8_t)(options >> 8));
	put8(s, (uint8_t)options);
	put(s, "\0\0\0\0\0\0", 6);
}

static inline void put_domain_header(struct stream *s, uint32_t type, uint16_t page_shift,
				     uint32_t major)
{
	put32(s, type);
	put16(s, page_shift);
	put16(s, 0);
	put32(s, major);
	put32(s, 17);
}

/* A record's header, and no body. */
static inline void put_header(struct stream *s, uint32_t type, uint32_t length)
{
	put32(s, type);
	put32(s, length);
}

/* A record with a body of that length, and its padding. Padding is not looked at by anyone. */
static inline void put_record(struct stream *s, uint32_t type, uint32_t length)
{
	put_header(s, type, length);
	for (uint32_t i = 0; i < length; i++)
		put8(s, (uint8_t)(type + i * 3));
	while (s->size % 8)
		put8(s, 0xee);
}

static inline void put_params(struct stream *s, uint32_t count)
{
	put_header(s, XEN_HVM_PARAMS, 8 + 16 * count);
	put32(s, count);
	put32(s, 0);
	for (uint32_t i = 0; i < count; i++) {
		put64(s, i + 1);
		put64(s, 0xfeff0 + i);
	}
}

static inline void put_content(struct stream *s, uint64_t pfn)
{
	for (size_t i = 0; i < XEN_PAGE_SIZE; i++)
		put8(s, (uint8_t)(pfn * 7 + i));
}

static inline void put_batch_header(struct stream *s, uint32_t count, uint32_t contents)
{
	put_header(s, XEN_PAGE_DATA, 8 + 8 * count + XEN_PAGE_SIZE * contents);
	put32(s, count);
	put32(s, 0);
}

static inline void put_entry(struct stream *s, unsigned type, uint64_t pfn)
{
	put64(s, (uint64_t)type << XEN_PFN_TYPE_SHIFT | pfn);
}

static inline void put_batch(struct stream *s, const struct xen_page *pages, uint32_t count)
{
	uint32_t contents = 0;

	for (uint32_t i = 0; i < count; i++)
		contents += pages[i].type < XEN_PAGE_BROKEN;
	put_batch_header(s, count, contents);
	for (uint32_t i = 0; i < count; i++)
		put_entry(s, pages[i].type, pages[i].pfn);
	for (uint32_t i = 0; i < count; i++)
		if (pages[i].type < XEN_PAGE_BROKEN)
			put_content(s, pages[i].pfn);
}

/* A batch of one page. */
static inline void put_page(struct stream *s, enum xen_page_type type, uint64_t pfn)
{
	const struct xen_page page = {.pfn = pfn, .type = type};

	put_batch(s, &page, 1);
}

/* Up to libxc's records. */
static inline struct stream *put_headers(struct stream *s)
{
	s->size = 0;
	put_libxl_header(s, XEN_LIBXL_VERSION, 0);
	put_header(s, XEN_LIBXL_LIBXC_CONTEXT, 0);
	put_image_header(s, XEN_LIBXC_VERSION, 0);
	put_domain_header(s, XEN_DOMAIN_HVM, 12, 4);
	return s;
}

/* Up to the first page. */
static inline struct stream *put_static(struct stream *s)
{
	put_headers(s);
	put_record(s, XEN_X86_CPUID_POLICY, 24 * 3);
	put_record(s, XEN_X86_MSR_POLICY, 16 * 2);
	put_header(s, XEN_STATIC_DATA_END, 0);
	return s;
}

/* The guest's state, in the order that Xen sends it, to libxc's end. */
static inline void put_state(struct stream *s)
{
	put_record(s, XEN_X86_TSC_INFO, 24);
	put_record(s, XEN_HVM_CONTEXT, 1001);
	put_params(s, 3);
	put_header(s, XEN_END, 0);
}

static inline void put_emulator(struct stream *s)
{
	put_record(s, XEN_LIBXL_EMULATOR_XENSTORE_DATA, 8 + 21);
	put_record(s, XEN_LIBXL_EMULATOR_CONTEXT, 8 + 500);
	put_header(s, XEN_LIBXL_END, 0);
}

/* All that one stream can have. */
static inline struct stream *put_everything(struct stream *s)
{
	static const struct xen_page first[] = {
		{0, XEN_PAGE_NOTAB},	 {1, XEN_PAGE_NOT_THERE}, {2, XEN_PAGE_BROKEN},
		{3, XEN_PAGE_NOTAB},	 {4, XEN_PAGE_ALLOCATE},  {0xfeffd, XEN_PAGE_NOT_THERE},
		{XEN_PFNS_MOST - 1, 15},
	};
	static const struct xen_page tables[] = {
		{1, XEN_PAGE_L1TAB},
		{2, XEN_PAGE_L4TAB | XEN_PAGE_PINNED},
	};

	s->size = 0;
	put_libxl_header(s, XEN_LIBXL_VERSION, 0x10);
	put_record(s, XEN_RECORD_OPTIONAL | 7, 3);
	put_header(s, XEN_LIBXL_LIBXC_CONTEXT, 0);
	put_image_header(s, XEN_LIBXC_VERSION, 0x8000);
	put_domain_header(s, XEN_DOMAIN_HVM, 12, 4);
	put_record(s, XEN_X86_CPUID_POLICY, 24 * 3);
	put_record(s, XEN_RECORD_OPTIONAL | XEN_END, 0);
	put_record(s, XEN_X86_MSR_POLICY, 16 * 2);
	put_header(s, XEN_STATIC_DATA_END, 0);
	put_batch(s, first, sizeof(first) / sizeof(first[0]));
	put_page(s, XEN_PAGE_NOTAB, 3);
	put_record(s, XEN_RECORD_OPTIONAL | XEN_PAGE_DATA, 13);
	put_batch(s, tables, 2);
	put_page(s, XEN_PAGE_NOT_THERE, 0);
	put_record(s, XEN_RECORD_OPTIONAL | XEN_HVM_CONTEXT, 8);
	put_page(s, XEN_PAGE_NOTAB, 5);
	put_record(s, XEN_X86_TSC_INFO, 24);
	put_record(s, XEN_HVM_CONTEXT, 1001);
	put_record(s, 0xffffffff, 5);
	put_params(s, 3);
	put_params(s, 0);
	put_header(s, XEN_END, 0);
	put_record(s, XEN_LIBXL_EMULATOR_XENSTORE_DATA, 8 + 21);
	put_record(s, XEN_RECORD_OPTIONAL | XEN_LIBXL_LIBXC_CONTEXT, 1);
	put_record(s, XEN_LIBXL_EMULATOR_CONTEXT, 8 + 500);
	put_header(s, XEN_LIBXL_END, 0);
	return s;
}

#endif
