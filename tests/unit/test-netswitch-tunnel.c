/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>
#include <poll.h>

#include "common/cleanup.h"
#include "netswitch/garp.h"
#include "netswitch/tap.h"
#include "netswitch/tunnel.h"

/*
 *  client ---- inet ---- [br-site  east  ]---WAN---[  west  br-site] ---- inet
 *  10.90.0.2    .1    10.80.1.2  10.81.1.1       10.81.1.2  10.80.2.2     10.80.2.1
 *                               tap                       tap
 *                                 +-------- wire ----------+
 *                                            |
 *                                      VM 10.80.1.10
 *
 * The wire is a bridge that has one of the taps as its port: the VM moves without noticing.
 */
#define HOP "5d0f3b1a-7c1e-4d3f-9a55-2f6b8d4c1e90"

static int client, inet, east, west, vm, wire;
static const char vm_mac[] = "52:54:00:00:00:01";

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
static struct ip_config old[2];

static void set_mac(const char *dev, const char *text)
{
	struct nl_msg msg;
	struct ifinfomsg *info = nl_start(&msg, RTM_NEWLINK, 0, sizeof(*info));
	uint8_t mac[MAC_SIZE];

	assert_ok(mac_parse(text, mac, &err));
	info->ifi_index = (int)if_nametoindex(dev);
	nl_put(&msg, IFLA_ADDRESS, mac, sizeof(mac));
	kit_request(&msg);
}

static void site(int ns, const char *inet_dev, const char *network, const char *v6)
{
	char text[64];

	ns_enter(ns);
	bridge_create("br-site");
	veth_create("up", inet_dev, inet);
	assert_ok(tap_place_active("up", "br-site", &err));
	snprintf(text, sizeof(text), "%s.2/24", network);
	dev_address("br-site", text);
	snprintf(text, sizeof(text), "%s::2/64", v6);
	dev_address("br-site", text);
	ns_enter(inet);
	snprintf(text, sizeof(text), "%s.1/24", network);
	dev_address(inet_dev, text);
	snprintf(text, sizeof(text), "%s::1/64", v6);
	dev_address(inet_dev, text);
}

static int set_up(void **state)
{
	(void)state;
	old[0] = (struct ip_config){ip("10.80.1.10/24"), ip("10.80.1.1")};
	old[1] = (struct ip_config){ip("fd80:1::10/64"), ip("fd80:1::1")};
	client = ns_create();
	inet = ns_create();
	west = ns_create();
	east = ns_create();
	vm = ns_create();
	wire = ns_create();
	bridge_create("wire");
	/* It learns nothing: a wire hears announcements in the VM's name without minding. */
	assert_int_equal(system("ip link set wire type bridge ageing_time 0"), 0);
	assert_ok(rtnl_link_up("wire", &err));
	veth_create("to-vm", "eth0", vm);
	assert_ok(tap_place_active("to-vm", "wire", &err));
	veth_create("to-east", "tap", east);
	veth_create("to-west", "tap", west);

	ns_enter(inet);
	assert_ok(sysctl_set(1, &err, "net/ipv4/ip_forward"));
	assert_ok(sysctl_set(1, &err, "net/ipv6/conf/all/forwarding"));
	veth_create("to-client", "eth0", client);
	dev_address("to-client", "10.90.0.1/24");
	dev_address("to-client", "fd90::1/64");
	ns_enter(client);
	dev_address("eth0", "10.90.0.2/24");
	dev_address("eth0", "fd90::2/64");
	default_route("10.90.0.1", "eth0");
	default_route("fd90::1", "eth0");

	site(east, "to-east", "10.80.1", "fd80:1");
	site(west, "to-west", "10.80.2", "fd80:2");
	ns_enter(east);
	veth_create("wan1", "wan1", west);
	dev_address("wan1", "10.81.1.1/24");
	veth_create("wan2", "wan2", west);
	dev_address("wan2", "10.81.2.1/24");
	assert_ok(tap_place_active("tap", "br-site", &err));
	ns_enter(wire);
	assert_ok(tap_place_active("to-east", "wire", &err));
	ns_enter(west);
	dev_address("wan1", "10.81.1.2/24");
	dev_address("wan2", "10.81.2.2/24");
	ns_enter(vm);
	set_mac("eth0", vm_mac);
	dev_address("eth0", "10.80.1.10/24");
	dev_address("eth0", "fd80:1::10/64");
	default_route("10.80.1.1", "eth0");
	default_route("fd80:1::1", "eth0");
	return 0;
}

static int socket_in(int ns, int type, const char *address, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t length = sockaddr_of(address, port, &sa);
	int fd;

	ns_enter(ns);
	fd = socket(sa.ss_family, type | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, length), 0);
	return fd;
}

