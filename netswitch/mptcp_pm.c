/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/mptcp_pm.h"

#include <errno.h>
#include <string.h>

#include <linux/genetlink.h>
#include <linux/mptcp.h>

#include "common/netlink.h"
#include "netswitch/sysctl.h"

/* A generic netlink socket and the number that the path manager's family has on this boot. */
struct channel {
	struct nl_socket *sock;
	uint16_t family;
};

static void close_channel(struct channel *channel)
{
	nl_close(channel->sock);
}
#define auto_channel __attribute__((cleanup(close_channel))) struct channel

static int open_channel(struct channel *channel, struct error **err)
{
	int family;

	channel->sock = nl_open(NETLINK_GENERIC, err);
	if (!channel->sock)
		return -1;
	family = genl_family(channel->sock, MPTCP_PM_NAME, NULL, NULL, err);
	if (family < 0)
		return error_wrap(err, "this kernel has no MPTCP path manager");
	channel->family = (uint16_t)family;
	return 0;
}

static void start(const struct channel *channel, struct nl_msg *msg, uint8_t command,
		  uint16_t flags)
{
	genl_start(msg, channel->family, command, MPTCP_PM_VER, flags);
}

int mptcp_pm_check(struct error **err)
{
	struct error *why = NULL;
	long enabled;

	if (sysctl_get(&enabled, &why, "net/mptcp/enabled") < 0) {
		if (why->code != ENOENT)
			return error_propagate(err, why);
		error_free(why);
		return error_set(err, EOPNOTSUPP, "this kernel was built without MPTCP");
	}
	if (!enabled)
		return error_set(err, EOPNOTSUPP, "MPTCP is switched off (net.mptcp.enabled=0)");
	return 0;
}

static void put_address(struct nl_msg *msg, const struct ip_addr *address)
{
	bool v4 = address->family == AF_INET;

	nl_put_u16(msg, MPTCP_PM_ADDR_ATTR_FAMILY, (uint16_t)address->family);
	nl_put(msg, v4 ? MPTCP_PM_ADDR_ATTR_ADDR4 : MPTCP_PM_ADDR_ATTR_ADDR6, address->bytes,
	       ip_size(address));
}

int mptcp_pm_add(const struct mptcp_endpoint *endpoint, struct error **err)
{
	auto_channel channel = {0};
	struct error *why = NULL;
	char text[IP_TEXT];
	struct nl_msg msg;
	struct nlattr *nest;
	int id;

	if (open_channel(&channel, err) < 0)
		return -1;
	start(&channel, &msg, MPTCP_PM_CMD_ADD_ADDR, 0);
	nest = nl_nest(&msg, MPTCP_PM_ATTR_ADDR);
	put_address(&msg, &endpoint->address);
	nl_put_u32(&msg, MPTCP_PM_ADDR_ATTR_FLAGS, endpoint->flags);
	if (endpoint->ifindex)
		nl_put_u32(&msg, MPTCP_PM_ADDR_ATTR_IF_IDX, (uint32_t)endpoint->ifindex);
	nl_nest_end(&msg, nest);
	/* 6.1 answers EINVAL to an address it has, later kernels EEXIST: look rather than trust. */
	if (nl_request(channel.sock, &msg, &why) < 0) {
		id = mptcp_pm_find(&endpoint->address, NULL);
		if (id > 0) {
			error_free(why);
			return id;
		}
		error_propagate(err, why);
		return error_wrap(err, "MPTCP endpoint %s",
				  ip_format_host(&endpoint->address, text));
	}
	id = mptcp_pm_find(&endpoint->address, err);
	if (id == 0)
		return error_set(err, ENOENT, "MPTCP endpoint %s vanished as soon as it was added",
				 ip_format_host(&endpoint->address, text));
	return id;
}

/* Sends DEL_ADDR; EINVAL and ENOENT, "there is no such endpoint", are successes. */
static int del_address(uint8_t id, const struct ip_addr *address, struct error **err)
{
	auto_channel channel = {0};
	struct error *why = NULL;
	struct nl_msg msg;
	struct nlattr *nest;

	if (open_channel(&channel, err) < 0)
		return -1;
	start(&channel, &msg, MPTCP_PM_CMD_DEL_ADDR, 0);
	nest = nl_nest(&msg, MPTCP_PM_ATTR_ADDR);
	nl_put_u8(&msg, MPTCP_PM_ADDR_ATTR_ID, id);
	if (address)
		put_address(&msg, address);
	nl_nest_end(&msg, nest);
	if (nl_request(channel.sock, &msg, &why) == 0)
		return 0;
	if (id > 0 && (why->code == EINVAL || why->code == ENOENT)) {
		error_free(why);
		return 0;
	}
	return error_propagate(err, why);
}

