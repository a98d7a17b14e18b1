/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_MEMORY_CHANNEL_H
#define HOP_MEMORY_CHANNEL_H

#include <stdint.h>

#include "migrate/codec/coded_stream.h"
#include "migrate/config/vm_def.h"
#include "migrate/stream/stream_format.h"

/* What both ends of a hop know of the memory's stream. */

/*
 * Frames of Xen's stream: those of the memory, and devices' up to 4 GiB; memory that has no room
 * below goes on above. QEMU's stream has blocks for devices beside the memory, of less than that.
 */
static inline uint64_t memory_channel_pages(const struct vm_def *vm)
{
	return (vm->memory + (4ull << 30)) / STREAM_PAGE;
}

static inline enum coded_format memory_channel_format(const struct vm_def *vm)
{
	return vm_def_is_xen(vm) ? CODED_XEN : CODED_QEMU;
}

#endif
