/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <poll.h>

#include "common/cleanup.h"
#include "netswitch/tap.h"
#include "netswitch/tunnel.h"

/*
 * A VM on two networks of its site, each with a gateway of its own, in one tunnel. The client is
 * behind both gateways, and says by its address which of them it uses.
 *
 *            +-- gw0 --- [br0  east ]            [ west  tap0] --+
 *     client |           [          ]--- WAN --- [           ]   | VM
 *            +-- gw1 --- [br1       ]            [       tap1] --+
 */
#define HOP  "5d0f3b1a-7c1e-4d3f-9a55-2f6b8d4c1e90"
#define LEGS 2

static int client, gateway[LEGS], east, west, vm;
static const uint8_t macs[LEGS][MAC_SIZE] = {{0x52, 0x54, 0, 0, 0, 1}, {0x52, 0x54, 0, 0, 0, 2}};
static const char *const bridges[LEGS] = {"br0", "br1"};
static const char *const taps[LEGS] = {"tap0", "tap1"};
static struct ip_config old[LEGS][2]; /* of each network: IPv4, IPv6 */

static const struct tunnel at_source = {
	.hop = HOP,
	.side = TUNNEL_SOURCE,
	.local = {AF_INET, {10, 81, 1, 1}, 32},
	.remote = {AF_INET, {10, 81, 1, 2}, 32},
};
static const struct tunnel at_destination = {
	.hop = HOP,
	.side = TUNNEL_DESTINATION,
	.local = {AF_INET, {10, 81, 1, 2}, 32},
	.remote = {AF_INET, {10, 81, 1, 1}, 32},
};

static const char *text(const char *form, int i)
{
	static char buf[4][64];
	static int next;
	char *b = buf[next++ % 4];

	snprintf(b, sizeof(buf[0]), form, i);
	return b;
}

