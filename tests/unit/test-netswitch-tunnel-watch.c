/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include "common/clock.h"
#include "netswitch/tunnel-watch.h"
#include "netswitch/tunnel.h"

/* Two hosts, two paths between them, a tunnel on the first one. */
#define HOP "7e0f3b1a-7c1e-4d3f-9a55-2f6b8d4c1e90"

static int east, west;
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

static int set_up(void **state)
{
	(void)state;
	east = ns_create();
	west = ns_create();
	ns_enter(east);
	veth_create("wan1", "wan1", west);
	veth_create("wan2", "wan2", west);
	dev_address("wan1", "10.81.1.1/24");
	dev_address("wan2", "10.81.2.1/24");
	assert_ok(tunnel_open(&at_source, &err));
	ns_enter(west);
	dev_address("wan1", "10.81.1.2/24");
	dev_address("wan2", "10.81.2.2/24");
	return 0;
}

/* Looks for up to some seconds whether it comes to be as expected. */
static bool becomes(struct tunnel_watch *watch, bool good, int seconds)
{
	for (int i = 0; i < 50 * seconds; i++) {
		if (tunnel_watch_good(watch, 1500 * NS_PER_MS) == good)
			return true;
		clock_sleep_ms(20);
	}
	return false;
}

static void test_path_that_dies_is_noticed(void **state)
{
	struct ip_addr east2 = ip("10.81.2.1"), west2 = ip("10.81.2.2");
	struct tunnel_watch *watch;

	(void)state;
	ns_enter(east);
	watch = tunnel_watch_start(&at_source, NULL);
	assert_non_null(watch);
	/* The far end is not there yet: never answered, so nothing is said. */
	for (int i = 0; i < 100; i++) {
		assert_true(tunnel_watch_good(watch, 500 * NS_PER_MS));
		clock_sleep_ms(20);
	}
	ns_enter(west);
	assert_ok(tunnel_open(&at_destination, &err));
	clock_sleep_ms(1500);
	for (int i = 0; i < 150; i++) {
		assert_true(tunnel_watch_good(watch, 1500 * NS_PER_MS));
		clock_sleep_ms(20);
	}
	assert_ok(rtnl_link_down("wan1", &err));
	assert_true(becomes(watch, false, 5));
	assert_ok(tunnel_move(&at_destination, &west2, &east2, &err));
	ns_enter(east);
	assert_ok(tunnel_move(&at_source, &east2, &west2, &err));
	tunnel_watch_again(watch);
	for (int i = 0; i < 150; i++) {
		assert_true(tunnel_watch_good(watch, 2500 * NS_PER_MS));
		clock_sleep_ms(20);
	}
	tunnel_watch_stop(watch);
	assert_ok(tunnel_close(&at_source, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_that_dies_is_noticed),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, set_up, NULL);
}
