/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_LEASE_H
#define NETSWITCH_GUEST_LEASE_H

#include <stdbool.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * A vNIC's lease: noted in PLACE_RUN "/lease-DEV", and set on the device. A DHCP client's script
 * sets it, in a process of its own; the agent reads it.
 */

/* False: there is none. */
bool lease_read(const char *dev, struct ip_config *lease);

/*
 * The device has this one from now on, with routes for what bears it, in place of the one before;
 * where that was announced to MPTCP peers, this is. The main default route is changed only where it
 * is this device's already: whose it is to be is the agent's decision.
 */
int lease_set(const char *dev, const struct ip_config *lease, struct error **err);

/* It is over: the address goes. Without a note nothing is done. */
int lease_lost(const char *dev, struct error **err);

/* Only the note goes. */
void lease_forget(const char *dev);

#endif