static void run(const char *form, int i)
{
	char command[256];

	snprintf(command, sizeof(command), form, i, i, i, i);
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void make_leg(int i)
{
	old[i][0] = (struct ip_config){ip(text("10.7%d.0.10/24", i)), ip(text("10.7%d.0.1", i))};
	old[i][1] = (struct ip_config){ip(text("fd7%d::10/64", i)), ip(text("fd7%d::1", i))};
	gateway[i] = ns_create();
	assert_ok(sysctl_set(1, &err, "net/ipv4/ip_forward"));
	assert_ok(sysctl_set(1, &err, "net/ipv6/conf/all/forwarding"));
	veth_create("site", text("up%d", i), east);
	dev_address("site", text("10.7%d.0.1/24", i));
	dev_address("site", text("fd7%d::1/64", i));
	veth_create("out", text("gw%d", i), client);
	dev_address("out", text("10.9%d.0.1/24", i));
	dev_address("out", text("fd9%d::1/64", i));
	ns_enter(client);
	dev_address(text("gw%d", i), text("10.9%d.0.2/24", i));
	dev_address(text("gw%d", i), text("fd9%d::2/64", i));
	run("ip route add 10.7%d.0.0/24 via 10.9%d.0.1", i);
	run("ip route add fd7%d::/64 via fd9%d::1", i);
	ns_enter(east);
	bridge_create(bridges[i]);
	assert_ok(rtnl_link_up(bridges[i], &err));
	assert_ok(tap_place_active(text("up%d", i), bridges[i], &err));
	ns_enter(west);
	veth_create(taps[i], text("eth%d", i), vm);
	ns_enter(vm);
	run(i ? "ip link set eth%d address 52:54:00:00:00:02"
	      : "ip link set eth%d address 52:54:00:00:00:01",
	    i);
	dev_address(text("eth%d", i), text("10.7%d.0.10/24", i));
	dev_address(text("eth%d", i), text("fd7%d::10/64", i));
	/* By source, as the guest's agent does it. */
	run("ip route add default via 10.7%d.0.1 dev eth%d table 10%d", i);
	run("ip route add default via fd7%d::1 dev eth%d table 10%d", i);
	run("ip rule add from 10.7%d.0.10 table 10%d", i);
	run("ip -6 rule add from fd7%d::10 table 10%d", i);
}

static int set_up(void **state)
{
	(void)state;
	client = ns_create();
	vm = ns_create();
	west = ns_create();
	east = ns_create();
	veth_create("wan", "wan", west);
	dev_address("wan", "10.81.1.1/24");
	ns_enter(west);
	dev_address("wan", "10.81.1.2/24");
	for (int i = 0; i < LEGS; i++)
		make_leg(i);
	return 0;
}

static int socket_in(int ns, const char *address, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t length = sockaddr_of(address, port, &sa);
	int fd;

	ns_enter(ns);
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	return fd;
}

static bool passes(int from, int to)
{
	static uint32_t number;
	struct sockaddr_storage sa = {0};
	socklen_t length = sizeof(sa);
	struct pollfd p = {.fd = to, .events = POLLIN};
	uint32_t in;

	number++;
	assert_int_equal(getsockname(to, (struct sockaddr *)&sa, &length), 0);
	if (sendto(from, &number, sizeof(number), 0, (struct sockaddr *)&sa, length) < 0)
		return false;
	while (poll(&p, 1, 1000) > 0)
		if (recv(to, &in, sizeof(in), 0) == sizeof(in) && in == number)
			return true;
	return false;
}

/* There and back by the gateway of that network, of which packets are counted: true, both passed.
 */
static bool reaches(const char *from, const char *to)
{
	auto_close here = socket_in(client, from, 7001);
	auto_close there = socket_in(vm, to, 7000);

	return passes(here, there) && passes(there, here);
}

static void assert_leg(int i)
{
	if (!reaches(text("10.9%d.0.2", i), text("10.7%d.0.10", i)))
		fail_msg("network %d, IPv4: lost", i);
	if (!reaches(text("fd9%d::2", i), text("fd7%d::10", i)))
		fail_msg("network %d, IPv6: lost", i);
}

static void attach_all(void)
{
	ns_enter(east);
	assert_ok(tunnel_open(&at_source, &err));
	ns_enter(west);
	assert_ok(tunnel_open(&at_destination, &err));
	for (int i = 0; i < LEGS; i++) {
		ns_enter(west);
		assert_ok(tunnel_guest_attach(&at_destination, taps[i], macs[i], old[i], 2, &err));
		ns_enter(east);
		assert_ok(tunnel_redirect(&at_source, bridges[i], (size_t)i * 2, old[i], 2, &err));
	}
}

static void assert_no_traces(int ns)
{
	ns_enter(ns);
	assert_int_equal(system("! ip rule | grep -qE '^94[67]:'"), 0);
	assert_int_equal(system("! ip -6 rule | grep -qE '^94[67]:'"), 0);
	assert_int_equal(system("! ip -br link | grep -q ^ehx"), 0);
	assert_int_equal(system("! ip neigh show proxy | grep -q ."), 0);
	for (unsigned table = 0x65; table <= 0x74; table++) {
		char command[128];

		snprintf(command, sizeof(command),
			 "! ip route show table %u 2>/dev/null | grep -q .",
			 table << 24 | 0x0f3b1a);
		assert_int_equal(system(command), 0);
	}
}

static void test_two_networks_in_one_tunnel(void **state)
{
	(void)state;
	attach_all();
	for (int i = 0; i < LEGS; i++)
		assert_leg(i);
	/* What comes from one network's address leaves by its own gateway, though both know a way.
	 */
	ns_enter(east);
	assert_int_equal(system("ip route get 192.0.2.1 from 10.70.0.10 iif ehx5d0f3b1a | "
				"grep -q 'via 10.70.0.1 dev br0'"),
			 0);
	assert_int_equal(system("ip route get 192.0.2.1 from 10.71.0.10 iif ehx5d0f3b1a | "
				"grep -q 'via 10.71.0.1 dev br1'"),
			 0);
}

/* One network leaves the tunnel, the other stays in it. */
static void test_one_leaves_first(void **state)
{
	(void)state;
	ns_enter(west);
	assert_ok(tunnel_guest_detach(&at_destination, taps[0], old[0], 2, &err));
	ns_enter(east);
	assert_ok(tunnel_redirect_undo(&at_source, bridges[0], 0, old[0], 2, &err));
	assert_leg(1);
	ns_enter(west);
	assert_ok(tunnel_guest_detach(&at_destination, taps[1], old[1], 2, &err));
	assert_ok(tunnel_close(&at_destination, &err));
	ns_enter(east);
	assert_ok(tunnel_redirect_undo(&at_source, bridges[1], 2, old[1], 2, &err));
	assert_ok(tunnel_close(&at_source, &err));
	assert_no_traces(east);
	assert_no_traces(west);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_networks_in_one_tunnel),
		cmocka_unit_test(test_one_leaves_first),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, set_up, NULL);
}
