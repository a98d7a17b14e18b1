/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "common/cleanup.h"
#include "netswitch/rtnl-send.h"

int rtnl_link_index(const char *dev, struct error **err)
{
	unsigned int index = if_nametoindex(dev);

	if (index == 0)
		return error_set(err, ENODEV, "there is no network device %s", dev);
	return (int)index;
}

static void see_link(const struct nlmsghdr *header, void *context)
{
	const struct ifinfomsg *info;
	const struct nlattr *attrs[IFLA_MAX + 1];
	struct rtnl_list *list = context;
	struct rtnl_link link = {0};

	if (!header) {
		list->count = 0;
		return;
	}
	info = nl_body(header, sizeof(*info));
	if (!info || header->nlmsg_type != RTM_NEWLINK)
		return;
	nl_parse(header, sizeof(*info), attrs, IFLA_MAX);
	link.index = info->ifi_index;
	link.up = info->ifi_flags & IFF_UP;
	link.loopback = info->ifi_flags & IFF_LOOPBACK;
	link.master = (int)nl_u32(attrs[IFLA_MASTER]);
	link.mtu = nl_u32(attrs[IFLA_MTU]);
	strncpy(link.name, nl_string(attrs[IFLA_IFNAME]), sizeof(link.name) - 1);
	if (attrs[IFLA_ADDRESS] && mnl_attr_get_payload_len(attrs[IFLA_ADDRESS]) == MAC_SIZE)
		memcpy(link.mac, mnl_attr_get_payload(attrs[IFLA_ADDRESS]), MAC_SIZE);
	rtnl_list_add(list, &link);
}

static int link_order(const void *a, const void *b)
{
	return ((const struct rtnl_link *)a)->index - ((const struct rtnl_link *)b)->index;
}

int rtnl_link_list(struct rtnl_link **list, size_t *count, struct error **err)
{
	struct rtnl_list links = {.item_size = sizeof(struct rtnl_link)};
	struct ifinfomsg *info;
	struct nl_msg msg;
	int rc;

	info = nl_start(&msg, RTM_GETLINK, NLM_F_DUMP, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	rc = rtnl_ask(&msg, see_link, &links, err);
	if (rc == 0 && links.failed)
		rc = error_set(err, ENOMEM, "no memory for the list of network devices");
	if (rc < 0) {
		free(links.items);
		return -1;
	}
	if (links.count > 0)
		qsort(links.items, links.count, sizeof(struct rtnl_link), link_order);
	*list = links.items;
	*count = links.count;
	return 0;
}

int rtnl_link_by_mac(const uint8_t mac[MAC_SIZE], struct rtnl_link *link, struct error **err)
{
	auto_free struct rtnl_link *list = NULL;
	char text[MAC_TEXT];
	size_t count;

	if (rtnl_link_list(&list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (memcmp(list[i].mac, mac, MAC_SIZE) == 0) {
			*link = list[i];
			return 0;
		}
	}
	return error_set(err, ENODEV, "there is no network device with MAC address %s",
			 mac_format(mac, text));
}

int rtnl_link_get(const char *dev, struct rtnl_link *link, struct error **err)
{
	auto_free struct rtnl_link *list = NULL;
	size_t count;

	if (rtnl_link_list(&list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].name, dev) == 0) {
			*link = list[i];
			return 0;
		}
	}
	return error_set(err, ENODEV, "there is no network device %s", dev);
}

/* Begins a change of a device that is there. */
static struct ifinfomsg *change_link(struct nl_msg *msg, const char *dev, struct error **err)
{
	int index = rtnl_link_index(dev, err);
	struct ifinfomsg *info;

	if (index < 0)
		return NULL;
	info = nl_start(msg, RTM_NEWLINK, 0, sizeof(*info));
	info->ifi_index = index;
	return info;
}

static int set_up(const char *dev, bool up, struct error **err)
{
	struct nl_msg msg;
	struct ifinfomsg *info = change_link(&msg, dev, err);

	if (!info)
		return -1;
	info->ifi_flags = up ? IFF_UP : 0;
	info->ifi_change = IFF_UP;
	if (rtnl_send(&msg, 0, err) < 0)
		return error_wrap(err, "setting %s %s", dev, up ? "up" : "down");
	return 0;
}

