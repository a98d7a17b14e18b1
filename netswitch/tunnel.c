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
#include "netswitch/catch.h"
#include "netswitch/garp.h"
#include "netswitch/neighbours.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"
#include "netswitch/tunnel-names.h"

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

static uint32_t inner_mtu(const struct tunnel *tunnel)
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
		.mtu = inner_mtu(tunnel),
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

static const struct ip_addr *peer(const struct tunnel_names *names, enum tunnel_side side,
				  int family)
{
	enum tunnel_side other = side == TUNNEL_SOURCE ? TUNNEL_DESTINATION : TUNNEL_SOURCE;

	return family == AF_INET ? &names->end[other].v4 : &names->end[other].v6;
}

/* Destination: what comes in by that device is the VM's business. */
static int rule_by_device(const struct tunnel_names *names, int family, const char *dev, bool add,
			  struct error **err)
{
	struct rtnl_rule rule = {
		.family = family,
		.table = names->table,
		.priority = TUNNEL_RULE_PRIORITY,
	};

	snprintf(rule.iif, sizeof(rule.iif), "%s", dev);
	return add ? rtnl_rule_add(&rule, err) : rtnl_rule_del(&rule, err);
}

/* Source: packets to an address of the VM. */
static int rule_to_address(const struct ip_addr *addr, uint32_t table, bool add, struct error **err)
{
	struct rtnl_rule rule = {
		.family = addr->family,
		.to = ip_host(addr),
		.table = table,
		.priority = TUNNEL_RULE_PRIORITY,
	};

	return add ? rtnl_rule_add(&rule, err) : rtnl_rule_del(&rule, err);
}

/* Source: packets from it that come out of the tunnel; and, after all those, any others. */
static int rules_from_tunnel(const struct tunnel_names *names, const struct ip_addr *addr,
			     uint32_t table, struct error **err)
{
	struct rtnl_rule rule = {
		.family = addr->family,
		.from = ip_host(addr),
		.table = table,
		.priority = TUNNEL_RULE_PRIORITY,
	};

	memcpy(rule.iif, names->dev, sizeof(rule.iif));
	if (rtnl_rule_add(&rule, err) < 0)
		return -1;
	rule.from.family = 0;
	rule.priority++;
	return rtnl_rule_add(&rule, err);
}

/* 1: the address is one of this host's. */
static int is_own(const struct ip_addr *addr, struct error **err)
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

/* The local table comes before ours: packets for such an address would never leave this host. */
static int refuse_own(const struct ip_config *old, size_t n, struct error **err)
{
	char text[IP_TEXT];

	for (size_t i = 0; i < n; i++) {
		int own = is_own(&old[i].address, err);

		if (own)
			return own < 0 ? -1
				       : error_set(err, EADDRINUSE,
						   "the VM's address %s is also one of this host's",
						   ip_format_host(&old[i].address, text));
	}
	return 0;
}

/* Forwarding of packets that come in by dev. */
static int allow_forwarding(const char *dev, int family, struct error **err)
{
	if (family == AF_INET)
		return sysctl_set(1, err, "net/ipv4/conf/%s/forwarding", dev);
	if (sysctl_set(1, err, "net/ipv6/conf/%s/proxy_ndp", dev) < 0)
		return -1;
	return sysctl_set(1, err, "net/ipv6/conf/all/forwarding");
}

static int attach_address(const struct tunnel *tunnel, const struct tunnel_names *names,
			  const char *tap, const uint8_t *mac, const struct ip_config *old,
			  struct error **err)
{
	int family = old->address.family;
	int tap_index = rtnl_link_index(tap, err), dev_index = rtnl_link_index(names->dev, err);
	struct ip_addr host = ip_host(&old->address);
	struct rtnl_route to_guest = {.to = host, .ifindex = tap_index, .table = names->table};
	struct rtnl_route back = {
		.to.family = family,
		.via = *peer(names, tunnel->side, family),
		.onlink = true,
		.ifindex = dev_index,
		.table = names->table,
		.mtu = family == AF_INET ? inner_mtu(tunnel) : 0,
	};

