/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's end of a tunnel: the VM's taps; see tunnel.c for the whole. */
#include "netswitch/tunnel-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "netswitch/catch.h"
#include "netswitch/neighbours.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"

#define LOG_MODULE "tunnel"

/* What comes in by that device is the VM's business. */
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

/* The local table comes before ours: packets for such an address would never leave this host. */
static int refuse_own(const struct ip_config *old, size_t n, struct error **err)
{
	char text[IP_TEXT];

	for (size_t i = 0; i < n; i++) {
		int own = tunnel_is_own(&old[i].address, err);

		if (own)
			return own < 0 ? -1
				       : error_set(err, EADDRINUSE,
						   "the VM's address %s is also one of this host's",
						   ip_format_host(&old[i].address, text));
	}
	return 0;
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
		.via = *tunnel_peer(names, tunnel->side, family),
		.onlink = true,
		.ifindex = dev_index,
		.table = names->table,
		.mtu = family == AF_INET ? tunnel_inner_mtu(tunnel) : 0,
	};

	if (tap_index < 0 || dev_index < 0)
		return -1;
	if (tunnel_allow_forwarding(tap, family, err) < 0 ||
	    rtnl_neigh_add(tap, &host, mac, err) < 0 || rtnl_route_replace(&to_guest, err) < 0 ||
	    rtnl_route_replace(&back, err) < 0 ||
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
