/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_NEWCOMERS_H
#define NETSWITCH_GUEST_NEWCOMERS_H

#include "common/error.h"

/*
 * Turns away TCP connections that somebody wants to open through a vNIC: what asks for one is
 * dropped before the kernel sees it, all else goes on; who asked, asks again after a second.
 * Returns a descriptor: closing it, or the end of the process, lets them in again. EBUSY: another
 * XDP program is there; EINVAL or the like: a kernel before 5.9.
 */
int newcomers_refuse(int ifindex, struct error **err);

#endif
