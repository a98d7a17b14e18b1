/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_XEN_FORMAT_H
#define MIGRATE_STREAM_XEN_FORMAT_H

/*
 * The numbers of Xen's migration stream: libxl's, and libxc's inside it. Headers are big-endian,
 * but for the domain header; all else is little-endian on every host that is accepted. Where they
 * mean something is drawn in xen_reader.c.
 */
#define XEN_LIBXL_IDENT	  0x4c6962786c466d74u /* "LibxlFmt" */
#define XEN_LIBXL_VERSION 2u
#define XEN_LIBXC_MARKER  0xffffffffffffffffu
#define XEN_LIBXC_ID	  0x58454e46u /* "XENF" */
#define XEN_LIBXC_VERSION 3u

#define XEN_LIBXL_BIG_ENDIAN 0x1u /* options of libxl's header */
#define XEN_LIBXL_LEGACY     0x2u /* converted from what Xen 4.5 and earlier sent */
#define XEN_LIBXC_BIG_ENDIAN 0x1u /* options of libxc's image header */

/* Of both kinds of records: who does not know the type may go on without it. */
#define XEN_RECORD_OPTIONAL 0x80000000u

/* Longer ones are refused by every libxc since 4.6; libxl has no such bound. */
#define XEN_LIBXC_RECORD_MOST (128u << 20)

enum xen_libxl_record {
	XEN_LIBXL_END = 0,
	XEN_LIBXL_LIBXC_CONTEXT = 1, /* libxc's stream follows it, from header to END */
	XEN_LIBXL_EMULATOR_XENSTORE_DATA = 2,
	XEN_LIBXL_EMULATOR_CONTEXT = 3, /* QEMU's devices, without memory */
	XEN_LIBXL_CHECKPOINT_END = 4,
	XEN_LIBXL_CHECKPOINT_STATE = 5,
};

enum xen_domain {
	XEN_DOMAIN_PV = 1,
	XEN_DOMAIN_HVM = 2, /* what is sent for PVH guests, too */
	XEN_DOMAIN_PVH = 3, /* never sent */
	XEN_DOMAIN_ARM = 4,
};

enum xen_libxc_record {
	XEN_END = 0x00,
	XEN_PAGE_DATA = 0x01,
	XEN_X86_PV_INFO = 0x02,
	XEN_X86_PV_P2M_FRAMES = 0x03,
	XEN_X86_PV_VCPU_BASIC = 0x04,
	XEN_X86_PV_VCPU_EXTENDED = 0x05,
	XEN_X86_PV_VCPU_XSAVE = 0x06,
	XEN_SHARED_INFO = 0x07,
	XEN_X86_TSC_INFO = 0x08,
	XEN_HVM_CONTEXT = 0x09,
	XEN_HVM_PARAMS = 0x0a, /* count:4 reserved:4 {index:8 value:8} */
	XEN_TOOLSTACK = 0x0b,
	XEN_X86_PV_VCPU_MSRS = 0x0c,
	XEN_VERIFY = 0x0d,
	XEN_CHECKPOINT = 0x0e,
	XEN_CHECKPOINT_DIRTY_PFN_LIST = 0x0f,
	XEN_STATIC_DATA_END = 0x10,
	XEN_X86_CPUID_POLICY = 0x11,
	XEN_X86_MSR_POLICY = 0x12,
};

/* An entry of PAGE_DATA's list: type:4 reserved:8 pfn:52, from the highest bit down. */
#define XEN_PFN_TYPE_SHIFT 60
#define XEN_PFN_RESERVED   0x0ff0000000000000u
#define XEN_PFN_MASK	   0x000fffffffffffffu

#endif
