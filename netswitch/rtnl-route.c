/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/rtnl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "common/cleanup.h"
#include "netswitch/rtnl-send.h"

/* The one byte of old headers can't hold our numbers; the attribute beside it does. */
static uint8_t short_table(uint32_t table)
{
	return table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
}

static uint32_t real_table(uint32_t table)
{
	return table ? table : RT_TABLE_MAIN;
}

static void put_route(struct nl_msg *msg, const struct rtnl_route *route)
{
	nl_put_u32(msg, RTA_TABLE, real_table(route->table));
	if (route->to.prefix > 0)
		rtnl_put_ip(msg, RTA_DST, &route->to);
	if (route->via.family)
		rtnl_put_ip(msg, RTA_GATEWAY, &route->via);
	if (route->source.family)
		rtnl_put_ip(msg, RTA_PREFSRC, &route->source);
	if (route->ifindex)
		nl_put_u32(msg, RTA_OIF, (uint32_t)route->ifindex);
	if (route->metric)
		nl_put_u32(msg, RTA_PRIORITY, route->metric);
}

static void put_mtu(struct nl_msg *msg, uint32_t mtu)
{
	struct nlattr *nest = nl_nest(msg, RTA_METRICS);

	nl_put_u32(msg, RTAX_LOCK, 1 << RTAX_MTU);
	nl_put_u32(msg, RTAX_MTU, mtu);
	nl_nest_end(msg, nest);
}

int rtnl_route_replace(const struct rtnl_route *route, struct error **err)
{
	char to[IP_TEXT], via[IP_TEXT], dev[IF_NAMESIZE] = "";
	struct rtmsg *info;
	struct nl_msg msg;

	info = nl_start(&msg, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info));
	*info = (struct rtmsg){
		.rtm_family = (uint8_t)route->to.family,
		.rtm_dst_len = route->to.prefix,
		.rtm_table = short_table(real_table(route->table)),
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = route->via.family ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = route->onlink ? RTNH_F_ONLINK : 0,
	};
	put_route(&msg, route);
	if (route->mtu)
		put_mtu(&msg, route->mtu);
	if (rtnl_send(&msg, 0, err) < 0)
		return error_wrap(err, "route to %s via %s, device %s", ip_format(&route->to, to),
				  ip_format_host(&route->via, via),
				  if_indextoname((unsigned int)route->ifindex, dev) ? dev : "?");
	return 0;
}

int rtnl_route_del(const struct rtnl_route *route, struct error **err)
{
	char to[IP_TEXT];
	struct rtmsg *info;
	struct nl_msg msg;

	info = nl_start(&msg, RTM_DELROUTE, 0, sizeof(*info));
	*info = (struct rtmsg){
		.rtm_family = (uint8_t)route->to.family,
		.rtm_dst_len = route->to.prefix,
		.rtm_table = short_table(real_table(route->table)),
		.rtm_scope = RT_SCOPE_NOWHERE, /* whatever it has */
	};
	put_route(&msg, route);
	if (rtnl_send(&msg, ESRCH, err) < 0)
		return error_wrap(err, "deleting the route to %s", ip_format(&route->to, to));
	return 0;
}

static bool take_ip(struct ip_addr *addr, int family, const struct nlattr *attr)
{
	*addr = (struct ip_addr){.family = family};
	if (!attr || mnl_attr_get_payload_len(attr) != ip_size(addr)) {
		addr->family = 0;
		return false;
	}
	memcpy(addr->bytes, mnl_attr_get_payload(attr), ip_size(addr));
	addr->prefix = (uint8_t)(ip_size(addr) * 8);
	return true;
}

struct route_search {
	struct rtnl_list list;
	int family;
	uint32_t table;
};

