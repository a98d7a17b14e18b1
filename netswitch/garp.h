/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GARP_H
#define NETSWITCH_GARP_H

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * Tells the neighbours on dev's network that addr is at mac from now on: gratuitous ARP for IPv4,
 * an unsolicited neighbour advertisement for IPv6. mac NULL: dev's own. It also teaches the
 * switches where mac is. Neighbours update an entry they have; they make none.
 */
int garp_send(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
	      struct error **err);

/*
 * Asks for target in the name of addr, whose MAC is mac: the answer goes to whoever has that, and
 * corrects what it remembers of target's MAC. Both are of one family.
 */
int garp_ask(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
	     const struct ip_addr *target, struct error **err);

#endif
