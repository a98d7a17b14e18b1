/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>

#include "netswitch/tap.h"

#define TABLE 0x65680001

static int set_up(void **state)
{
	(void)state;
	ns_create();
	veth_create("v0", "v1", -1);
	bridge_create("br");
	return 0;
}

static int index_of(const char *dev)
{
	return (int)if_nametoindex(dev);
}

static void test_links(void **state)
{
	struct rtnl_link link, by_mac;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_ok(rtnl_link_up("v0", &err));
		assert_ok(rtnl_link_mtu("v0", 1400, &err));
		assert_ok(rtnl_link_master("v0", "br", &err));
	}
	assert_ok(rtnl_link_get("v0", &link, &err));
	assert_true(link.up);
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(link.master, index_of("br"));
	/* The bridge has the MAC of its port; the port was there first. */
	assert_ok(rtnl_link_by_mac(link.mac, &by_mac, &err));
	assert_string_equal(by_mac.name, "v0");
	for (int i = 0; i < 2; i++) {
		assert_ok(rtnl_link_down("v0", &err));
		assert_ok(rtnl_link_master("v0", NULL, &err));
	}
	assert_ok(rtnl_link_get("v0", &link, &err));
	assert_false(link.up);
	assert_int_equal(link.master, 0);
	assert_error(rtnl_link_up("none", &err), ENODEV);
	assert_error(rtnl_link_master("v0", "none", &err), ENODEV);
	assert_error(rtnl_link_mtu("v0", 1, &err), EINVAL);
	assert_ok(rtnl_link_delete("none", &err));
}

static void test_taps(void **state)
{
	struct rtnl_link link;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_ok(tap_place_active("v1", "br", &err));
	assert_ok(rtnl_link_get("v1", &link, &err));
	assert_true(link.up && link.master == index_of("br"));
	for (int i = 0; i < 2; i++)
		assert_ok(tap_place_idle("v1", &err));
	assert_ok(rtnl_link_get("v1", &link, &err));
	assert_true(!link.up && link.master == 0);
}

static void test_addresses(void **state)
{
	const struct ip_addr addrs[] = {ip("10.1.0.1/24"), ip("fd01::1/64"), ip("10.1.0.2/32")};
	struct ip_addr *list;
	size_t count;

	(void)state;
	for (int twice = 0; twice < 2; twice++) {
		for (int i = 0; i < 3; i++)
			assert_ok(rtnl_addr_add("v0", &addrs[i], &err));
	}
	assert_ok(rtnl_addr_list("v0", &list, &count, &err));
	assert_int_equal(count, 3);
	free(list);
	for (int twice = 0; twice < 2; twice++) {
		for (int i = 0; i < 3; i++)
			assert_ok(rtnl_addr_del("v0", &addrs[i], &err));
	}
	assert_ok(rtnl_addr_list("v0", &list, &count, &err));
	assert_int_equal(count, 0);
	free(list);
	assert_error(rtnl_addr_add("none", &addrs[0], &err), ENODEV);
	assert_error(rtnl_addr_list("none", &list, &count, &err), ENODEV);
	assert_ok(rtnl_addr_del("none", &addrs[0], &err));
}

static size_t routes_in(int family, uint32_t table)
{
	struct rtnl_route *list;
	size_t count;

	assert_ok(rtnl_route_list(family, table, &list, &count, &err));
	free(list);
	return count;
}

static void test_routes(void **state)
{
	const struct ip_addr own = ip("10.1.0.1/24"), own6 = ip("fd01::1/64");
	struct rtnl_route routes[] = {
		{.to = ip("10.2.0.10"), .table = TABLE},
		{.to = {.family = AF_INET}, .via = ip("10.1.0.254"), .table = TABLE},
		{.to = ip("10.3.0.0/16"),
		 .via = ip("169.254.9.9"),
		 .onlink = true,
		 .mtu = 1500,
		 .source = ip_host(&own),
		 .table = TABLE},
		{.to = ip("fd02::10"), .via = ip("fd01::2"), .table = TABLE},
		{.to = {.family = AF_INET6}, .via = ip("fe80::1"), .table = TABLE},
	};
	struct rtnl_route *list;
	size_t count;

	(void)state;
	dev_address("v1", "10.9.9.9/24");
	dev_address("v0", "10.1.0.1/24");
	assert_ok(rtnl_addr_add("v0", &own6, &err));
	assert_int_equal(routes_in(AF_INET, TABLE), 0); /* a table that never was */
	for (int twice = 0; twice < 2; twice++) {
		for (size_t i = 0; i < 5; i++) {
			routes[i].ifindex = index_of("v0");
			assert_ok(rtnl_route_replace(&routes[i], &err));
		}
	}
	assert_ok(rtnl_route_list(AF_INET, TABLE, &list, &count, &err));
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++) {
		if (list[i].to.prefix != 16)
			continue;
		assert_true(ip_same(&list[i].via, &routes[2].via));
		assert_true(ip_same(&list[i].source, &own));
		assert_int_equal(list[i].ifindex, index_of("v0"));
	}
	free(list);
	assert_int_equal(routes_in(AF_INET6, TABLE), 2);
	for (int twice = 0; twice < 2; twice++) {
		assert_ok(rtnl_route_del(&routes[0], &err));
		assert_ok(rtnl_route_flush(AF_INET6, TABLE, &err));
	}
	assert_int_equal(routes_in(AF_INET, TABLE), 2);
	assert_int_equal(routes_in(AF_INET6, TABLE), 0);
	assert_ok(rtnl_route_flush(AF_INET, TABLE, &err));
	assert_int_equal(routes_in(AF_INET, TABLE), 0);
	assert_true(routes_in(AF_INET, 0) >= 2);
	/* The kernel's own words come with its error. */
	routes[1].via = ip("10.77.0.1");
	{
		struct error *err = NULL;

		assert_true(rtnl_route_replace(&routes[1], &err) < 0);
		assert_non_null(strstr(err->message, "gateway"));
		error_free(err);
	}
}