static void see_route(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[RTA_MAX + 1];
	struct route_search *search = context;
	struct rtnl_route route = {0};
	const struct rtmsg *info;

	if (!header) {
		search->list.count = 0;
		return;
	}
	info = nl_body(header, sizeof(*info));
	if (!info || header->nlmsg_type != RTM_NEWROUTE || info->rtm_family != search->family ||
	    info->rtm_type != RTN_UNICAST || (info->rtm_flags & RTM_F_CLONED))
		return;
	nl_parse(header, sizeof(*info), attrs, RTA_MAX);
	route.table = attrs[RTA_TABLE] ? nl_u32(attrs[RTA_TABLE]) : info->rtm_table;
	if (route.table != search->table)
		return;
	take_ip(&route.to, search->family, attrs[RTA_DST]);
	route.to.family = search->family;
	route.to.prefix = info->rtm_dst_len;
	take_ip(&route.via, search->family, attrs[RTA_GATEWAY]);
	take_ip(&route.source, search->family, attrs[RTA_PREFSRC]);
	route.onlink = info->rtm_flags & RTNH_F_ONLINK;
	route.ifindex = (int)nl_u32(attrs[RTA_OIF]);
	route.metric = nl_u32(attrs[RTA_PRIORITY]);
	rtnl_list_add(&search->list, &route);
}

int rtnl_route_list(int family, uint32_t table, struct rtnl_route **list, size_t *count,
		    struct error **err)
{
	struct route_search search = {
		.list.item_size = sizeof(struct rtnl_route),
		.family = family,
		.table = real_table(table),
	};
	struct error *why = NULL;
	struct rtmsg *info;
	struct nl_msg msg;
	int rc;

	info = nl_start(&msg, RTM_GETROUTE, NLM_F_DUMP, sizeof(*info));
	info->rtm_family = (uint8_t)family;
	nl_put_u32(&msg, RTA_TABLE, search.table);
	rc = rtnl_ask(&msg, see_route, &search, &why);
	/* A table that never had a route does not exist. */
	if (rc < 0 && why->code == ENOENT) {
		error_free(why);
		rc = 0;
	} else if (rc < 0) {
		error_propagate(err, why);
		error_wrap(err, "routes of table %u", search.table);
	} else if (search.list.failed) {
		rc = error_set(err, ENOMEM, "no memory for the routes of table %u", search.table);
	}
	if (rc < 0) {
		free(search.list.items);
		return -1;
	}
	*list = search.list.items;
	*count = search.list.count;
	return 0;
}