/* One datagram from one socket to another, of that size and unfragmented: does it come? */
static bool passes(int from, int to, size_t size)
{
	static char out[2000], in[2000];
	static int number;
	struct sockaddr_storage sa = {0};
	socklen_t length = sizeof(sa);
	struct pollfd p = {.fd = to, .events = POLLIN};
	int never = IP_PMTUDISC_DO;

	number++;
	memcpy(out, &number, sizeof(number));
	assert_int_equal(getsockname(to, (struct sockaddr *)&sa, &length), 0);
	if (sa.ss_family == AF_INET)
		setsockopt(from, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof(never));
	if (sendto(from, out, size, 0, (struct sockaddr *)&sa, length) != (ssize_t)size)
		return false;
	while (poll(&p, 1, 1000) > 0) {
		if (recv(to, in, sizeof(in), 0) == (ssize_t)size &&
		    memcmp(in, out, sizeof(number)) == 0)
			return true;
	}
	return false;
}

/* There and back, small and (IPv4) as large as the VM's network takes. */
static void assert_reachable(const char *from_address, const char *to_address, int from_ns)
{
	const size_t sizes[] = {100, strchr(to_address, ':') ? 1300 : 1472};
	auto_close here = socket_in(from_ns, SOCK_DGRAM, from_address, 7001);
	auto_close there = socket_in(vm, SOCK_DGRAM, to_address, 7000);

	for (int i = 0; i < 3; i++) {
		for (int largest = 0; largest < 2; largest++) {
			if (!passes(here, there, sizes[largest]))
				fail_msg("%s to %s, %zu bytes, lost", from_address, to_address,
					 sizes[largest]);
			if (!passes(there, here, sizes[largest]))
				fail_msg("%s to %s, %zu bytes, lost", to_address, from_address,
					 sizes[largest]);
		}
	}
}

static void assert_all_reachable(void)
{
	assert_reachable("10.90.0.2", "10.80.1.10", client);
	assert_reachable("10.80.1.1", "10.80.1.10", inet);
	/* A neighbour of the old network, whom the VM asks for by ARP. */
	assert_reachable("10.80.1.2", "10.80.1.10", east);
	assert_reachable("fd90::2", "fd80:1::10", client);
	assert_reachable("fd80:1::1", "fd80:1::10", inet);
	ns_enter(vm);
	assert_int_equal(system("ip -6 neigh flush all"), 0);
	assert_reachable("fd80:1::2", "fd80:1::10", east);
}

/* IPv6 addresses of fresh devices take their time. */
static void await_network(void)
{
	auto_close here = socket_in(client, SOCK_DGRAM, "fd90::2", 7003);
	auto_close there = socket_in(vm, SOCK_DGRAM, "fd80:1::10", 7002);

	for (int i = 0; i < 20; i++) {
		if (passes(here, there, 100) && passes(there, here, 100))
			return;
	}
	fail_msg("the test's network does not come up");
}

static void leave_east(void)
{
	uint8_t mac[MAC_SIZE];

	assert_ok(mac_parse(vm_mac, mac, &err));
	ns_enter(wire);
	assert_ok(tap_place_idle("to-east", &err));
	assert_ok(tap_place_active("to-west", "wire", &err));
	ns_enter(east);
	assert_ok(tap_place_idle("tap", &err));
	ns_enter(west);
	assert_ok(tunnel_guest_attach(&at_destination, "tap", mac, old, 2, &err));
	ns_enter(east);
	assert_ok(tunnel_redirect(&at_source, "br-site", 0, old, 2, &err));
}

static void return_to_east(void)
{
	uint8_t mac[MAC_SIZE];

	assert_ok(mac_parse(vm_mac, mac, &err));
	ns_enter(west);
	assert_ok(tunnel_guest_detach(&at_destination, "tap", old, 2, &err));
	assert_ok(tap_place_idle("tap", &err));
	ns_enter(wire);
	assert_ok(tap_place_idle("to-west", &err));
	assert_ok(tap_place_active("to-east", "wire", &err));
	/* A hop is undone before the VM has run at its destination: what it learned there goes. */
	ns_enter(vm);
	assert_int_equal(system("ip neigh flush all"), 0);
	ns_enter(east);
	assert_ok(tap_place_active("tap", "br-site", &err));
	assert_ok(tunnel_redirect_undo(&at_source, "br-site", 0, old, 2, &err));
	assert_ok(garp_send("br-site", &old[0].address, mac, &err));
	assert_ok(garp_send("br-site", &old[1].address, mac, &err));
}

static void assert_clean(int ns)
{
	struct rtnl_route *routes = NULL;
	size_t count;
	char dev[IF_NAMESIZE];

	ns_enter(ns);
	assert_ok(tunnel_device(HOP, dev, &err));
	assert_int_equal(if_nametoindex(dev), 0);
	for (int i = 0; i < 2; i++) {
		assert_ok(
			rtnl_route_list(i ? AF_INET : AF_INET6, 0x650f3b1a, &routes, &count, &err));
		assert_int_equal(count, 0);
		free(routes);
	}
}