static void test_rules(void **state)
{
	struct rtnl_rule rules[] = {
		{.family = AF_INET, .iif = "v0", .table = TABLE, .priority = 946},
		{.family = AF_INET, .iif = "not-yet", .table = TABLE, .priority = 946},
		{.family = AF_INET, .from = ip("10.1.0.1"), .table = TABLE, .priority = 946},
		{.family = AF_INET, .to = ip("10.1.0.1"), .table = TABLE, .priority = 946},
		{.family = AF_INET6, .to = ip("fd01::1"), .table = TABLE, .priority = 946},
	};

	(void)state;
	for (int twice = 0; twice < 2; twice++) {
		for (size_t i = 0; i < 5; i++)
			assert_ok(rtnl_rule_add(&rules[i], &err));
	}
	assert_int_equal(system("test $(ip rule | grep -c ^946:) = 4"), 0);
	for (int twice = 0; twice < 2; twice++)
		assert_ok(rtnl_rule_del(&rules[0], &err));
	assert_int_equal(system("test $(ip rule | grep -c ^946:) = 3"), 0);
	for (int twice = 0; twice < 2; twice++)
		assert_ok(rtnl_rule_flush(AF_INET, TABLE, &err));
	assert_int_equal(system("! ip rule | grep ^946:"), 0);
	assert_int_equal(system("ip -6 rule | grep -q ^946:"), 0);
	assert_ok(rtnl_rule_flush(AF_INET6, TABLE, &err));
}

static void test_neighbours(void **state)
{
	const struct ip_addr addrs[] = {ip("10.1.0.7"), ip("fd01::7")};
	const uint8_t mac[MAC_SIZE] = {2, 0, 0, 0, 0, 7};

	(void)state;
	assert_ok(rtnl_link_up("v0", &err));
	for (int i = 0; i < 2; i++) {
		for (int twice = 0; twice < 2; twice++) {
			assert_ok(rtnl_neigh_add("v0", &addrs[i], mac, &err));
			assert_ok(rtnl_proxy_add("br", &addrs[i], &err));
		}
		for (int twice = 0; twice < 2; twice++) {
			assert_ok(rtnl_neigh_del("v0", &addrs[i], &err));
			assert_ok(rtnl_proxy_del("br", &addrs[i], &err));
		}
		assert_error(rtnl_neigh_add("none", &addrs[i], mac, &err), ENODEV);
		assert_ok(rtnl_neigh_del("none", &addrs[i], &err));
	}
}

static void test_vxlan(void **state)
{
	struct rtnl_vxlan vxlan = {
		.name = "vx",
		.id = 0x123456,
		.local = ip("10.1.0.1"),
		.remote = ip("10.1.0.2"),
		.port = 9461,
		.mac = {2, 0, 0, 0, 0, 9},
		.ttl = 64,
		.mtu = 1500,
	};
	struct rtnl_link link;

	(void)state;
	assert_ok(rtnl_vxlan_set(&vxlan, &err));
	assert_ok(rtnl_vxlan_set(&vxlan, &err));
	vxlan.remote = ip("10.1.0.3");
	assert_ok(rtnl_vxlan_set(&vxlan, &err));
	assert_int_equal(system("ip -d link show vx | grep -q 'vxlan id 1193046 remote 10.1.0.3 "
				"local 10.1.0.1.*nolearning ttl 64'"),
			 0);
	assert_ok(rtnl_link_get("vx", &link, &err));
	assert_int_equal(link.mtu, 1500);
	assert_memory_equal(link.mac, vxlan.mac, MAC_SIZE);
	/* Another device with the same number on the same port can't be. */
	vxlan.name = "vx2";
	assert_error(rtnl_vxlan_set(&vxlan, &err), EEXIST);
	for (int twice = 0; twice < 2; twice++)
		assert_ok(rtnl_link_delete("vx", &err));
}

static void test_sysctls(void **state)
{
	long value;

	(void)state;
	for (int twice = 0; twice < 2; twice++)
		assert_ok(sysctl_set(1, &err, "net/ipv4/conf/%s/proxy_arp", "v0"));
	assert_ok(sysctl_get(&value, &err, "net/ipv4/conf/v0/proxy_arp"));
	assert_int_equal(value, 1);
	assert_ok(sysctl_set(1, &err, "net/ipv4/conf/all/rp_filter"));
	assert_ok(sysctl_loosen_rp_filter("v0", &err));
	assert_ok(sysctl_get(&value, &err, "net/ipv4/conf/v0/rp_filter"));
	assert_int_equal(value, 2);
	assert_error(sysctl_set(1, &err, "net/ipv4/conf/none/proxy_arp"), ENOENT);
	assert_error(sysctl_set(1, &err, "net/%s/x", ".."), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_links, set_up),
		cmocka_unit_test_setup(test_taps, set_up),
		cmocka_unit_test_setup(test_addresses, set_up),
		cmocka_unit_test_setup(test_routes, set_up),
		cmocka_unit_test_setup(test_rules, set_up),
		cmocka_unit_test_setup(test_neighbours, set_up),
		cmocka_unit_test_setup(test_vxlan, set_up),
		cmocka_unit_test_setup(test_sysctls, set_up),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
