/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_SYSCTL_H
#define NETSWITCH_SYSCTL_H

#include <stdbool.h>

#include "common/error.h"

/*
 * Numbers under /proc/sys, named by the formatted path after it ("net/ipv4/ip_forward"; slashes,
 * as device names may hold dots). They are those of the calling process's network namespace.
 */

/* Writes it unless it has that value already. ENOENT: this kernel, or this device, has none. */
int sysctl_set(long value, struct error **err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Reads it into *value. */
int sysctl_get(long *value, struct error **err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Does this kernel, in this namespace, do IPv6 at all? */
bool sysctl_has_ipv6(void);

/*
 * Lets a device take packets whose way back leads elsewhere. The kernel uses the greater of the
 * device's and the `all` setting: 0 (off) where that is enough, else 2 (any route back will do).
 */
int sysctl_loosen_rp_filter(const char *dev, struct error **err);

#endif
