/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/coded_stream.h"

#include "migrate/stream/stream_format.h"

const struct stream_format *const coded_stream_formats[CODED_FORMATS] = {
	[CODED_QEMU] = &stream_format_qemu,
	[CODED_XEN] = &stream_format_xen,
};
