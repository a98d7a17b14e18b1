/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/nic.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/mptcp.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "netswitch/garp.h"
#include "netswitch/guest/dhcp.h"
#include "netswitch/guest/newcomers.h"
#include "netswitch/guest/spares.h"
#include "netswitch/mptcp_pm.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"

#define LOG_MODULE "nic"

/*
 * Theory of operation
 *
 * During a hop the guest has two vNICs, each with addresses of its own network, and packets must
 * leave by the one whose address they bear: the other's network knows no way back. So each
 * address has a rule `from ADDRESS` that leads to the table of its vNIC, 0x65680000 | INDEX, with
 * the network and the default route there. The main table's default route, which decides the
 * source of new outgoing connections, is that of the newest address. What had its routes in the
 * main table only (an address set by the distribution) gets a table before that changes.
 *
 * A network manager of the distribution must leave both vNICs alone.
 *
 * The vNICs may be in the same network at both sites; arp_ignore and arp_announce keep each from
 * answering for the other's address, and rp_filter must not drop what comes by the way it should.
 *
 * Endpoints are `signal` and `subflow`: peers that connected to this guest are told of the address
 * and join it, connections that this guest opened join from it. To a peer that connected to us the
 * kernel then also tries a subflow of its own, towards a port where nobody listens: one SYN per
 * connection and address, answered with RST or lost in the peer's firewall; it does no harm.
 *
 * An address is withdrawn twice: as its endpoint, which reaches the connections that joined it,
 * and as id 0, which reaches those that began on it.
 */
#define RULE_PRIORITY	 946
#define TABLE_BASE	 0x65680000U
#define MPTCP_LIMIT	 8    /* the kernel's maximum; less fails at a later hop */
#define ADD_ADDR_TIMEOUT 1    /* seconds until 6.1 repeats a lost announcement; its default: 120 */
#define SETTLE_MS	 1000 /* for connections that were just made to join */
#define SILENCE_MS	 1000 /* for peers to take note of a withdrawn address */
#define ENDPOINT_FLAGS	 (MPTCP_PM_ADDR_FLAG_SIGNAL | MPTCP_PM_ADDR_FLAG_SUBFLOW)

static const int families[] = {AF_INET, AF_INET6};

int nic_prepare_mptcp(struct error **err)
{
	struct mptcp_limits limits = {0};

	if (mptcp_pm_check(err) < 0 || mptcp_pm_get_limits(&limits, err) < 0)
		return -1;
	if (limits.subflows < MPTCP_LIMIT || limits.add_addr_accepted < MPTCP_LIMIT) {
		limits = (struct mptcp_limits){MPTCP_LIMIT, MPTCP_LIMIT};
		if (mptcp_pm_set_limits(&limits, err) < 0)
			return -1;
	}
	return sysctl_set(ADD_ADDR_TIMEOUT, err, "net/mptcp/add_addr_timeout");
}

static uint32_t table_of(int ifindex)
{
	return TABLE_BASE | ((uint32_t)ifindex & 0xffff);
}

/* Routes and rule for packets that bear the address. */
static int route_by_source(int ifindex, const struct ip_addr *addr, const struct ip_addr *gateway,
			   struct error **err)
{
	struct rtnl_route network = {
		.to = ip_network(addr),
		.source = ip_host(addr),
		.ifindex = ifindex,
		.table = table_of(ifindex),
	};
	struct rtnl_route out = {
		.to.family = addr->family,
		.via = *gateway,
		.onlink = true,
		.source = ip_host(addr),
		.ifindex = ifindex,
		.table = table_of(ifindex),
	};
	struct rtnl_rule rule = {
		.family = addr->family,
		.from = ip_host(addr),
		.table = table_of(ifindex),
		.priority = RULE_PRIORITY,
	};

	if (rtnl_route_replace(&network, err) < 0)
		return -1;
	if (gateway->family && rtnl_route_replace(&out, err) < 0)
		return -1;
	return rtnl_rule_add(&rule, err);
}