int mptcp_pm_del(uint8_t id, struct error **err)
{
	if (id == 0)
		return error_set(err, EINVAL, "MPTCP endpoint 0 can be withdrawn by address only");
	if (del_address(id, NULL, err) < 0)
		return error_wrap(err, "deleting MPTCP endpoint %u", id);
	return 0;
}

int mptcp_pm_del_initial(const struct ip_addr *address, struct error **err)
{
	char text[IP_TEXT];

	if (del_address(0, address, err) < 0)
		return error_wrap(err, "withdrawing %s from the MPTCP connections begun on it",
				  ip_format_host(address, text));
	return 0;
}

struct endpoint_list {
	struct mptcp_endpoint *list;
	size_t count;
};

static void see_endpoint(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[MPTCP_PM_ATTR_MAX + 1], *in[MPTCP_PM_ADDR_ATTR_MAX + 1], *bytes;
	struct endpoint_list *found = context;
	struct mptcp_endpoint *endpoint;

	if (!header) {
		found->count = 0;
		return;
	}
	if (found->count == MPTCP_PM_MOST)
		return;
	nl_parse(header, GENL_HDRLEN, attrs, MPTCP_PM_ATTR_MAX);
	nl_parse_nested(attrs[MPTCP_PM_ATTR_ADDR], in, MPTCP_PM_ADDR_ATTR_MAX);
	endpoint = &found->list[found->count];
	*endpoint = (struct mptcp_endpoint){
		.address.family = nl_u16(in[MPTCP_PM_ADDR_ATTR_FAMILY]),
		.flags = nl_u32(in[MPTCP_PM_ADDR_ATTR_FLAGS]),
		.ifindex = (int)nl_u32(in[MPTCP_PM_ADDR_ATTR_IF_IDX]),
		.id = nl_u8(in[MPTCP_PM_ADDR_ATTR_ID]),
	};
	bytes = in[endpoint->address.family == AF_INET ? MPTCP_PM_ADDR_ATTR_ADDR4
						       : MPTCP_PM_ADDR_ATTR_ADDR6];
	if (!bytes || mnl_attr_get_payload_len(bytes) != ip_size(&endpoint->address))
		return;
	endpoint->address = ip_from_bytes(endpoint->address.family, mnl_attr_get_payload(bytes));
	found->count++;
}

int mptcp_pm_list(struct mptcp_endpoint list[MPTCP_PM_MOST], size_t *count, struct error **err)
{
	struct endpoint_list found = {.list = list};
	auto_channel channel = {0};
	struct nl_msg msg;

	if (open_channel(&channel, err) < 0)
		return -1;
	start(&channel, &msg, MPTCP_PM_CMD_GET_ADDR, NLM_F_DUMP);
	if (nl_query(channel.sock, &msg, see_endpoint, &found, err) < 0)
		return error_wrap(err, "list of MPTCP endpoints");
	*count = found.count;
	return 0;
}

int mptcp_pm_find(const struct ip_addr *address, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	size_t count = 0;

	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (ip_same(&list[i].address, address))
			return list[i].id;
	}
	return 0;
}

static void see_limits(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[MPTCP_PM_ATTR_MAX + 1];
	struct mptcp_limits *limits = context;

	if (!header)
		return;
	nl_parse(header, GENL_HDRLEN, attrs, MPTCP_PM_ATTR_MAX);
	limits->subflows = nl_u32(attrs[MPTCP_PM_ATTR_SUBFLOWS]);
	limits->add_addr_accepted = nl_u32(attrs[MPTCP_PM_ATTR_RCV_ADD_ADDRS]);
}

int mptcp_pm_get_limits(struct mptcp_limits *limits, struct error **err)
{
	auto_channel channel = {0};
	struct nl_msg msg;

	if (open_channel(&channel, err) < 0)
		return -1;
	start(&channel, &msg, MPTCP_PM_CMD_GET_LIMITS, 0);
	if (nl_query(channel.sock, &msg, see_limits, limits, err) < 0)
		return error_wrap(err, "reading the MPTCP limits");
	return 0;
}

int mptcp_pm_set_limits(const struct mptcp_limits *limits, struct error **err)
{
	auto_channel channel = {0};
	struct nl_msg msg;

	if (open_channel(&channel, err) < 0)
		return -1;
	start(&channel, &msg, MPTCP_PM_CMD_SET_LIMITS, 0);
	nl_put_u32(&msg, MPTCP_PM_ATTR_SUBFLOWS, limits->subflows);
	nl_put_u32(&msg, MPTCP_PM_ATTR_RCV_ADD_ADDRS, limits->add_addr_accepted);
	if (nl_request(channel.sock, &msg, err) < 0)
		return error_wrap(err, "MPTCP limits %u subflows, %u accepted addresses",
				  limits->subflows, limits->add_addr_accepted);
	return 0;
}
