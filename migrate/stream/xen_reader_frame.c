/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes around libxc's records: libxl's header and records, and libxc's headers. The grammar
 * and the states are described in xen_reader.c.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/bytes.h"
#include "migrate/stream/xen_reader_internal.h"

#define PAGE_SHIFT 12u

static_assert(XEN_PAGE_SIZE == 1u << PAGE_SHIFT, "a page has 2^PAGE_SHIFT bytes");

/* ---- libxl ---- */

int xen_take_libxl_header(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t ident = get_be64(bytes);
	uint32_t version = get_be32(bytes + 8), options = get_be32(bytes + 12);

	if (ident != XEN_LIBXL_IDENT)
		return xen_refuse(r, err, EPROTO,
				  "it begins with 0x%016" PRIx64 ", expected 0x%016" PRIx64
				  " (\"LibxlFmt\")",
				  ident, (uint64_t)XEN_LIBXL_IDENT);
	if (version != XEN_LIBXL_VERSION)
		return xen_refuse(r, err, ENOTSUP,
				  "version %" PRIu32 " of libxl's format, only %u is known",
				  version, XEN_LIBXL_VERSION);
	if (options & XEN_LIBXL_BIG_ENDIAN)
		return xen_refuse(r, err, ENOTSUP, "libxl's records are big-endian");
	if (options & XEN_LIBXL_LEGACY)
		return xen_refuse(r, err, ENOTSUP,
				  "converted from the legacy format of Xen 4.5 and earlier");
	xen_await(r, XEN_AT_LIBXL_RECORD, 8);
	return XEN_OPAQUE;
}

static const struct libxl_record {
	const char *name;
	const char *refused; /* why, or NULL */
	uint32_t least;	     /* bytes */
	bool more;	     /* or any number above */
} libxl_records[] = {
	[XEN_LIBXL_END] = {"END"},
	[XEN_LIBXL_LIBXC_CONTEXT] = {"LIBXC_CONTEXT"},
	[XEN_LIBXL_EMULATOR_XENSTORE_DATA] = {"EMULATOR_XENSTORE_DATA", NULL, 8, true},
	[XEN_LIBXL_EMULATOR_CONTEXT] = {"EMULATOR_CONTEXT", NULL, 8, true},
	[XEN_LIBXL_CHECKPOINT_END] = {"CHECKPOINT_END", "of Remus and COLO"},
	[XEN_LIBXL_CHECKPOINT_STATE] = {"CHECKPOINT_STATE", "of COLO"},
};

/* What the record's header says, if it may come now. */
static int check_libxl_record(const struct xen_reader *r, uint32_t type, uint32_t length,
			      struct error **err)
{
	const struct libxl_record *record;

	if (type & XEN_RECORD_OPTIONAL)
		return 0;
	if (type >= ARRAY_SIZE(libxl_records))
		return xen_refuse(r, err, ENOTSUP,
				  "libxl's record 0x%08" PRIx32 " is unknown, and mandatory", type);
	record = &libxl_records[type];
	if (record->refused)
		return xen_refuse(r, err, ENOTSUP, "libxl's record %s, %s, which is not supported",
				  record->name, record->refused);
	if (length < record->least || (length > record->least && !record->more))
		return xen_refuse(r, err, EPROTO,
				  "libxl's record %s has %" PRIu32 " bytes, expected %s%" PRIu32,
				  record->name, length, record->more ? "at least " : "",
				  record->least);
	if (type == XEN_LIBXL_LIBXC_CONTEXT && r->libxc_over)
		return xen_refuse(r, err, EPROTO,
				  "a second record LIBXC_CONTEXT, expected one of the emulator, "
				  "or END");
	if (type == XEN_LIBXL_END && !r->libxc_over)
		return xen_refuse(r, err, EPROTO,
				  "libxl's record END, expected LIBXC_CONTEXT first");
	return 0;
}

int xen_take_libxl_record(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t type = get_le32(bytes), length = get_le32(bytes + 4);

	if (check_libxl_record(r, type, length, err) < 0)
		return -1;
	if (type == XEN_LIBXL_LIBXC_CONTEXT)
		xen_await(r, XEN_AT_IMAGE_HEADER, 24);
	else if (type == XEN_LIBXL_END)
		xen_await(r, XEN_AT_END, 1);
	else
		xen_await_pass(r, xen_padded(length), XEN_AT_LIBXL_RECORD, 8);
	return XEN_OPAQUE;
}

int xen_take_end(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	return xen_refuse(r, err, EPROTO, "0x%02x, expected nothing after libxl's record END",
			  bytes[0]);
}

/* ---- libxc's headers ---- */

int xen_take_image_header(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t marker = get_be64(bytes);
	uint32_t id = get_be32(bytes + 8), version = get_be32(bytes + 12);

	if (marker != XEN_LIBXC_MARKER)
		return xen_refuse(r, err, EPROTO,
				  "libxc's part begins with 0x%016" PRIx64
				  ", expected 0x%016" PRIx64,
				  marker, (uint64_t)XEN_LIBXC_MARKER);
	if (id != XEN_LIBXC_ID)
		return xen_refuse(r, err, EPROTO,
				  "libxc's part has the id 0x%08" PRIx32
				  ", expected 0x%08x (\"XENF\")",
				  id, XEN_LIBXC_ID);
	if (version != XEN_LIBXC_VERSION)
		return xen_refuse(r, err, ENOTSUP,
				  "version %" PRIu32 " of libxc's format%s, only %u is known",
				  version, version == 2 ? " (Xen 4.6 to 4.13)" : "",
				  XEN_LIBXC_VERSION);
	if (get_be16(bytes + 16) & XEN_LIBXC_BIG_ENDIAN)
		return xen_refuse(r, err, ENOTSUP, "libxc's records are big-endian");
	xen_await(r, XEN_AT_DOMAIN_HEADER, 16);
	return XEN_OPAQUE;
}

static int check_domain(const struct xen_reader *r, uint32_t type, struct error **err)
{
	switch (type) {
	case XEN_DOMAIN_HVM:
		return 0;
	case XEN_DOMAIN_PV:
		return xen_refuse(r, err, ENOTSUP,
				  "an x86 PV guest: its pre-copy needs a Xen with shadow paging, "
				  "which Debian's has not; only HVM and PVH guests are supported");
	case XEN_DOMAIN_PVH:
		return xen_refuse(r, err, ENOTSUP,
				  "domain type 3 (x86 PVH), which Xen does not send: PVH guests "
				  "come as type 2");
	case XEN_DOMAIN_ARM:
		return xen_refuse(r, err, ENOTSUP, "an ARM guest, which has no format yet");
	default:
		return xen_refuse(r, err, EPROTO,
				  "domain type 0x%08" PRIx32 ", expected 2 (x86 HVM)", type);
	}
}

int xen_take_domain_header(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint16_t shift = get_le16(bytes + 4);
	uint32_t major = get_le32(bytes + 8);

	if (check_domain(r, get_le32(bytes), err) < 0)
		return -1;
	if (shift != PAGE_SHIFT)
		return xen_refuse(r, err, ENOTSUP,
				  "the guest's pages have 2^%u bytes, only 2^%u is known", shift,
				  PAGE_SHIFT);
	if (major == 0)
		return xen_refuse(r, err, ENOTSUP,
				  "from Xen 0: converted from the legacy format of Xen 4.5 and "
				  "earlier");
	r->memory.xen_major = major;
	r->memory.xen_minor = get_le32(bytes + 12);
	xen_await(r, XEN_AT_RECORD, 8);
	return XEN_OPAQUE;
}