/* The other vNICs' addresses must not depend on the main table's default route from now on. */
static int keep_others(int ifindex, int family, struct error **err)
{
	auto_free struct rtnl_route *routes = NULL;
	size_t count;

	if (rtnl_route_list(family, 0, &routes, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		auto_free struct ip_addr *addrs = NULL;
		char dev[IF_NAMESIZE];
		size_t n;

		if (routes[i].to.prefix > 0 || routes[i].ifindex == ifindex ||
		    !if_indextoname((unsigned int)routes[i].ifindex, dev))
			continue;
		if (rtnl_addr_list(dev, &addrs, &n, err) < 0)
			return -1;
		for (size_t j = 0; j < n; j++) {
			if (addrs[j].family == family &&
			    route_by_source(routes[i].ifindex, &addrs[j], &routes[i].via, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* The gateway of packets that bear an address of that family; of several the vNIC's own. */
static bool find_default(int ifindex, int family, uint32_t table, struct ip_addr *gateway)
{
	auto_free struct rtnl_route *routes = NULL;
	size_t count;

	if (rtnl_route_list(family, table, &routes, &count, NULL) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (routes[i].to.prefix == 0 && (ifindex == 0 || routes[i].ifindex == ifindex)) {
			*gateway = routes[i].via;
			return true;
		}
	return false;
}

static int set_main_default(int ifindex, const struct ip_config *config, struct error **err)
{
	struct rtnl_route out = {
		.to.family = config->address.family,
		.via = config->gateway,
		.onlink = true,
		.source = ip_host(&config->address),
		.ifindex = ifindex,
	};

	if (!config->gateway.family)
		return 0;
	if (keep_others(ifindex, config->address.family, err) < 0)
		return -1;
	return rtnl_route_replace(&out, err);
}

/* Has another vNIC a default route, which `beside` leaves alone? */
static bool other_default(int ifindex, int family)
{
	struct ip_addr gateway;

	return find_default(0, family, 0, &gateway) && !find_default(ifindex, family, 0, &gateway);
}

static int prepare_link(const char *dev, struct error **err)
{
	if (rtnl_link_up(dev, err) < 0 || sysctl_loosen_rp_filter(dev, err) < 0 ||
	    /* Else a lease's old address takes the new one, of the same network, with it. */
	    sysctl_set(1, err, "net/ipv4/conf/%s/promote_secondaries", dev) < 0 ||
	    sysctl_set(1, err, "net/ipv4/conf/%s/arp_ignore", dev) < 0)
		return -1;
	return sysctl_set(2, err, "net/ipv4/conf/%s/arp_announce", dev);
}

static int set_addresses(const struct rtnl_link *link, const struct ip_config *list, size_t n,
			 bool beside, struct error **err)
{
	bool first_of[2] = {true, true};

	if (prepare_link(link->name, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int family = list[i].address.family;
		bool *first = &first_of[family == AF_INET6];

		if (rtnl_addr_add(link->name, &list[i].address, err) < 0 ||
		    route_by_source(link->index, &list[i].address, &list[i].gateway, err) < 0)
			return -1;
		if (*first && !(beside && other_default(link->index, family)) &&
		    set_main_default(link->index, &list[i], err) < 0)
			return -1;
		*first = false;
		/* Switches learn where we are. Not worth failing for. */
		garp_send(link->name, &list[i].address, NULL, NULL);
	}
	return 0;
}

int nic_address(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n, bool beside,
		struct error **err)
{
	struct rtnl_link link;

	if (rtnl_link_by_mac(mac, &link, err) < 0)
		return -1;
	return set_addresses(&link, list, n, beside, err);
}

static int withdraw(const struct ip_addr *addr, struct error **err)
{
	int id = mptcp_pm_find(addr, err);

	if (id < 0 || (id > 0 && mptcp_pm_del((uint8_t)id, err) < 0))
		return -1;
	return mptcp_pm_del_initial(addr, err);
}

static int announce_address(int ifindex, const struct ip_addr *address, struct error **err)
{
	const struct mptcp_endpoint endpoint = {
		.address = *address,
		.flags = ENDPOINT_FLAGS,
		.ifindex = ifindex,
	};

	/* Peers beyond the link can't use it. */
	return ip_link_local(address) ? 0 : mptcp_pm_add(&endpoint, err);
}

int nic_announce(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n, bool beside,
		 struct error **err)
{
	struct rtnl_link link;
	size_t missing = 0;

	if (rtnl_link_by_mac(mac, &link, err) < 0 ||
	    set_addresses(&link, list, n, beside, err) < 0 || nic_prepare_mptcp(err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		missing += mptcp_pm_find(&list[i].address, NULL) == 0;
	if (spares_make_room(missing, err) < 0 || spares_add(n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (announce_address(link.index, &list[i].address, err) < 0)
			return -1;
	return 0;
}

size_t nic_list(const struct rtnl_link *link, struct ip_config *list, size_t most)
{
	auto_free struct ip_addr *addrs = NULL;
	size_t count = 0;

	if (rtnl_addr_list(link->name, &addrs, &count, NULL) < 0)
		return 0;
	if (count > most)
		count = most;
	for (size_t i = 0; i < count; i++) {
		int family = addrs[i].family;

		list[i] = (struct ip_config){.address = addrs[i]};
		if (!find_default(link->index, family, table_of(link->index), &list[i].gateway))
			(void)find_default(link->index, family, 0, &list[i].gateway);
	}
	return count;
}

/* The one that is an endpoint no more is withdrawn from the connections on it. */
static int replace_address(int ifindex, const char *dev, const struct ip_addr *before,
			   const struct ip_addr *now, struct error **err)
{
	struct rtnl_rule rule = {
		.family = before->family,
		.from = ip_host(before),
		.table = table_of(ifindex),
		.priority = RULE_PRIORITY,
	};
	bool mptcp = mptcp_pm_check(NULL) == 0;

	if (mptcp && now && mptcp_pm_find(before, NULL) > 0 &&
	    announce_address(ifindex, now, err) < 0)
		return -1;
	if (mptcp && withdraw(before, err) < 0)
		return -1;
	if (rtnl_rule_del(&rule, err) < 0)
		return -1;
	return rtnl_addr_del(dev, before, err);
}

int nic_take_lease(const char *dev, const struct ip_config *lease, const struct ip_addr *before,
		   struct error **err)
{
	struct ip_addr gateway;
	int index = rtnl_link_index(dev, err);

	if (index < 0 || prepare_link(dev, err) < 0 ||
	    rtnl_addr_add(dev, &lease->address, err) < 0 ||
	    route_by_source(index, &lease->address, &lease->gateway, err) < 0)
		return -1;
	if (find_default(index, AF_INET, 0, &gateway) && set_main_default(index, lease, err) < 0)
		return -1;
	return before ? replace_address(index, dev, before, &lease->address, err) : 0;
}

int nic_drop_lease(const char *dev, const struct ip_addr *address, struct error **err)
{
	int index = rtnl_link_index(dev, err);

	return index < 0 ? -1 : replace_address(index, dev, address, NULL, err);
}

/* The two vNICs of an order, and their addresses. */
struct pair {
	struct rtnl_link old_link, new_link;
	struct ip_addr *old_addrs, *new_addrs;
	size_t old_count, new_count;
};

static void free_pair(struct pair *pair)
{
	free(pair->old_addrs);
	free(pair->new_addrs);
}
#define auto_pair __attribute__((cleanup(free_pair))) struct pair

static int read_pair(struct pair *pair, const uint8_t *new_mac, const uint8_t *old_mac,
		     struct error **err)
{
	if (rtnl_link_by_mac(old_mac, &pair->old_link, err) < 0 ||
	    rtnl_link_by_mac(new_mac, &pair->new_link, err) < 0)
		return -1;
	if (pair->old_link.index == pair->new_link.index)
		return error_set(err, EINVAL, "the old and the new vNIC are the same, %s",
				 pair->old_link.name);
	if (rtnl_addr_list(pair->old_link.name, &pair->old_addrs, &pair->old_count, err) < 0)
		return -1;
	return rtnl_addr_list(pair->new_link.name, &pair->new_addrs, &pair->new_count, err);
}

static int count_pair(const struct pair *pair, struct joins *joins, struct error **err)
{
	const struct joins_between between = {
		.old_addrs = pair->old_addrs,
		.new_addrs = pair->new_addrs,
		.old_count = pair->old_count,
		.new_count = pair->new_count,
	};

	return joins_count(&between, joins, err);
}

int nic_joined(const uint8_t new_mac[MAC_SIZE], const uint8_t old_mac[MAC_SIZE],
	       struct joins *joins, struct error **err)
{
	auto_pair pair = {0};

	if (read_pair(&pair, new_mac, old_mac, err) < 0)
		return -1;
	return count_pair(&pair, joins, err);
}

static int remove_defaults(int ifindex, int family, struct error **err)
{
	auto_free struct rtnl_route *routes = NULL;
	size_t count;

	if (rtnl_route_list(family, 0, &routes, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (routes[i].to.prefix == 0 && routes[i].ifindex == ifindex &&
		    rtnl_route_del(&routes[i], err) < 0)
			return -1;
	}
	return 0;
}

/* Addresses last: they are what a repeated order goes by. */
static int clear_link(const struct pair *pair, struct error **err)
{
	int index = pair->old_link.index;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (families[i] == AF_INET6 && !sysctl_has_ipv6())
			continue;
		if (remove_defaults(index, families[i], err) < 0 ||
		    rtnl_rule_flush(families[i], table_of(index), err) < 0 ||
		    rtnl_route_flush(families[i], table_of(index), err) < 0)
			return -1;
	}
	for (size_t i = 0; i < pair->old_count; i++) {
		if (rtnl_addr_del(pair->old_link.name, &pair->old_addrs[i], err) < 0)
			return -1;
	}
	return rtnl_link_down(pair->old_link.name, err);
}

static bool all_joined(const struct joins *joins)
{
	return joins->joined == joins->connections && joins->plain == 0;
}

static int require_joined(const struct pair *pair, const struct joins *joins, struct error **err)
{
	if (all_joined(joins))
		return 0;
	return error_set(err, EBUSY,
			 "%s is in use: of %u MPTCP connections %u have joined, and there are %u "
			 "without MPTCP",
			 pair->old_link.name, joins->connections, joins->joined, joins->plain);
}

/* Those that came since the last count join as well, or the old vNIC stays. */
static int await_last_joins(const struct pair *pair, struct error **err)
{
	int64_t deadline = clock_ns() + SETTLE_MS * NS_PER_MS;
	struct joins joins;

	for (;;) {
		if (count_pair(pair, &joins, err) < 0)
			return -1;
		if (all_joined(&joins) || clock_ns() >= deadline)
			return require_joined(pair, &joins, err);
		clock_sleep_ms(10);
	}
}

static int retire(const struct pair *pair, struct error **err)
{
	if (dhcp_stop(pair->old_link.name, err) < 0)
		return -1;
	if (mptcp_pm_check(NULL) == 0) {
		for (size_t i = 0; i < pair->old_count; i++) {
			if (withdraw(&pair->old_addrs[i], err) < 0)
				return -1;
		}
		if (spares_remove(err) < 0)
			return -1;
	}
	if (!joins_await_silence(pair->old_addrs, pair->old_count,
				 clock_ns() + SILENCE_MS * NS_PER_MS))
		log_info("some peers on %s have not confirmed the end of their subflows",
			 pair->old_link.name);
	return clear_link(pair, err);
}

int nic_retire(const uint8_t old_mac[MAC_SIZE], const uint8_t new_mac[MAC_SIZE], bool force,
	       struct error **err)
{
	auto_error why = NULL;
	auto_close refused = -1;
	auto_pair pair = {0};
	struct joins joins;

	if (read_pair(&pair, new_mac, old_mac, err) < 0 || count_pair(&pair, &joins, err) < 0 ||
	    (!force && require_joined(&pair, &joins, err) < 0))
		return -1;
	/* A kernel that can't turn newcomers away has a moment in which one of them is lost. */
	refused = newcomers_refuse(pair.old_link.index, &why);
	if (refused < 0)
		log_info("%s: newcomers are not turned away: %s", pair.old_link.name,
			 error_text(why));
	if (!force && await_last_joins(&pair, err) < 0)
		return -1;
	return retire(&pair, err);
}