static void test_vm_reachable_at_both_sites(void **state)
{
	(void)state;
	await_network();
	assert_all_reachable();
	for (int round = 0; round < 2; round++) {
		ns_enter(east);
		assert_ok(tunnel_open(&at_source, &err));
		ns_enter(west);
		assert_ok(tunnel_open(&at_destination, &err));
		leave_east();
		assert_all_reachable();
		return_to_east();
		assert_all_reachable();
		ns_enter(east);
		assert_ok(tunnel_close(&at_source, &err));
		ns_enter(west);
		assert_ok(tunnel_close(&at_destination, &err));
		assert_clean(east);
		assert_clean(west);
	}
}

static void test_everything_can_be_repeated(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		ns_enter(east);
		assert_ok(tunnel_open(&at_source, &err));
		ns_enter(west);
		assert_ok(tunnel_open(&at_destination, &err));
	}
	leave_east();
	ns_enter(west);
	for (int i = 0; i < 2; i++) {
		uint8_t mac[MAC_SIZE];

		assert_ok(mac_parse(vm_mac, mac, &err));
		assert_ok(tunnel_guest_attach(&at_destination, "tap", mac, old, 2, &err));
		ns_enter(east);
		assert_ok(tunnel_redirect(&at_source, "br-site", 0, old, 2, &err));
		ns_enter(west);
	}
	assert_all_reachable();
	return_to_east();
	for (int i = 0; i < 2; i++) {
		ns_enter(west);
		assert_ok(tunnel_guest_detach(&at_destination, "tap", old, 2, &err));
		assert_ok(tunnel_close(&at_destination, &err));
		ns_enter(east);
		assert_ok(tunnel_redirect_undo(&at_source, "br-site", 0, old, 2, &err));
		assert_ok(tunnel_close(&at_source, &err));
	}
	assert_clean(east);
	assert_clean(west);
	assert_all_reachable();
}

static void test_tunnel_moves_to_another_path(void **state)
{
	struct ip_addr east2 = ip("10.81.2.1"), west2 = ip("10.81.2.2");

	(void)state;
	ns_enter(east);
	assert_ok(tunnel_open(&at_source, &err));
	ns_enter(west);
	assert_ok(tunnel_open(&at_destination, &err));
	leave_east();
	assert_all_reachable();
	ns_enter(east);
	assert_ok(rtnl_link_down("wan1", &err));
	assert_ok(tunnel_move(&at_source, &east2, &west2, &err));
	ns_enter(west);
	assert_ok(tunnel_move(&at_destination, &west2, &east2, &err));
	assert_all_reachable();
	return_to_east();
	ns_enter(east);
	assert_ok(rtnl_link_up("wan1", &err));
	assert_ok(tunnel_close(&at_source, &err));
	ns_enter(west);
	assert_ok(tunnel_close(&at_destination, &err));
	assert_all_reachable();
}

static void test_own_address_is_refused(void **state)
{
	struct ip_config own = {ip("10.80.2.2/24"), ip("10.80.2.1")};
	uint8_t mac[MAC_SIZE];

	(void)state;
	assert_ok(mac_parse(vm_mac, mac, &err));
	ns_enter(west);
	veth_create("tap2", "other", -1);
	assert_error(tunnel_guest_attach(&at_destination, "tap2", mac, &own, 1, &err), EADDRINUSE);
	assert_ok(rtnl_link_delete("tap2", &err));
}

/* A site whose host is the gateway of its VMs. */
static void test_host_that_is_the_gateway(void **state)
{
	struct ip_config config = {ip("10.80.1.10/24"), ip("10.80.1.2")};

	(void)state;
	ns_enter(east);
	assert_ok(tunnel_open(&at_source, &err));
	assert_ok(tunnel_redirect(&at_source, "br-site", 0, &config, 1, &err));
	assert_ok(tunnel_redirect_undo(&at_source, "br-site", 0, &config, 1, &err));
	assert_ok(tunnel_close(&at_source, &err));
	assert_clean(east);
}

static void test_bad_hop_is_refused(void **state)
{
	struct tunnel bad = at_source;

	(void)state;
	bad.hop = "not a UUID";
	assert_error(tunnel_open(&bad, &err), EINVAL);
	bad.hop = "12";
	assert_error(tunnel_open(&bad, &err), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm_reachable_at_both_sites),
		cmocka_unit_test(test_everything_can_be_repeated),
		cmocka_unit_test(test_tunnel_moves_to_another_path),
		cmocka_unit_test(test_own_address_is_refused),
		cmocka_unit_test(test_host_that_is_the_gateway),
		cmocka_unit_test(test_bad_hop_is_refused),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, set_up, NULL);
}
