/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_RTNL_H
#define NETSWITCH_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <net/if.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * Links, addresses, routes, rules and neighbours of the calling process's network namespace.
 *
 * Idempotent throughout, so that recovery can repeat what it does not know the end of: adding what
 * is there and deleting what is not are successes. There is no state and no handle; each call
 * opens its own netlink socket, which costs some ten microseconds. Devices are named by name; an
 * absent device is ENODEV, except where something is deleted.
 */

/* --- links (rtnl-link.c) --- */

struct rtnl_link {
	int index;
	char name[IF_NAMESIZE];
	uint8_t mac[MAC_SIZE]; /* zero when it has none of that size */
	bool up;	       /* set up, whether or not a carrier is there */
	bool loopback;
	int master; /* index of its bridge; 0: none */
	uint32_t mtu;
};

/* Index of a device, > 0. */
int rtnl_link_index(const char *dev, struct error **err);

/* All of them, by index. *list is the caller's to free. */
int rtnl_link_list(struct rtnl_link **list, size_t *count, struct error **err);

/*
 * The device with that MAC; of several (a bridge or VLAN on top has its port's) that with the
 * lowest index, which was there first. ENODEV: none.
 */
int rtnl_link_by_mac(const uint8_t mac[MAC_SIZE], struct rtnl_link *link, struct error **err);

int rtnl_link_get(const char *dev, struct rtnl_link *link, struct error **err);
int rtnl_link_up(const char *dev, struct error **err);
int rtnl_link_down(const char *dev, struct error **err);
int rtnl_link_mtu(const char *dev, uint32_t mtu, struct error **err);

/* Makes dev a port of the bridge master; NULL: of none. */
int rtnl_link_master(const char *dev, const char *master, struct error **err);
int rtnl_link_delete(const char *dev, struct error **err);

struct rtnl_vxlan {
	const char *name;
	uint32_t id; /* 24 bits */
	struct ip_addr local, remote;
	int underlay; /* index of the device below, 0: whatever the route says */
	uint16_t port;
	uint8_t mac[MAC_SIZE];
	uint8_t ttl;
	/*
	 * May exceed what the path carries: outer packets leave without DF and are fragmented. Not
	 * with an underlay, whose MTU the kernel then insists on.
	 */
	uint32_t mtu;
};

/*
 * A point-to-point VXLAN device that learns nothing. One of that name that is there is changed to
 * the given local and remote address, and to nothing else.
 */
int rtnl_vxlan_set(const struct rtnl_vxlan *vxlan, struct error **err);

/* --- addresses (rtnl-link.c) --- */

/* With its prefix; IPv6 without duplicate detection, so it can be used at once. */
int rtnl_addr_add(const char *dev, const struct ip_addr *addr, struct error **err);
int rtnl_addr_del(const char *dev, const struct ip_addr *addr, struct error **err);

/* Of dev, or of all devices (NULL); not link-local ones. *list is the caller's to free. */
int rtnl_addr_list(const char *dev, struct ip_addr **list, size_t *count, struct error **err);

/* --- routes, rules, neighbours (rtnl-route.c) --- */

struct rtnl_route {
	struct ip_addr to;     /* network; family set and prefix 0: the default route */
	struct ip_addr via;    /* family 0: on the link */
	bool onlink;	       /* via is on dev though no address of dev says so */
	struct ip_addr source; /* preferred source address; family 0: none */
	int ifindex;
	uint32_t table; /* 0: main */
	uint32_t metric;
	uint32_t mtu; /* whatever the kernel learns; 0: that of the device, or learned */
};

int rtnl_route_replace(const struct rtnl_route *route, struct error **err);
int rtnl_route_del(const struct rtnl_route *route, struct error **err);

/* Unicast routes of a table (0: main). *list is the caller's to free. */
int rtnl_route_list(int family, uint32_t table, struct rtnl_route **list, size_t *count,
		    struct error **err);

/* Deletes the unicast routes of a table. */
int rtnl_route_flush(int family, uint32_t table, struct error **err);

struct rtnl_rule {
	int family;
	struct ip_addr from, to; /* family 0: any */
	char iif[IF_NAMESIZE];	 /* "": any; need not exist (yet) */
	uint32_t table;
	uint32_t priority;
};

int rtnl_rule_add(const struct rtnl_rule *rule, struct error **err);
int rtnl_rule_del(const struct rtnl_rule *rule, struct error **err);

/* Deletes the rules that lead to a table. */
int rtnl_rule_flush(int family, uint32_t table, struct error **err);

/* A permanent neighbour entry. */
int rtnl_neigh_add(const char *dev, const struct ip_addr *addr, const uint8_t mac[MAC_SIZE],
		   struct error **err);
int rtnl_neigh_del(const char *dev, const struct ip_addr *addr, struct error **err);

/* dev answers for addr, provided that the route to it leads elsewhere and dev forwards. */
int rtnl_proxy_add(const char *dev, const struct ip_addr *addr, struct error **err);
int rtnl_proxy_del(const char *dev, const struct ip_addr *addr, struct error **err);

#endif
