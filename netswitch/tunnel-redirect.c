/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's end of a tunnel: what is for the VM, and what comes from it; see tunnel.c for the
 * whole. */
#include "netswitch/tunnel-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "netswitch/garp.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"

#define LOG_MODULE "tunnel"

/* Packets to an address of the VM. */
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

/* Packets from it that come out of the tunnel; and, after all those, any others. */
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
	int own_gateway = old->gateway.family ? tunnel_is_own(&old->gateway, err) : 0;
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
		.via = *tunnel_peer(names, tunnel->side, family),
		.onlink = true,
		.source = own_address(bridge, family),
		.ifindex = dev_index,
		.table = table,
		.mtu = family == AF_INET ? tunnel_inner_mtu(tunnel) : 0,
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

	if (tunnel_allow_forwarding(bridge, addr->family, err) < 0 ||
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
