/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_TEST_NETSWITCH_KIT_H
#define TESTS_UNIT_TEST_NETSWITCH_KIT_H

/*
 * Network namespaces as fixtures for unit tests: one process steps from one to the next, and a
 * socket stays where it was made.
 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netinet/in.h>

#include "common/netlink.h"
#include "netswitch/ip.h"
#include "netswitch/rtnl.h"
#include "netswitch/sysctl.h"

/* The call succeeds; else its error is the failure's text. */
#define assert_ok(call)                                                                            \
	do {                                                                                       \
		struct error *err = NULL;                                                          \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, error_text(err));                                \
		assert_null(err);                                                                  \
	} while (0)

/* The call fails with that code. */
#define assert_error(call, expected)                                                               \
	do {                                                                                       \
		struct error *err = NULL;                                                          \
		assert_true((call) < 0);                                                           \
		assert_non_null(err);                                                              \
		if (err->code != (expected))                                                       \
			fail_msg("%s: %s (%d, not %d)", #call, err->message, err->code, expected); \
		error_free(err);                                                                   \
	} while (0)

static inline bool may_make_namespaces(void)
{
	if (geteuid() == 0)
		return true;
	fprintf(stderr, "skipped: network namespaces need root\n");
	return false;
}

/* A new network namespace, entered, its loopback up. Returns a descriptor of it. */
static inline int ns_create(void)
{
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	/* Else IPv6 is mute for the first second of each device. */
	assert_ok(sysctl_set(0, &err, "net/ipv6/conf/all/accept_dad"));
	assert_ok(sysctl_set(0, &err, "net/ipv6/conf/default/accept_dad"));
	assert_ok(rtnl_link_up("lo", &err));
	return fd;
}

static inline void ns_enter(int fd)
{
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

static inline void kit_request(struct nl_msg *msg)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, NULL);

	assert_non_null(sock);
	assert_ok(nl_request(sock, msg, &err));
}

/* A veth pair: one end here, the other in the namespace peer_ns (-1: here too). */
static inline void veth_create(const char *name, const char *peer, int peer_ns)
{
	struct nl_msg msg;
	struct nlattr *info, *data, *end;

	nl_start(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	nl_put_string(&msg, IFLA_IFNAME, name);
	info = nl_nest(&msg, IFLA_LINKINFO);
	nl_put_string(&msg, IFLA_INFO_KIND, "veth");
	data = nl_nest(&msg, IFLA_INFO_DATA);
	end = mnl_nlmsg_get_payload_tail(nl_header(&msg));
	nl_put(&msg, VETH_INFO_PEER, &(struct ifinfomsg){0}, sizeof(struct ifinfomsg));
	nl_put_string(&msg, IFLA_IFNAME, peer);
	if (peer_ns >= 0)
		nl_put_u32(&msg, IFLA_NET_NS_FD, (uint32_t)peer_ns);
	nl_nest_end(&msg, end);
	nl_nest_end(&msg, data);
	nl_nest_end(&msg, info);
	kit_request(&msg);
}

static inline void bridge_create(const char *name)
{
	struct nl_msg msg;
	struct nlattr *info;

	nl_start(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	nl_put_string(&msg, IFLA_IFNAME, name);
	info = nl_nest(&msg, IFLA_LINKINFO);
	nl_put_string(&msg, IFLA_INFO_KIND, "bridge");
	nl_nest_end(&msg, info);
	kit_request(&msg);
}

static inline void link_to_ns(const char *dev, int ns)
{
	struct nl_msg msg;
	struct ifinfomsg *info = nl_start(&msg, RTM_NEWLINK, 0, sizeof(*info));

	info->ifi_index = (int)if_nametoindex(dev);
	nl_put_u32(&msg, IFLA_NET_NS_FD, (uint32_t)ns);
	kit_request(&msg);
}

static inline struct ip_addr ip(const char *text)
{
	struct ip_addr addr;

	assert_ok(ip_parse(text, &addr, &err));
	return addr;
}

/* dev up, with an address. */
static inline void dev_address(const char *dev, const char *address)
{
	struct ip_addr addr = ip(address);

	assert_ok(rtnl_link_up(dev, &err));
	assert_ok(rtnl_addr_add(dev, &addr, &err));
}

static inline void default_route(const char *gateway, const char *dev)
{
	struct rtnl_route route = {
		.via = ip(gateway),
		.ifindex = (int)if_nametoindex(dev),
	};

	route.to.family = route.via.family;
	assert_ok(rtnl_route_replace(&route, &err));
}

static inline socklen_t sockaddr_of(const char *address, uint16_t port, struct sockaddr_storage *sa)
{
	struct ip_addr addr = ip(address);

	memset(sa, 0, sizeof(*sa));
	sa->ss_family = (sa_family_t)addr.family;
	if (addr.family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)sa;

		memcpy(&in->sin_addr, addr.bytes, 4);
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;

	memcpy(&in6->sin6_addr, addr.bytes, 16);
	in6->sin6_port = htons(port);
	return sizeof(*in6);
}

#endif
