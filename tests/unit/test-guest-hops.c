/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/guest/agent.h"
#include "netswitch/guest/nic.h"
#include "netswitch/mptcp_pm.h"

/*
 *   client ------- net ------- a  VM   10.80.1.0/24
 *  10.90.0.2        |--------- b       10.80.2.0/24
 *
 * The VM's connections carry a known byte sequence both ways, without a pause, while the agent is
 * ordered through hops.
 */
#define HOPS	    10
#define CONNECTIONS 40 /* room for them */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int client, net, vm;
static const char *const macs[] = {"52:54:00:00:00:01", "52:54:00:00:00:02"};
static struct agent *agent;

/* --- the network --- */

static void vm_nic(const char *name, const char *mac_text, const char *far, const char *gateway)
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

static int set_up(void **state)
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

static int tear_down(void **state)
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

/* --- connections that never rest --- */

struct connection {
	int vm_fd, client_fd;
	uint64_t sent[2], received[2]; /* to the client, to the VM */
	int64_t last_ns[2], gap_ns[2];
	bool broken;
};

static struct connection connections[CONNECTIONS];
static atomic_int connection_count;
static atomic_bool pumping;

static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 31 + (position >> 8));
}

static void pump_one(struct connection *c, int direction)
{
	int from = direction ? c->client_fd : c->vm_fd, to = direction ? c->vm_fd : c->client_fd;
	int64_t now = clock_ns();
	uint8_t data[2048];
	ssize_t n;

	if (c->sent[direction] - c->received[direction] < 64 * 1024) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = byte_at(c->sent[direction] + i);
		n = send(from, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			c->sent[direction] += (uint64_t)n;
		c->broken |= n < 0 && errno != EAGAIN;
	}
	n = recv(to, data, sizeof(data), MSG_DONTWAIT);
	c->broken |= n == 0 || (n < 0 && errno != EAGAIN);
	for (ssize_t i = 0; i < n; i++)
		c->broken |= data[i] != byte_at(c->received[direction] + (uint64_t)i);
	if (n <= 0)
		return;
	c->received[direction] += (uint64_t)n;
	if (c->last_ns[direction] && now - c->last_ns[direction] > c->gap_ns[direction])
		c->gap_ns[direction] = now - c->last_ns[direction];
	c->last_ns[direction] = now;
}

static void *pump(void *unused)
{
	while (pumping) {
		for (int i = 0; i < connection_count; i++) {
			pump_one(&connections[i], 0);
			pump_one(&connections[i], 1);
		}
		usleep(200);
	}
	return unused;
}

static int listen_in(int ns, const char *address, uint16_t port, int protocol)
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
static void connect_in(int ns, int listener, const char *address, uint16_t port, int protocol,
		       int *connected, int *accepted)
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

static void add_connection(int vm_fd, int client_fd)
{
	connections[connection_count] = (struct connection){.vm_fd = vm_fd, .client_fd = client_fd};
	connection_count++;
}

static void assert_alive(const char *when)
{
	uint64_t before[CONNECTIONS][2];

	for (int i = 0; i < connection_count; i++)
		memcpy(before[i], connections[i].received, sizeof(before[i]));
	for (int i = 0; i < connection_count; i++) {
		for (int d = 0; d < 2; d++) {
			int64_t until = clock_ns() + 3 * NS_PER_SEC;

			while (connections[i].received[d] < before[i][d] + 4096 &&
			       !connections[i].broken && clock_ns() < until)
				usleep(1000);
			if (connections[i].broken || clock_ns() >= until)
				fail_msg("%s: connection %d, %s: %s", when, i,
					 d ? "to the VM" : "to the client",
					 connections[i].broken ? "broken" : "stands still");
		}
	}
}

static void close_connections(void)
{
	uint64_t bytes = 0;
	int64_t gap_ns = 0;

	for (int i = 0; i < connection_count; i++) {
		for (int d = 0; d < 2; d++) {
			bytes += connections[i].received[d];
			if (connections[i].gap_ns[d] > gap_ns)
				gap_ns = connections[i].gap_ns[d];
		}
		close(connections[i].vm_fd);
		close(connections[i].client_fd);
	}
	print_message("%d connections, %llu KiB, largest gap %lld ms\n", connection_count,
		      (unsigned long long)bytes >> 10, (long long)(gap_ns / NS_PER_MS));
	connection_count = 0;
}

/* --- orders --- */

static json_int_t next_id = 1;

/* Carries out an order that should succeed; its reply is the caller's. */
static json_t *give(json_t *order)
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

static void order_addresses(const char *order, const char *mac, const char *address,
			    const char *gateway)
{
	json_decref(give(json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "order", order, "nic", mac,
				   "addresses", "address", address, "gateway", gateway)));
}

struct counts {
	int connections, joined, plain;
};

static struct counts order_joined(const char *new_mac, const char *old_mac)
{
	auto_json reply = give(json_pack("{s:s,s:s,s:s}", "order", "joined", "nic", new_mac, "old",
					 old_mac));
	struct counts counts = {
		.connections = (int)json_integer_value(json_object_get(reply, "connections")),
		.joined = (int)json_integer_value(json_object_get(reply, "joined")),
		.plain = (int)json_integer_value(json_object_get(reply, "plain")),
	};

	return counts;
}

static void await_joins(const char *new_mac, const char *old_mac, int expected)
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

static void order_retire(const char *old_mac, const char *new_mac)
{
	json_decref(give(json_pack("{s:s,s:s,s:s}", "order", "retire", "nic", old_mac, "new",
				   new_mac)));
}

static void assert_nic_idle(const char *dev)
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

