/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-guest-kit.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/bytes.h"
#include "netswitch/guest/dhcp.h"
#include "netswitch/guest/lease.h"

/*
 * A real DHCP server at the network of vNIC b, and the client that this machine has. The client's
 * script is this program itself: main() asks dhcp_hook first.
 */
static pid_t server;

static void put_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", getenv("EDGEHOP_ROOT"), name);
	assert_ok(write_file_durably(path, text, strlen(text), &err));
}

static void start_server(const char *first, const char *last)
{
	char config[512], path[256];

	snprintf(config, sizeof(config),
		 "start %s\nend %s\ninterface to-b\nlease_file %s/leases\npidfile %s/pid\n"
		 "option subnet 255.255.255.0\noption router 10.80.2.1\noption lease 600\n",
		 first, last, getenv("EDGEHOP_ROOT"), getenv("EDGEHOP_ROOT"));
	put_file("udhcpd.conf", config);
	put_file("leases", "");
	snprintf(path, sizeof(path), "%s/udhcpd.conf", getenv("EDGEHOP_ROOT"));
	ns_enter(net);
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("busybox", "busybox", "udhcpd", "-f", path, NULL);
		_exit(1);
	}
	ns_enter(vm);
}

static void stop_server(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* The reply to the order with "dhcp"; the caller's. */
static json_t *order_dhcp(const char *order)
{
	json_t *json = json_pack("{s:i,s:I,s:s,s:s,s:[],s:[i]}", "edgehop", 1, "id", next_id++,
				 "order", order, "nic", macs[1], "addresses", "dhcp", 4);
	json_t *reply;

	ns_enter(vm);
	reply = agent_answer(agent, json);
	json_decref(json);
	assert_non_null(reply);
	return reply;
}

static json_t *await_lease(const char *order)
{
	int64_t until = clock_ns() + 20 * NS_PER_SEC;

	for (;;) {
		json_t *reply = order_dhcp(order);

		if (json_is_true(json_object_get(reply, "ok")))
			return reply;
		if (!json_is_true(json_object_get(reply, "again")) || clock_ns() > until)
			fail_msg("%s", json_string_value(json_object_get(reply, "error")));
		json_decref(reply);
	}
}

static bool has_address(const char *dev, const char *text)
{
	auto_free struct ip_addr *list = NULL;
	struct ip_addr wanted = ip(text);
	size_t count;

	assert_ok(rtnl_addr_list(dev, &list, &count, &err));
	for (size_t i = 0; i < count; i++)
		if (ip_same(&list[i], &wanted) && list[i].prefix == wanted.prefix)
			return true;
	return false;
}

static void test_lease_is_had_kept_and_ended(void **state)
{
	auto_json reply = NULL;
	const json_t *got;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	start_server("10.80.2.57", "10.80.2.57");
	reply = await_lease("announce");
	got = json_array_get(json_object_get(reply, "addresses"), 0);
	assert_string_equal(json_string_value(json_object_get(got, "address")), "10.80.2.57/24");
	assert_string_equal(json_string_value(json_object_get(got, "gateway")), "10.80.2.1");
	assert_true(has_address("b", "10.80.2.57/24"));
	assert_int_equal(system("ip route get 192.0.2.1 | grep -q 'via 10.80.2.1 dev b'"), 0);
	assert_int_equal(system("ip mptcp endpoint | grep -q '10.80.2.57.*signal'"), 0);
	/* A restarted agent's client is the same one; the address that is in use stays. */
	assert_ok(dhcp_start("b", &err));
	assert_true(has_address("b", "10.80.2.57/24"));
	order_retire(macs[1], macs[0]);
	assert_nic_idle("b");
	assert_int_equal(system("! pgrep -f '[u]dhcpc.* -i b '"), 0);
	stop_server();
}

/* Nobody answers: asked again, and no address is made up. */
static void test_no_server(void **state)
{
	auto_json reply = NULL;

	(void)state;
	reply = order_dhcp("announce");
	assert_true(json_is_false(json_object_get(reply, "ok")));
	assert_true(json_is_true(json_object_get(reply, "again")));
	assert_non_null(strstr(json_string_value(json_object_get(reply, "error")),
			       "no lease from DHCP on b yet"));
	assert_false(has_address("b", "10.80.2.57/24"));
	assert_ok(dhcp_stop("b", &err));
}

/* A lease that changes takes routes and announcement with it, and one that is over takes them away.
 */
static void test_lease_changes(void **state)
{
	const struct ip_config first = {ip("10.80.2.57/24"), ip("10.80.2.1")};
	const struct ip_config second = {ip("10.80.2.58/24"), ip("10.80.2.1")};

	(void)state;
	ns_enter(vm);
	assert_ok(lease_set("b", &first, &err));
	assert_ok(
		nic_announce((const uint8_t *)"\x52\x54\x00\x00\x00\x02", &first, 1, false, &err));
	assert_ok(lease_set("b", &second, &err));
	assert_false(has_address("b", "10.80.2.57/24"));
	assert_true(has_address("b", "10.80.2.58/24"));
	assert_int_equal(system("ip mptcp endpoint | grep -q '10.80.2.58.*signal'"), 0);
	assert_int_equal(system("! ip mptcp endpoint | grep -q 10.80.2.57"), 0);
	assert_int_equal(system("! ip rule | grep -q 10.80.2.57"), 0);
	assert_int_equal(system("ip route get 192.0.2.1 | grep -q 'dev b src 10.80.2.58'"), 0);
	assert_ok(lease_lost("b", &err));
	assert_false(has_address("b", "10.80.2.58/24"));
	assert_int_equal(system("! ip mptcp endpoint | grep -q 10.80.2.58"), 0);
}

/* The default route stays with the vNIC that has it, when the order says so. */
static void test_beside(void **state)
{
	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	json_decref(give(json_pack("{s:s,s:s,s:b,s:[{s:s,s:s}]}", "order", "address", "nic",
				   macs[1], "beside", 1, "addresses", "address", "10.80.2.10/24",
				   "gateway", gateways[1])));
	assert_int_equal(system("ip route get 192.0.2.1 | grep -q 'via 10.80.1.1 dev a'"), 0);
	assert_int_equal(
		system("ip route get 192.0.2.1 from 10.80.2.10 | grep -q 'via 10.80.2.1 dev b'"),
		0);
}

/* A plain TCP connection keeps the vNIC, unless force is ordered. */
static void test_force(void **state)
{
	auto_json refused = NULL;
	json_t *order;
	struct pair pair;
	int listener;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	listener = listen_in(vm, "0.0.0.0", 5003, 0);
	pair = open_pair(listener, "10.80.1.10", 5003, 0);
	exchange(&pair);
	order_addresses("announce", macs[1], "10.80.2.10/24", gateways[1]);
	order = json_pack("{s:i,s:I,s:s,s:s,s:s}", "edgehop", 1, "id", next_id++, "order", "retire",
			  "nic", macs[0], "new", macs[1]);
	refused = agent_answer(agent, order);
	json_decref(order);
	assert_true(json_is_false(json_object_get(refused, "ok")));
	json_decref(give(json_pack("{s:s,s:s,s:s,s:b}", "order", "retire", "nic", macs[0], "new",
				   macs[1], "force", 1)));
	assert_nic_idle("a");
	close_pair(&pair);
	close(listener);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lease_is_had_kept_and_ended, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lease_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_beside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_force, set_up, tear_down),
	};
	int status;

	if (dhcp_hook(argc, argv, &status))
		return status;
	if (!may_make_namespaces())
		return 77;
	if (system("busybox --list 2>/dev/null | grep -qx udhcpd") != 0 || !dhcp_available()) {
		fprintf(stderr, "skipped: needs busybox with udhcpd, and a DHCP client\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