int rtnl_route_flush(int family, uint32_t table, struct error **err)
{
	auto_free struct rtnl_route *list = NULL;
	size_t count;

	if (rtnl_route_list(family, table, &list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (rtnl_route_del(&list[i], err) < 0)
			return -1;
	}
	return 0;
}

static void start_rule(struct nl_msg *msg, uint16_t type, uint16_t flags,
		       const struct rtnl_rule *rule)
{
	struct fib_rule_hdr *info = nl_start(msg, type, flags, sizeof(*info));

	*info = (struct fib_rule_hdr){
		.family = (uint8_t)rule->family,
		.src_len = rule->from.family ? rule->from.prefix : 0,
		.dst_len = rule->to.family ? rule->to.prefix : 0,
		.table = short_table(real_table(rule->table)),
		.action = FR_ACT_TO_TBL,
	};
	nl_put_u32(msg, FRA_TABLE, real_table(rule->table));
	nl_put_u32(msg, FRA_PRIORITY, rule->priority);
	if (info->src_len)
		rtnl_put_ip(msg, FRA_SRC, &rule->from);
	if (info->dst_len)
		rtnl_put_ip(msg, FRA_DST, &rule->to);
	if (rule->iif[0])
		nl_put_string(msg, FRA_IIFNAME, rule->iif);
}

int rtnl_rule_add(const struct rtnl_rule *rule, struct error **err)
{
	struct nl_msg msg;

	start_rule(&msg, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
	if (rtnl_send(&msg, EEXIST, err) < 0)
		return error_wrap(err, "rule that leads to table %u", rule->table);
	return 0;
}

int rtnl_rule_del(const struct rtnl_rule *rule, struct error **err)
{
	struct nl_msg msg;

	start_rule(&msg, RTM_DELRULE, 0, rule);
	if (rtnl_send(&msg, ENOENT, err) < 0)
		return error_wrap(err, "deleting the rule that leads to table %u", rule->table);
	return 0;
}

static void see_rule(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[FRA_MAX + 1];
	struct route_search *search = context;
	const struct fib_rule_hdr *info;
	struct rtnl_rule rule = {.family = search->family};

	if (!header) {
		search->list.count = 0;
		return;
	}
	info = nl_body(header, sizeof(*info));
	if (!info || header->nlmsg_type != RTM_NEWRULE || info->family != search->family)
		return;
	nl_parse(header, sizeof(*info), attrs, FRA_MAX);
	rule.table = attrs[FRA_TABLE] ? nl_u32(attrs[FRA_TABLE]) : info->table;
	if (rule.table != search->table)
		return;
	if (take_ip(&rule.from, search->family, attrs[FRA_SRC]))
		rule.from.prefix = info->src_len;
	if (take_ip(&rule.to, search->family, attrs[FRA_DST]))
		rule.to.prefix = info->dst_len;
	strncpy(rule.iif, nl_string(attrs[FRA_IIFNAME]), sizeof(rule.iif) - 1);
	rule.priority = nl_u32(attrs[FRA_PRIORITY]);
	rtnl_list_add(&search->list, &rule);
}

int rtnl_rule_flush(int family, uint32_t table, struct error **err)
{
	struct route_search search = {
		.list.item_size = sizeof(struct rtnl_rule),
		.family = family,
		.table = real_table(table),
	};
	auto_free struct rtnl_rule *rules = NULL;
	struct fib_rule_hdr *info;
	struct nl_msg msg;
	int rc;

	info = nl_start(&msg, RTM_GETRULE, NLM_F_DUMP, sizeof(*info));
	info->family = (uint8_t)family;
	rc = rtnl_ask(&msg, see_rule, &search, err);
	rules = search.list.items;
	if (rc < 0)
		return error_wrap(err, "reading the rules");
	if (search.list.failed)
		return error_set(err, ENOMEM, "no memory for the list of rules");
	for (size_t i = 0; i < search.list.count; i++) {
		if (rtnl_rule_del(&rules[i], err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Adds or deletes a neighbour or (flags NTF_PROXY) an address answered for. Deleting from a device
 * that is gone is a success.
 */
static int change_neigh(const char *dev, const struct ip_addr *addr, bool add, uint8_t flags,
			const uint8_t *mac, struct error **err)
{
	int index = add ? rtnl_link_index(dev, err) : (int)if_nametoindex(dev);
	uint16_t type = add ? RTM_NEWNEIGH : RTM_DELNEIGH;
	char text[IP_TEXT];
	struct ndmsg *info;
	struct nl_msg msg;

	if (index <= 0)
		return index;
	info = nl_start(&msg, type, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*info));
	*info = (struct ndmsg){
		.ndm_family = (uint8_t)addr->family,
		.ndm_ifindex = index,
		.ndm_flags = flags,
		.ndm_state = NUD_PERMANENT,
	};
	rtnl_put_ip(&msg, NDA_DST, addr);
	if (mac)
		nl_put(&msg, NDA_LLADDR, mac, MAC_SIZE);
	if (rtnl_send(&msg, add ? 0 : ENOENT, err) < 0)
		return error_wrap(err, "%s %s %s on %s", add ? "adding" : "deleting",
				  flags & NTF_PROXY ? "proxy for" : "neighbour",
				  ip_format_host(addr, text), dev);
	return 0;
}

int rtnl_neigh_add(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
		   struct error **err)
{
	return change_neigh(dev, addr, true, 0, mac, err);
}

int rtnl_neigh_del(const char *dev, const struct ip_addr *addr, struct error **err)
{
	return change_neigh(dev, addr, false, 0, NULL, err);
}

int rtnl_proxy_add(const char *dev, const struct ip_addr *addr, struct error **err)
{
	return change_neigh(dev, addr, true, NTF_PROXY, NULL, err);
}

int rtnl_proxy_del(const char *dev, const struct ip_addr *addr, struct error **err)
{
	return change_neigh(dev, addr, false, NTF_PROXY, NULL, err);
}
