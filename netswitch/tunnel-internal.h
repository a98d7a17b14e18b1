/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_TUNNEL_INTERNAL_H
#define NETSWITCH_TUNNEL_INTERNAL_H

/* What both ends of a tunnel (tunnel-guest.c, tunnel-redirect.c) need of the device between them.
 */
#include "netswitch/tunnel-names.h"
#include "netswitch/tunnel.h"

/* Of the VM's packets in it. */
uint32_t tunnel_inner_mtu(const struct tunnel *tunnel);

/* The other end's address in it, as seen from side. */
const struct ip_addr *tunnel_peer(const struct tunnel_names *names, enum tunnel_side side,
				  int family);

/* 1: the address is one of this host's. -1: error. */
int tunnel_is_own(const struct ip_addr *addr, struct error **err);

/* Forwarding of packets that come in by dev. */
int tunnel_allow_forwarding(const char *dev, int family, struct error **err);

#endif