	if (tap_index < 0 || dev_index < 0)
		return -1;
	if (allow_forwarding(tap, family, err) < 0 || rtnl_neigh_add(tap, &host, mac, err) < 0 ||
	    rtnl_route_replace(&to_guest, err) < 0 || rtnl_route_replace(&back, err) < 0 ||
	    rule_by_device(names, family, names->dev, true, err) < 0 ||
	    rule_by_device(names, family, tap, true, err) < 0)
		return -1;
	/* For a kernel that lacks what neighbours.c needs: a guest mostly asks for its gateway. */
	if (family == AF_INET6 && old->gateway.family)
		return rtnl_proxy_add(tap, &old->gateway, err);
	return 0;
}

static bool has_ipv6(const struct ip_config *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].address.family == AF_INET6)
			return true;
	return false;
}

/* What makes the change of place smooth. A kernel that can't is no reason to fail. */
static void help_guest(const char *tap, const struct ip_config *old, size_t n)
{
	auto_error mute = NULL;
	auto_error lost = NULL;

	if (catch_all(tap, &mute) < 0)
		log_warn("the VM may be mute on its old address for seconds: %s", error_text(mute));
	if (has_ipv6(old, n) && neighbours_answer_all(tap, &lost) < 0)
		log_warn("the VM finds no IPv6 neighbour but its gateway: %s", error_text(lost));
}

int tunnel_guest_attach(const struct tunnel *tunnel, const char *tap, const uint8_t mac[MAC_SIZE],
			const struct ip_config *old, size_t n, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0 || refuse_own(old, n, err) < 0 ||
	    rtnl_link_master(tap, NULL, err) < 0 || rtnl_link_up(tap, err) < 0 ||
	    sysctl_loosen_rp_filter(tap, err) < 0 ||
	    sysctl_set(1, err, "net/ipv4/conf/%s/proxy_arp", tap) < 0 ||
	    /* Else a broadcast question is answered after a random time of up to 0.8 s. */
	    sysctl_set(0, err, "net/ipv4/neigh/%s/proxy_delay", tap) < 0)
		return error_wrap(err, "connecting the VM's device %s to the tunnel", tap);
	help_guest(tap, old, n);
	for (size_t i = 0; i < n; i++) {
		if (attach_address(tunnel, &names, tap, mac, &old[i], err) < 0)
			return error_wrap(err, "connecting the VM's device %s to the tunnel", tap);
	}
	return 0;
}

static int detach_address(const struct tunnel_names *names, const char *tap,
			  const struct ip_config *old, struct error **err)
{
	struct ip_addr host = ip_host(&old->address);
	struct rtnl_route to_guest = {.to = host, .table = names->table};

	if (rule_by_device(names, host.family, tap, false, err) < 0 ||
	    rtnl_route_del(&to_guest, err) < 0 || rtnl_neigh_del(tap, &host, err) < 0)
		return -1;
	if (host.family == AF_INET6 && old->gateway.family)
		return rtnl_proxy_del(tap, &old->gateway, err);
	return 0;
}

int tunnel_guest_detach(const struct tunnel *tunnel, const char *tap, const struct ip_config *old,
			size_t n, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (detach_address(&names, tap, &old[i], err) < 0)
			return error_wrap(err, "taking the VM's device %s off the tunnel", tap);
	}
	if (!if_nametoindex(tap))
		return 0;
	if (catch_all_undo(tap, err) < 0 ||
	    sysctl_set(0, err, "net/ipv4/conf/%s/proxy_arp", tap) < 0 ||
	    sysctl_set(0, err, "net/ipv4/conf/%s/forwarding", tap) < 0)
		return error_wrap(err, "taking the VM's device %s off the tunnel", tap);
	return 0;
}

/* The host's own address on the bridge, for packets it sends into the tunnel itself. */
static struct ip_addr own_address(const char *bridge, int family)
{
	auto_free struct ip_addr *own = NULL;
	struct ip_addr none = {0};
	size_t count;

