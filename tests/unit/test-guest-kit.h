/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_TEST_GUEST_KIT_H
#define TESTS_UNIT_TEST_GUEST_KIT_H

/*
 * A VM with two vNICs, its client, and the agent's orders.
 *
 *   client ------- net ------- a  VM   10.80.1.0/24
 *  10.90.0.2        |--------- b       10.80.2.0/24
 */
#include "tests/unit/test-netswitch-kit.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/guest/agent.h"
#include "netswitch/guest/nic.h"
#include "netswitch/mptcp_pm.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int client, net, vm;
static const char *const macs[] = {"52:54:00:00:00:01", "52:54:00:00:00:02"};
static const char *const gateways[] = {"10.80.1.1", "10.80.2.1"};
static struct agent *agent;

/* --- the network --- */

static inline void vm_nic(const char *name, const char *mac_text, const char *far,
			  const char *gateway)
{
	struct nl_msg msg;
	struct ifinfomsg *info;
	uint8_t mac[MAC_SIZE];

	ns_enter(net);
	veth_create(far, name, vm);
	dev_address(far, gateway);
	ns_enter(vm);
	assert_ok(mac_parse(mac_text, mac, &err));
	info = nl_start(&msg, RTM_NEWLINK, 0, sizeof(*info));
	info->ifi_index = (int)if_nametoindex(name);
	nl_put(&msg, IFLA_ADDRESS, mac, sizeof(mac));
	kit_request(&msg);
}

static inline int set_up(void **state)
{
	const struct mptcp_limits most = {8, 8};
	char root[] = "/tmp/edgehop-test-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(root));
	setenv("EDGEHOP_ROOT", root, 1);
	client = ns_create();
	net = ns_create();
	vm = ns_create();
	ns_enter(net);
	assert_ok(sysctl_set(1, &err, "net/ipv4/ip_forward"));
	veth_create("to-client", "eth0", client);
	dev_address("to-client", "10.90.0.1/24");
	ns_enter(client);
	dev_address("eth0", "10.90.0.2/24");
	default_route("10.90.0.1", "eth0");
	assert_ok(mptcp_pm_set_limits(&most, &err));
	vm_nic("a", macs[0], "to-a", "10.80.1.1/24");
	vm_nic("b", macs[1], "to-b", "10.80.2.1/24");
	ns_enter(vm);
	assert_ok(nic_prepare_mptcp(&err));
	agent = agent_create(NULL);
	assert_non_null(agent);
	return 0;
}

static inline int tear_down(void **state)
{
	char command[64];

	(void)state;
	agent_destroy(agent);
	close(client);
	close(net);
	close(vm);
	snprintf(command, sizeof(command), "rm -rf %s", getenv("EDGEHOP_ROOT"));
	return system(command);
}

/* --- connections --- */

static inline int listen_in(int ns, const char *address, uint16_t port, int protocol)
{
	struct sockaddr_storage sa;
	socklen_t length = sockaddr_of(address, port, &sa);
	int on = 1, fd;

	ns_enter(ns);
	fd = socket(sa.ss_family, SOCK_STREAM, protocol);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

/* A connection to a listener; the two ends. */
static inline void connect_in(int ns, int listener, const char *address, uint16_t port,
			      int protocol, int *connected, int *accepted)
{
	struct sockaddr_storage sa;
	socklen_t length = sockaddr_of(address, port, &sa);

	ns_enter(ns);
	*connected = socket(sa.ss_family, SOCK_STREAM, protocol);
	assert_true(*connected >= 0);
	assert_int_equal(connect(*connected, (struct sockaddr *)&sa, length), 0);
	*accepted = accept(listener, NULL, NULL);
	assert_true(*accepted >= 0);
	ns_enter(vm);
}

struct pair {
	int vm_fd, client_fd;
};

static inline struct pair open_pair(int listener, const char *address, uint16_t port, int protocol)
{
	struct pair pair;

	connect_in(client, listener, address, port, protocol, &pair.client_fd, &pair.vm_fd);
	return pair;
}

static inline void close_pair(struct pair *pair)
{
	close(pair->vm_fd);
	close(pair->client_fd);
}

static inline void exchange(const struct pair *pair)
{
	char byte = 'x';

	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(pair->client_fd, &byte, 1, 0), 1);
		assert_int_equal(recv(pair->vm_fd, &byte, 1, MSG_WAITALL), 1);
		assert_int_equal(send(pair->vm_fd, &byte, 1, 0), 1);
		assert_int_equal(recv(pair->client_fd, &byte, 1, MSG_WAITALL), 1);
	}
}

/* --- orders --- */

static json_int_t next_id = 1;

/* Carries out an order that should succeed; its reply is the caller's. */
static inline json_t *give(json_t *order)
{
	json_t *reply;

	assert_non_null(order);
	json_object_set_new(order, "edgehop", json_integer(1));
	json_object_set_new(order, "id", json_integer(next_id++));
	ns_enter(vm);
	reply = agent_answer(agent, order);
	json_decref(order);
	assert_non_null(reply);
	if (!json_is_true(json_object_get(reply, "ok")))
		fail_msg("%s", json_string_value(json_object_get(reply, "error")));
	return reply;
}

static inline void order_addresses(const char *order, const char *mac, const char *address,
				   const char *gateway)
{
	json_decref(give(json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "order", order, "nic", mac,
				   "addresses", "address", address, "gateway", gateway)));
}

struct counts {
	int connections, joined, plain;
};

static inline struct counts order_joined(const char *new_mac, const char *old_mac)
{
	auto_json reply =
		give(json_pack("{s:s,s:s,s:s}", "order", "joined", "nic", new_mac, "old", old_mac));
	struct counts counts = {
		.connections = (int)json_integer_value(json_object_get(reply, "connections")),
		.joined = (int)json_integer_value(json_object_get(reply, "joined")),
		.plain = (int)json_integer_value(json_object_get(reply, "plain")),
	};

	return counts;
}

static inline void await_joins(const char *new_mac, const char *old_mac, int expected)
{
	int64_t until = clock_ns() + 5 * NS_PER_SEC;
	struct counts counts;

	do {
		counts = order_joined(new_mac, old_mac);
		if (counts.joined == counts.connections)
			break;
		usleep(2000);
	} while (clock_ns() < until);
	assert_int_equal(counts.connections, expected);
	assert_int_equal(counts.joined, expected);
	assert_int_equal(counts.plain, 0);
}

static inline void order_retire(const char *old_mac, const char *new_mac)
{
	json_decref(give(
		json_pack("{s:s,s:s,s:s}", "order", "retire", "nic", old_mac, "new", new_mac)));
}

static inline void assert_nic_idle(const char *dev)
{
	auto_free struct ip_addr *addrs = NULL;
	struct rtnl_link link;
	size_t count;

	ns_enter(vm);
	assert_ok(rtnl_link_get(dev, &link, &err));
	assert_false(link.up);
	assert_ok(rtnl_addr_list(dev, &addrs, &count, &err));
	assert_int_equal(count, 0);
}

#endif