static void test_connections_survive_ten_hops(void **state)
{
	const char *const gateways[] = {"10.80.1.1", "10.80.2.1"}, *const devs[] = {"a", "b"};
	int v4, v6, far, vm_end, client_end;
	pthread_t thread;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	v4 = listen_in(vm, "0.0.0.0", 5001, IPPROTO_MPTCP);
	v6 = listen_in(vm, "::", 5002, IPPROTO_MPTCP);
	far = listen_in(client, "0.0.0.0", 6001, IPPROTO_MPTCP);
	pumping = true;
	assert_int_equal(pthread_create(&thread, NULL, pump, NULL), 0);
	for (int hop = 0; hop < HOPS; hop++) {
		int from = hop % 2, to = 1 - from;
		char old_address[IP_TEXT], new_address[IP_TEXT], when[32];

		/* There and back: most connections return to the address that they began on. */
		snprintf(old_address, sizeof(old_address), "10.80.%d.10", from + 1);
		snprintf(new_address, sizeof(new_address), "10.80.%d.10/24", to + 1);
		connect_in(client, v4, old_address, 5001, IPPROTO_MPTCP, &client_end, &vm_end);
		add_connection(vm_end, client_end);
		connect_in(client, v6, old_address, 5002, IPPROTO_MPTCP, &client_end, &vm_end);
		add_connection(vm_end, client_end);
		connect_in(vm, far, "10.90.0.2", 6001, IPPROTO_MPTCP, &vm_end, &client_end);
		add_connection(vm_end, client_end);
		snprintf(when, sizeof(when), "before hop %d", hop);
		assert_alive(when);
		order_addresses("announce", macs[to], new_address, gateways[to]);
		await_joins(macs[to], macs[from], connection_count);
		order_retire(macs[from], macs[to]);
		assert_nic_idle(devs[from]);
		snprintf(when, sizeof(when), "after hop %d", hop);
		assert_alive(when);
	}
	pumping = false;
	pthread_join(thread, NULL);
	close_connections();
	close(v4);
	close(v6);
	close(far);
}

/* Connections as they come and go, without the pump: what is counted, and what holds a vNIC. */

struct pair {
	int vm_fd, client_fd;
};

static struct pair open_pair(int listener, const char *address, uint16_t port, int protocol)
{
	struct pair pair;

	connect_in(client, listener, address, port, protocol, &pair.client_fd, &pair.vm_fd);
	return pair;
}

static void close_pair(struct pair *pair)
{
	close(pair->vm_fd);
	close(pair->client_fd);
}

static void exchange(const struct pair *pair)
{
	char byte = 'x';

	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(pair->client_fd, &byte, 1, 0), 1);
		assert_int_equal(recv(pair->vm_fd, &byte, 1, MSG_WAITALL), 1);
		assert_int_equal(send(pair->vm_fd, &byte, 1, 0), 1);
		assert_int_equal(recv(pair->client_fd, &byte, 1, MSG_WAITALL), 1);
	}
}

static void order_fails(json_t *order, const char *error)
{
	auto_json reply = NULL;

	json_object_set_new(order, "edgehop", json_integer(1));
	json_object_set_new(order, "id", json_integer(next_id++));
	ns_enter(vm);
	reply = agent_answer(agent, order);
	json_decref(order);
	assert_true(json_is_false(json_object_get(reply, "ok")));
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")), error));
}

static json_t *retire_order(const char *old_mac, const char *new_mac)
{
	return json_pack("{s:s,s:s,s:s}", "order", "retire", "nic", old_mac, "new", new_mac);
}

static void test_plain_connection_holds_the_vnic(void **state)
{
	struct pair plain, mptcp;
	struct counts counts;
	int listener;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", "10.80.1.1");
	listener = listen_in(vm, "0.0.0.0", 5001, IPPROTO_MPTCP);
	plain = open_pair(listener, "10.80.1.10", 5001, IPPROTO_TCP);
	mptcp = open_pair(listener, "10.80.1.10", 5001, IPPROTO_MPTCP);
	exchange(&plain);
	exchange(&mptcp);
	counts = order_joined(macs[1], macs[0]);
	assert_int_equal(counts.connections, 1);
	assert_int_equal(counts.joined, 0);
	assert_int_equal(counts.plain, 1);
	order_fails(retire_order(macs[0], macs[1]), "is in use");
	order_addresses("announce", macs[1], "10.80.2.10/24", "10.80.2.1");
	do
		counts = order_joined(macs[1], macs[0]);
	while (counts.joined < 1);
	assert_int_equal(counts.plain, 1);
	order_fails(retire_order(macs[0], macs[1]), "is in use");
	exchange(&plain);
	exchange(&mptcp);
	close_pair(&plain);
	do
		counts = order_joined(macs[1], macs[0]);
	while (counts.plain);
	order_retire(macs[0], macs[1]);
	exchange(&mptcp);
	/* Once more, as after a crash that lost the answer. */
	order_retire(macs[0], macs[1]);
	exchange(&mptcp);
	close_pair(&mptcp);
	close(listener);
}

/* A connection that has never carried a byte. */
static void test_silent_connection_joins(void **state)
{
	struct pair silent;
	int listener;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", "10.80.1.1");
	listener = listen_in(vm, "0.0.0.0", 5001, IPPROTO_MPTCP);
	silent = open_pair(listener, "10.80.1.10", 5001, IPPROTO_MPTCP);
	order_addresses("announce", macs[1], "10.80.2.10/24", "10.80.2.1");
	await_joins(macs[1], macs[0], 1);
	order_retire(macs[0], macs[1]);
	exchange(&silent);
	close_pair(&silent);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connections_survive_ten_hops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plain_connection_holds_the_vnic, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_silent_connection_joins, set_up, tear_down),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