	if (rtnl_addr_list(bridge, &own, &count, NULL) < 0)
		return none;
	for (size_t i = 0; i < count; i++) {
		if (own[i].family == family)
			return ip_host(&own[i]);
	}
	return none;
}

static int redirect_routes(const struct tunnel *tunnel, const struct tunnel_names *names,
			   uint32_t table, const char *bridge, const struct ip_config *old,
			   struct error **err)
{
	int family = old->address.family;
	int bridge_index = rtnl_link_index(bridge, err);
	int dev_index = rtnl_link_index(names->dev, err);
	int own_gateway = old->gateway.family ? is_own(&old->gateway, err) : 0;
	struct rtnl_route network = {
		.to = ip_network(&old->address),
		.ifindex = bridge_index,
		.table = table,
	};
	struct rtnl_route out = {
		.to.family = family,
		.via = old->gateway,
		.onlink = true,
		.ifindex = bridge_index,
		.table = table,
	};
	struct rtnl_route into = {
		.to = ip_host(&old->address),
		.via = *peer(names, tunnel->side, family),
		.onlink = true,
		.source = own_address(bridge, family),
		.ifindex = dev_index,
		.table = table,
		.mtu = family == AF_INET ? inner_mtu(tunnel) : 0,
	};

	if (bridge_index < 0 || dev_index < 0 || own_gateway < 0)
		return -1;
	if (network.to.prefix < into.to.prefix && rtnl_route_replace(&network, err) < 0)
		return -1;
	/* A host that is the gateway itself goes on with its main table. */
	if (old->gateway.family && !own_gateway && rtnl_route_replace(&out, err) < 0)
		return -1;
	return rtnl_route_replace(&into, err);
}

static int redirect_address(const struct tunnel *tunnel, const struct tunnel_names *names,
			    uint32_t table, const char *bridge, const struct ip_config *old,
			    struct error **err)
{
	const struct ip_addr *addr = &old->address;
	auto_error why = NULL;

	if (allow_forwarding(bridge, addr->family, err) < 0 ||
	    redirect_routes(tunnel, names, table, bridge, old, err) < 0 ||
	    rules_from_tunnel(names, addr, table, err) < 0 ||
	    rule_to_address(addr, table, true, err) < 0 || rtnl_proxy_add(bridge, addr, err) < 0)
		return -1;
	/* Without it neighbours ask again when their entries age: late, but no reason to fail. */
	if (garp_send(bridge, addr, NULL, &why) < 0)
		log_warn("%s", error_text(why));
	return 0;
}

static int check_room(size_t first, size_t n, struct error **err)
{
	if (first + n <= TUNNEL_ADDRESSES)
		return 0;
	return error_set(err, E2BIG, "the VM has %zu addresses, a tunnel carries up to %d",
			 first + n, TUNNEL_ADDRESSES);
}

int tunnel_redirect(const struct tunnel *tunnel, const char *bridge, size_t first,
		    const struct ip_config *old, size_t n, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0 || check_room(first, n, err) < 0 ||
	    /* The way back to a client may not be the host's own way there. */
	    sysctl_loosen_rp_filter(bridge, err) < 0 ||
	    sysctl_set(0, err, "net/ipv4/neigh/%s/proxy_delay", bridge) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (redirect_address(tunnel, &names, tunnel_table(&names, first + i), bridge,
				     &old[i], err) < 0)
			return error_wrap(err, "sending the VM's packets into the tunnel");
	}
	return 0;
}

int tunnel_redirect_undo(const struct tunnel *tunnel, const char *bridge, size_t first,
			 const struct ip_config *old, size_t n, struct error **err)
{
	struct tunnel_names names;

	if (tunnel_make_names(tunnel->hop, &names, err) < 0 || check_room(first, n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint32_t table = tunnel_table(&names, first + i);
		struct rtnl_route into = {.to = ip_host(&old[i].address), .table = table};

		if (rtnl_proxy_del(bridge, &old[i].address, err) < 0 ||
		    rule_to_address(&old[i].address, table, false, err) < 0 ||
		    rtnl_route_del(&into, err) < 0)
			return error_wrap(err, "taking the VM's packets out of the tunnel");
	}
	return 0;
}
