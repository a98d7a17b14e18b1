/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_XENBUS_H
#define NETSWITCH_GUEST_XENBUS_H

#include "common/error.h"

/* What Linux gives a Xen guest to reach xenstore. */
#define XENBUS_DEVICE "/dev/xen/xenbus"

/*
 * A socket that stands for the port between the agent and the host, in a Xen guest: behind it a
 * thread carries what is said through xenstore (netswitch/xen-link.h). It lasts as long as the
 * process; the socket ends where xenstore can't be reached any more. ENOENT: not a Xen guest.
 */
int xenbus_open(const char *device, struct error **err);

#endif
