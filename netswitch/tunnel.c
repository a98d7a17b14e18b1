/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"
#include "netswitch/tunnel-internal.h"

#define LOG_MODULE "tunnel"

/*
 * Theory of operation
 *
 * Devices, MACs, inner addresses and the tables' numbers follow from the hop's UUID
 * (tunnel-names.c), so each end has the other as a permanent neighbour, and nothing is learned or
 * asked.
 *
 * All routes stand in those tables, and rules lead there: no route of the host's own is touched or
 * shadowed, even where the old network and the new site's have the same prefix, or where two VMs
 * bring the same address. At the destination one table is enough for all taps of the VM:
 *
 *     table:  each OLD-ADDRESS dev its TAP; default via SOURCE dev EHX
 *     rules:  iif EHX, iif each TAP
 *
 * At the source each address has a table of its own, since what comes from it leaves on the bridge
 * of its network, through the gateway there:
 *
 *     table:  OLD-ADDRESS via DESTINATION dev EHX; OLD-NETWORK dev BRIDGE;
 *             default via OLD-GATEWAY dev BRIDGE
 *     rules:  from OLD-ADDRESS iif EHX; to OLD-ADDRESS; and after these iif EHX, which keeps what
 *             bears another address on the VM's network, too
 *
 * The VM arrives with the MACs of its old gateway and neighbours in its memory. The destination
 * takes frames to any MAC on the VM's tap (catch.c), and answers for every address when the VM asks
 * again: by proxy ARP, and for IPv6 by neighbours.c.
 *
 * Sizes: the device has the MTU of the VM's network. Its outer packets are larger than the path
 * may carry, have no DF bit, and are fragmented; the VM and its clients see the MTU they know.
 * Naming a device beneath would make the kernel refuse that MTU. VXLAN also tells each route into
 * it the MTU that would avoid fragments: for IPv4 ours are locked and ignore that; for IPv6 the
 * kernel heeds no lock there, and senders learn the smaller MTU by a Packet Too Big.
 *
 * Forwarding is switched on per device where the kernel has that, and left on for the bridge: a
 * later hop's or the operator's wish can't be told from ours. For IPv6 there is only the host's
 * switch, which a hop of a VM with IPv6 addresses sets; a host that takes its default route from
 * router advertisements needs accept_ra=2 then.
 */
#define TUNNEL_TTL  64
#define DEFAULT_MTU 1500

int tunnel_device(const char *hop, char dev[IF_NAMESIZE], struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(hop, &names, err) < 0)
		return -1;
	memcpy(dev, names.dev, IF_NAMESIZE);
	return 0;
}

uint32_t tunnel_inner_mtu(const struct tunnel *tunnel)
{
	return tunnel->mtu ? tunnel->mtu : DEFAULT_MTU;
}

/* The inner address, and the other end's as a neighbour; IPv6 where the kernel has it. */
static int set_addresses(const struct tunnel_names *names, enum tunnel_side side,
			 struct error **err)
{
	enum tunnel_side other = side == TUNNEL_SOURCE ? TUNNEL_DESTINATION : TUNNEL_SOURCE;

	if (rtnl_addr_add(names->dev, &names->end[side].v4, err) < 0 ||
	    rtnl_neigh_add(names->dev, &names->end[other].v4, names->end[other].mac, err) < 0)
		return -1;
	if (!sysctl_has_ipv6())
		return 0;
	if (rtnl_addr_add(names->dev, &names->end[side].v6, err) < 0 ||
	    rtnl_neigh_add(names->dev, &names->end[other].v6, names->end[other].mac, err) < 0)
		return -1;
	return 0;
}

int tunnel_open(const struct tunnel *tunnel, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0)
		return -1;

	struct rtnl_vxlan vxlan = {
		.name = names.dev,
		.id = names.number,
		.local = tunnel->local,
		.remote = tunnel->remote,
		.port = TUNNEL_PORT,
		.ttl = TUNNEL_TTL,
		.mtu = tunnel_inner_mtu(tunnel),
	};

	memcpy(vxlan.mac, names.end[tunnel->side].mac, MAC_SIZE);
	if (rtnl_vxlan_set(&vxlan, err) < 0)
		return -1;
	/* Nobody but the two of us is on this link: no address by itself, no advertisements. */
	if (sysctl_has_ipv6() &&
	    (sysctl_set(0, err, "net/ipv6/conf/%s/disable_ipv6", names.dev) < 0 ||
	     sysctl_set(1, err, "net/ipv6/conf/%s/addr_gen_mode", names.dev) < 0 ||
	     sysctl_set(0, err, "net/ipv6/conf/%s/accept_ra", names.dev) < 0))
		return -1;
	if (sysctl_loosen_rp_filter(names.dev, err) < 0 ||
	    sysctl_set(1, err, "net/ipv4/conf/%s/forwarding", names.dev) < 0 ||
	    rtnl_link_up(names.dev, err) < 0)
		return -1;
	return set_addresses(&names, tunnel->side, err);
}

static int flush(uint32_t table, struct error **err)
{
	if (rtnl_rule_flush(AF_INET, table, err) < 0 || rtnl_route_flush(AF_INET, table, err) < 0)
		return -1;
	if (!sysctl_has_ipv6())
		return 0;
	if (rtnl_rule_flush(AF_INET6, table, err) < 0)
		return -1;
	return rtnl_route_flush(AF_INET6, table, err);
}

int tunnel_close(const struct tunnel *tunnel, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < TUNNEL_ADDRESSES; i++)
		if (flush(tunnel_table(&names, i), err) < 0)
			return -1;
	return rtnl_link_delete(names.dev, err);
}

int tunnel_move(const struct tunnel *tunnel, const struct ip_addr *local,
		const struct ip_addr *remote, struct error **err)
{
	struct tunnel moved = *tunnel;

	moved.local = *local;
	moved.remote = *remote;
	return tunnel_open(&moved, err);
}

const struct ip_addr *tunnel_peer(const struct tunnel_names *names, enum tunnel_side side,
				  int family)
{
	enum tunnel_side other = side == TUNNEL_SOURCE ? TUNNEL_DESTINATION : TUNNEL_SOURCE;

	return family == AF_INET ? &names->end[other].v4 : &names->end[other].v6;
}

int tunnel_is_own(const struct ip_addr *addr, struct error **err)
{
	auto_free struct ip_addr *own = NULL;
	size_t count;

	if (rtnl_addr_list(NULL, &own, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (ip_same(addr, &own[i]))
			return 1;
	}
	return 0;
}

int tunnel_allow_forwarding(const char *dev, int family, struct error **err)
{
	if (family == AF_INET)
		return sysctl_set(1, err, "net/ipv4/conf/%s/forwarding", dev);
	if (sysctl_set(1, err, "net/ipv6/conf/%s/proxy_ndp", dev) < 0)
		return -1;
	return sysctl_set(1, err, "net/ipv6/conf/all/forwarding");
}
