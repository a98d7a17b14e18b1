/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxc's records: which there are, when each may come, and how long it is. The grammar and the
 * states are described in xen_reader.c.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/bytes.h"
#include "migrate/stream/xen_reader_internal.h"

#define OF_PV "of PV guests, but the domain header says HVM"

static const struct record {
	const char *name;
	enum xen_phase phase; /* in which it comes */
	uint32_t least, unit; /* bytes: least, or any number of units more */
	int refused;	      /* an error's code, or 0 */
	const char *why;
} records[] = {
	[XEN_END] = {"END", XEN_PHASE_PAUSED},
	[XEN_PAGE_DATA] = {"PAGE_DATA", XEN_PHASE_MEMORY, 8, 8},
	[XEN_X86_PV_INFO] = {"X86_PV_INFO", .refused = EPROTO, .why = OF_PV},
	[XEN_X86_PV_P2M_FRAMES] = {"X86_PV_P2M_FRAMES", .refused = EPROTO, .why = OF_PV},
	[XEN_X86_PV_VCPU_BASIC] = {"X86_PV_VCPU_BASIC", .refused = EPROTO, .why = OF_PV},
	[XEN_X86_PV_VCPU_EXTENDED] = {"X86_PV_VCPU_EXTENDED", .refused = EPROTO, .why = OF_PV},
	[XEN_X86_PV_VCPU_XSAVE] = {"X86_PV_VCPU_XSAVE", .refused = EPROTO, .why = OF_PV},
	[XEN_SHARED_INFO] = {"SHARED_INFO", .refused = EPROTO, .why = OF_PV},
	[XEN_X86_TSC_INFO] = {"X86_TSC_INFO", XEN_PHASE_PAUSED, 24},
	[XEN_HVM_CONTEXT] = {"HVM_CONTEXT", XEN_PHASE_PAUSED, 1, 1},
	[XEN_HVM_PARAMS] = {"HVM_PARAMS", XEN_PHASE_PAUSED, 8, 16},
	[XEN_TOOLSTACK] = {"TOOLSTACK", .refused = ENOTSUP, .why = "which no receiver takes"},
	[XEN_X86_PV_VCPU_MSRS] = {"X86_PV_VCPU_MSRS", .refused = EPROTO, .why = OF_PV},
	[XEN_VERIFY] = {"VERIFY", .refused = ENOTSUP,
			.why = "of a migration with --debug, which is not supported"},
	[XEN_CHECKPOINT] = {"CHECKPOINT", .refused = ENOTSUP,
			    .why = "of Remus and COLO, which are not supported"},
	[XEN_CHECKPOINT_DIRTY_PFN_LIST] = {"CHECKPOINT_DIRTY_PFN_LIST", .refused = ENOTSUP,
					   .why = "of COLO, which is not supported"},
	[XEN_STATIC_DATA_END] = {"STATIC_DATA_END", XEN_PHASE_STATIC},
	[XEN_X86_CPUID_POLICY] = {"X86_CPUID_POLICY", XEN_PHASE_STATIC, 24, 24},
	[XEN_X86_MSR_POLICY] = {"X86_MSR_POLICY", XEN_PHASE_STATIC, 16, 16},
};

static int check_length(const struct xen_reader *r, const struct record *record, uint32_t length,
			struct error **err)
{
	bool more = length >= record->least && record->unit &&
		    (length - record->least) % record->unit == 0;

	if (length == record->least || more)
		return 0;
	if (record->unit == 1)
		return xen_refuse(r, err, EPROTO,
				  "record %s has %" PRIu32 " bytes, expected at least %" PRIu32,
				  record->name, length, record->least);
	if (record->unit)
		return xen_refuse(r, err, EPROTO,
				  "record %s has %" PRIu32 " bytes, expected %" PRIu32
				  " or a multiple of %" PRIu32 " more",
				  record->name, length, record->least, record->unit);
	return xen_refuse(r, err, EPROTO, "record %s has %" PRIu32 " bytes, expected %" PRIu32,
			  record->name, length, record->least);
}

