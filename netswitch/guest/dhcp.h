/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_DHCP_H
#define NETSWITCH_GUEST_DHCP_H

#include <stdbool.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * Addresses from DHCP (IPv4), by the client that this guest has: udhcpc (busybox), dhclient or
 * dhcpcd. It runs for as long as the vNIC is in use and renews the lease; it calls this program
 * back with what it got (dhcp_hook), which sets the address and notes it under PLACE_RUN.
 */

/* Is there a client? */
bool dhcp_available(void);

/* A client runs on dev from now on; one that does already goes on. ENOENT: the guest has none. */
int dhcp_start(const char *dev, struct error **err);

/* What the client got; waits until deadline_ns. EAGAIN: nothing yet. */
int dhcp_lease(const char *dev, struct ip_config *lease, int64_t deadline_ns, struct error **err);

/* The client of dev ends, and the note with it. The lease is not given back, nor the address. */
int dhcp_stop(const char *dev, struct error **err);

/*
 * True when a client has called this program: main() then does nothing but return *status. To be
 * asked first.
 */
bool dhcp_hook(int argc, char **argv, int *status);

#endif