int rtnl_link_up(const char *dev, struct error **err)
{
	return set_up(dev, true, err);
}

int rtnl_link_down(const char *dev, struct error **err)
{
	return set_up(dev, false, err);
}

int rtnl_link_mtu(const char *dev, uint32_t mtu, struct error **err)
{
	struct nl_msg msg;

	if (!change_link(&msg, dev, err))
		return -1;
	nl_put_u32(&msg, IFLA_MTU, mtu);
	if (rtnl_send(&msg, 0, err) < 0)
		return error_wrap(err, "MTU %u of %s", mtu, dev);
	return 0;
}

int rtnl_link_master(const char *dev, const char *master, struct error **err)
{
	int index = master ? rtnl_link_index(master, err) : 0;
	struct nl_msg msg;

	if (index < 0 || !change_link(&msg, dev, err))
		return -1;
	nl_put_u32(&msg, IFLA_MASTER, (uint32_t)index);
	if (rtnl_send(&msg, 0, err) < 0)
		return error_wrap(err, "making %s a port of %s", dev,
				  master ? master : "no bridge");
	return 0;
}

int rtnl_link_delete(const char *dev, struct error **err)
{
	struct ifinfomsg *info;
	struct nl_msg msg;

	info = nl_start(&msg, RTM_DELLINK, 0, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	nl_put_string(&msg, IFLA_IFNAME, dev);
	if (rtnl_send(&msg, ENODEV, err) < 0)
		return error_wrap(err, "deleting %s", dev);
	return 0;
}

/* What may be changed later: the two ends. */
static void put_vxlan_ends(struct nl_msg *msg, const struct rtnl_vxlan *vxlan)
{
	bool v4 = vxlan->remote.family == AF_INET;

	rtnl_put_ip(msg, v4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, &vxlan->local);
	rtnl_put_ip(msg, v4 ? IFLA_VXLAN_GROUP : IFLA_VXLAN_GROUP6, &vxlan->remote);
	if (vxlan->underlay)
		nl_put_u32(msg, IFLA_VXLAN_LINK, (uint32_t)vxlan->underlay);
}

static int vxlan_change(const struct rtnl_vxlan *vxlan, struct error **err)
{
	struct nl_msg msg;
	struct nlattr *info, *data;

	if (!change_link(&msg, vxlan->name, err))
		return -1;
	info = nl_nest(&msg, IFLA_LINKINFO);
	nl_put_string(&msg, IFLA_INFO_KIND, "vxlan");
	data = nl_nest(&msg, IFLA_INFO_DATA);
	put_vxlan_ends(&msg, vxlan);
	nl_nest_end(&msg, data);
	nl_nest_end(&msg, info);
	return rtnl_send(&msg, 0, err);
}

int rtnl_vxlan_set(const struct rtnl_vxlan *vxlan, struct error **err)
{
	char local[IP_TEXT], remote[IP_TEXT];
	struct nl_msg msg;
	struct nlattr *info, *data;
	int rc;

	if (if_nametoindex(vxlan->name)) {
		rc = vxlan_change(vxlan, err);
	} else {
		nl_start(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
		nl_put_string(&msg, IFLA_IFNAME, vxlan->name);
		nl_put(&msg, IFLA_ADDRESS, vxlan->mac, MAC_SIZE);
		nl_put_u32(&msg, IFLA_MTU, vxlan->mtu);
		info = nl_nest(&msg, IFLA_LINKINFO);
		nl_put_string(&msg, IFLA_INFO_KIND, "vxlan");
		data = nl_nest(&msg, IFLA_INFO_DATA);
		nl_put_u32(&msg, IFLA_VXLAN_ID, vxlan->id);
		put_vxlan_ends(&msg, vxlan);
		nl_put_u16(&msg, IFLA_VXLAN_PORT, htons(vxlan->port));
		nl_put_u8(&msg, IFLA_VXLAN_TTL, vxlan->ttl);
		nl_put_u8(&msg, IFLA_VXLAN_LEARNING, 0);
		nl_put_u8(&msg, IFLA_VXLAN_DF, VXLAN_DF_UNSET);
		nl_nest_end(&msg, data);
		nl_nest_end(&msg, info);
		rc = rtnl_send(&msg, 0, err);
	}
	if (rc < 0)
		return error_wrap(err, "VXLAN device %s, number %u, from %s to %s", vxlan->name,
				  vxlan->id, ip_format_host(&vxlan->local, local),
				  ip_format_host(&vxlan->remote, remote));
	return 0;
}

/* Begins an RTM_NEWADDR or RTM_DELADDR. */
static void start_addr(struct nl_msg *msg, uint16_t type, uint16_t flags, int index,
		       const struct ip_addr *addr)
{
	struct ifaddrmsg *info = nl_start(msg, type, flags, sizeof(*info));

	info->ifa_family = (uint8_t)addr->family;
	info->ifa_prefixlen = addr->prefix;
	info->ifa_index = (uint32_t)index;
	rtnl_put_ip(msg, IFA_LOCAL, addr);
	rtnl_put_ip(msg, IFA_ADDRESS, addr);
}

int rtnl_addr_add(const char *dev, const struct ip_addr *addr, struct error **err)
{
	int index = rtnl_link_index(dev, err);
	char text[IP_TEXT];
	struct nl_msg msg;

	if (index < 0)
		return -1;
	start_addr(&msg, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, addr);
	if (addr->family == AF_INET && addr->prefix < 31) {
		struct ip_addr broadcast = ip_network(addr);

		for (unsigned int bit = addr->prefix; bit < 32; bit++)
			broadcast.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		rtnl_put_ip(&msg, IFA_BROADCAST, &broadcast);
	}
	if (addr->family == AF_INET6)
		nl_put_u32(&msg, IFA_FLAGS, IFA_F_NODAD);
	if (rtnl_send(&msg, EEXIST, err) < 0)
		return error_wrap(err, "address %s on %s", ip_format(addr, text), dev);
	return 0;
}

int rtnl_addr_del(const char *dev, const struct ip_addr *addr, struct error **err)
{
	unsigned int index = if_nametoindex(dev);
	char text[IP_TEXT];
	struct nl_msg msg;

	if (index == 0)
		return 0;
	start_addr(&msg, RTM_DELADDR, 0, (int)index, addr);
	if (rtnl_send(&msg, EADDRNOTAVAIL, err) < 0)
		return error_wrap(err, "removing address %s from %s", ip_format(addr, text), dev);
	return 0;
}

struct addr_search {
	struct rtnl_list list;
	unsigned int index; /* 0: any device */
};

static void see_addr(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[IFA_MAX + 1], *attr;
	const struct ifaddrmsg *info;
	struct addr_search *search = context;
	struct ip_addr addr;

	if (!header) {
		search->list.count = 0;
		return;
	}
	info = nl_body(header, sizeof(*info));
	if (!info || header->nlmsg_type != RTM_NEWADDR || info->ifa_scope >= RT_SCOPE_LINK ||
	    (search->index && info->ifa_index != search->index) ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return;
	nl_parse(header, sizeof(*info), attrs, IFA_MAX);
	/* A point-to-point address has its own in IFA_LOCAL; an IPv6 one only IFA_ADDRESS. */
	attr = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	addr = (struct ip_addr){.family = info->ifa_family, .prefix = info->ifa_prefixlen};
	if (!attr || mnl_attr_get_payload_len(attr) != ip_size(&addr))
		return;
	memcpy(addr.bytes, mnl_attr_get_payload(attr), ip_size(&addr));
	rtnl_list_add(&search->list, &addr);
}

int rtnl_addr_list(const char *dev, struct ip_addr **list, size_t *count, struct error **err)
{
	struct addr_search search = {.list.item_size = sizeof(struct ip_addr)};
	struct nl_msg msg;
	int rc;

	if (dev) {
		int index = rtnl_link_index(dev, err);

		if (index < 0)
			return -1;
		search.index = (unsigned int)index;
	}
	nl_start(&msg, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
	rc = rtnl_ask(&msg, see_addr, &search, err);
	if (rc == 0 && search.list.failed)
		rc = error_set(err, ENOMEM, "no memory for the list of addresses");
	if (rc < 0) {
		free(search.list.items);
		return -1;
	}
	*list = search.list.items;
	*count = search.list.count;
	return 0;
}