/* A receiver knows neither pages before all that is static, nor what is static after it. */
static int check_phase(const struct xen_reader *r, const struct record *record, struct error **err)
{
	if (record->phase == XEN_PHASE_STATIC && r->phase != XEN_PHASE_STATIC)
		return xen_refuse(r, err, EPROTO, "record %s, expected only before STATIC_DATA_END",
				  record->name);
	if (record->phase != XEN_PHASE_STATIC && r->phase == XEN_PHASE_STATIC)
		return xen_refuse(r, err, EPROTO, "record %s, expected STATIC_DATA_END first",
				  record->name);
	if (record->phase == XEN_PHASE_MEMORY && r->phase == XEN_PHASE_PAUSED)
		return xen_refuse(r, err, ENOTSUP,
				  "record %s after the guest's state, which is not supported",
				  record->name);
	return 0;
}

static int check_record(const struct xen_reader *r, uint32_t type, uint32_t length,
			struct error **err)
{
	const struct record *record;

	if (length > XEN_LIBXC_RECORD_MOST)
		return xen_refuse(r, err, EPROTO,
				  "libxc's record 0x%08" PRIx32 " has %" PRIu32
				  " bytes, expected at most %u",
				  type, length, XEN_LIBXC_RECORD_MOST);
	if (type & XEN_RECORD_OPTIONAL)
		return 0;
	if (type >= ARRAY_SIZE(records))
		return xen_refuse(r, err, ENOTSUP,
				  "libxc's record 0x%08" PRIx32 " is unknown, and mandatory", type);
	record = &records[type];
	if (record->refused)
		return xen_refuse(r, err, record->refused, "record %s, %s", record->name,
				  record->why);
	if (check_phase(r, record, err) < 0)
		return -1;
	if (type == XEN_END && !r->context)
		return xen_refuse(r, err, EPROTO,
				  "record END, expected HVM_CONTEXT first, without which no guest "
				  "is restored");
	return check_length(r, record, length, err);
}

/* Phases begin here. */
static int enter(struct xen_reader *r, uint32_t type, struct error **err)
{
	if (type & XEN_RECORD_OPTIONAL || r->phase != XEN_PHASE_MEMORY ||
	    records[type].phase != XEN_PHASE_PAUSED)
		return 0;
	r->phase = XEN_PHASE_PAUSED;
	r->memory.complete = r->memory.pfns > 0;
	return r->sink.paused(r->sink.arg, err);
}

/* STATIC_DATA_END: the sink is told after its bytes, as pages may follow only them. */
static int end_static_data(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	r->phase = XEN_PHASE_MEMORY;
	xen_await(r, XEN_AT_RECORD, 8);
	if (r->sink.opaque(r->sink.arg, bytes, 8, err) < 0)
		return -1;
	return r->sink.memory(r->sink.arg, &r->memory, err) < 0 ? -1 : XEN_TAKEN;
}

int xen_take_record(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t type = get_le32(bytes), length = get_le32(bytes + 4);

	if (check_record(r, type, length, err) < 0 || enter(r, type, err) < 0)
		return -1;
	r->length = length;
	switch (type) {
	case XEN_PAGE_DATA:
		xen_await(r, XEN_AT_BATCH, 8);
		return XEN_TAKEN;
	case XEN_STATIC_DATA_END:
		return end_static_data(r, bytes, err);
	case XEN_HVM_PARAMS:
		xen_await(r, XEN_AT_PARAMS, 8);
		return XEN_OPAQUE;
	case XEN_END:
		r->libxc_over = true;
		xen_await(r, XEN_AT_LIBXL_RECORD, 8);
		return XEN_OPAQUE;
	default:
		r->context |= type == XEN_HVM_CONTEXT;
		xen_await_pass(r, xen_padded(length), XEN_AT_RECORD, 8);
		return XEN_OPAQUE;
	}
}

int xen_take_params(struct xen_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t count = get_le32(bytes);
	uint64_t length = 8 + (uint64_t)count * 16;

	if (r->length != length)
		return xen_refuse(r, err, EPROTO,
				  "%" PRIu32 " parameters in a record HVM_PARAMS of %" PRIu32
				  " bytes, expected %" PRIu64,
				  count, r->length, length);
	xen_await_pass(r, length - 8, XEN_AT_RECORD, 8);
	return XEN_OPAQUE;
}
