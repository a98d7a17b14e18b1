/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <pthread.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "netswitch/guest/agent.h"
#include "netswitch/guest/dhcp.h"
#include "netswitch/guest/port.h"

/* The agent behind a socket, in a guest (a namespace) that has two vNICs. */
static int ns, far, host_fd, guest_fd;
static pthread_t thread;
static struct agent *agent;
static struct jsonl *lines;
static volatile sig_atomic_t stop;

static void *serve(void *unused)
{
	setns(ns, CLONE_NEWNET);
	port_serve(guest_fd, agent, &stop, NULL);
	return unused;
}

static int set_up(void **state)
{
	char root[] = "/tmp/edgehop-test-XXXXXX";
	int pair[2];

	(void)state;
	assert_non_null(mkdtemp(root));
	setenv("EDGEHOP_ROOT", root, 1);
	ns = ns_create();
	far = ns_create();
	veth_create("far-a", "a", ns);
	veth_create("far-b", "b", ns);
	dev_address("far-a", "10.80.1.1/24");
	dev_address("far-b", "10.80.2.1/24");

	ns_enter(ns);
	agent = agent_create(NULL);
	lines = jsonl_create(AGENT_LINE_MOST * 2);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	host_fd = pair[0];
	guest_fd = pair[1];
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	close(host_fd);
	pthread_join(thread, NULL);
	close(guest_fd);
	close(ns);
	close(far);
	agent_destroy(agent);
	jsonl_destroy(lines);
	snprintf(command, sizeof(command), "rm -rf %s", getenv("EDGEHOP_ROOT"));
	return system(command);
}

static void say(const char *text)
{
	assert_ok(write_all(host_fd, text, strlen(text), &err));
}

static json_t *hear(void)
{
	json_t *reply = jsonl_read(lines, host_fd, clock_ns() + 5 * NS_PER_SEC, NULL);

	assert_non_null(reply);
	return reply;
}

/* The next reply has this id, and is ok or has an error that contains the text. */
static void hear_about(int id, const char *error)
{
	auto_json reply = hear();
	const char *text = json_string_value(json_object_get(reply, "error"));

	assert_int_equal(json_integer_value(json_object_get(reply, "id")), id);
	if (!error && text)
		fail_msg("%s", text);
	if (error && (!text || !strstr(text, error)))
		fail_msg("\"%s\" instead of \"%s\"", text ? text : "ok", error);
}

static const char *mac_of(const char *dev)
{
	static char text[2][MAC_TEXT];
	struct rtnl_link link;

	assert_ok(rtnl_link_get(dev, &link, &err));
	return mac_format(link.mac, text[dev[0] == 'b']);
}

static void test_hello(void **state)
{
	auto_json reply = NULL;
	bool seen = false;
	const json_t *nic;
	size_t i;

	(void)state;
	say("{\"edgehop\":1,\"id\":7,\"order\":\"hello\"}\n");
	reply = hear();
	assert_int_equal(json_integer_value(json_object_get(reply, "id")), 7);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_string_equal(json_string_value(json_object_get(reply, "version")), EDGEHOP_VERSION);
	assert_int_equal(json_array_size(json_object_get(reply, "features")),
			 dhcp_available() ? 6 : 5);
	json_array_foreach (json_object_get(reply, "nics"), i, nic)
		seen |= strcmp(json_string_value(json_object_get(nic, "mac")), mac_of("a")) == 0;
	assert_true(seen);
}

static void test_garbage_is_survived(void **state)
{
	static char junk[200 * 1024];
	char nested[3000];

	(void)state;
	say("\n\n}{\n[]\n7\n\"x\"\nnull\n{\"id\":\"x\"}\n{\"id\":-1}\n{\"id\":1.5}\n{}\n");
	say("\xff\xfe\x80\n{\"edgehop\":1,\"id\":1,\"order\":\"hello\",\"id\":2}\n");
	memset(nested, '[', sizeof(nested));
	nested[sizeof(nested) - 2] = '\n';
	nested[sizeof(nested) - 1] = '\0';
	say(nested);
	say("{\"id\":3}\n");
	hear_about(3, "field order");
	say("{\"id\":4,\"order\":\"hello\"}\n");
	hear_about(4, "field edgehop");
	say("{\"edgehop\":2,\"id\":5,\"order\":\"hello\"}\n");
	hear_about(5, "version");
	say("{\"edgehop\":1,\"id\":6,\"order\":\"rm -rf\"}\n");
	hear_about(6, "there is no order \"rm -rf\"");
	/* A line that is too long, in pieces, and an order right after it. */
	memset(junk, 'x', sizeof(junk));
	assert_ok(write_all(host_fd, junk, sizeof(junk), &err));
	say("\n{\"edgehop\":1,\"id\":8,\"order\":\"hello\"}\n{\"edgehop\":1,\"id\":9,\"order\":9}"
	    "\n");
	hear_about(8, NULL);
	hear_about(9, "field order");
}

static void test_arguments_are_checked(void **state)
{
	static const struct {
		const char *rest, *error;
	} cases[] = {
		{"\"announce\"", "field nic"},
		{"\"announce\",\"nic\":\"x\"", "MAC"},
		{"\"announce\",\"nic\":7", "field nic"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\"", "field addresses"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\",\"addresses\":[]", "field addresses"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\",\"addresses\":[7]", "entry 0"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\",\"addresses\":[{\"address\":\"1\"}]",
		 "IP address"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\",\"addresses\":[{\"address\":"
		 "\"10.0.0.1/24\",\"gateway\":\"::1\"}]",
		 "families"},
		{"\"announce\",\"nic\":\"52:54:00:00:00:77\",\"addresses\":[{\"address\":"
		 "\"10.0.0.1/24\"}]",
		 "no network device"},
		{"\"joined\",\"nic\":\"52:54:00:00:00:77\"", "field old"},
		{"\"retire\",\"nic\":\"52:54:00:00:00:77\"", "field new"},
		{"\"retire\",\"nic\":\"52:54:00:00:00:77\",\"new\":\"52:54:00:00:00:78\"",
		 "no network device"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512];

		snprintf(text, sizeof(text), "{\"edgehop\":1,\"id\":%zu,\"order\":%s}\n", i + 1,
			 cases[i].rest);
		say(text);
		hear_about((int)i + 1, cases[i].error);
	}
}

static size_t address_count(const char *dev)
{
	struct ip_addr *list;
	size_t count;

	assert_ok(rtnl_addr_list(dev, &list, &count, &err));
	free(list);
	return count;
}

/* The same id with the same arguments gets the same answer and does nothing. */
static void test_repeated_order_is_not_carried_out_again(void **state)
{
	const struct ip_addr addr = ip("10.80.1.10/24");
	char order[512];

	(void)state;
	snprintf(order, sizeof(order),
		 "{\"edgehop\":1,\"id\":20,\"order\":\"address\",\"nic\":\"%s\",\"addresses\":"
		 "[{\"address\":\"10.80.1.10/24\",\"gateway\":\"10.80.1.1\"}]}\n",
		 mac_of("a"));
	say(order);
	hear_about(20, NULL);
	assert_int_equal(address_count("a"), 1);
	assert_ok(rtnl_addr_del("a", &addr, &err));
	say(order);
	hear_about(20, NULL);
	assert_int_equal(address_count("a"), 0);
	/* An agent that was started anew knows it too. */
	agent_destroy(agent_create(NULL));
	{
		struct agent *next = agent_create(NULL);
		auto_json text = json_loads(order, 0, NULL);
		auto_json reply = agent_answer(next, text);

		assert_true(json_is_true(json_object_get(reply, "ok")));
		assert_int_equal(address_count("a"), 0);
		agent_destroy(next);
	}
	/* The same id of another hop is another order. */
	say("{\"edgehop\":1,\"id\":20,\"order\":\"none\"}\n");
	hear_about(20, "there is no order");
	say(order);
	hear_about(20, NULL);
	assert_int_equal(address_count("a"), 1);
}

/* Every part of the routing stands after `address`, also when the main table is another's. */
static void test_routes_of_two_vnics(void **state)
{
	char order[512];

	(void)state;
	/* As a distribution sets it: no rule, no table. */
	dev_address("a", "10.80.1.10/24");
	default_route("10.80.1.1", "a");
	snprintf(order, sizeof(order),
		 "{\"edgehop\":1,\"id\":1,\"order\":\"announce\",\"nic\":\"%s\",\"addresses\":"
		 "[{\"address\":\"10.80.2.10/24\",\"gateway\":\"10.80.2.1\"}]}\n",
		 mac_of("b"));
	say(order);
	hear_about(1, NULL);
	assert_int_equal(system("ip route get 192.0.2.1 | grep -q 'dev b src 10.80.2.10'"), 0);
	assert_int_equal(system("ip route get 192.0.2.1 from 10.80.1.10 | "
				"grep -q 'via 10.80.1.1 dev a'"),
			 0);
	assert_int_equal(system("ip route get 192.0.2.1 from 10.80.2.10 | "
				"grep -q 'via 10.80.2.1 dev b'"),
			 0);
	assert_int_equal(system("ip route get 10.80.1.77 from 10.80.1.10 | grep -q 'dev a'"), 0);
	snprintf(order, sizeof(order),
		 "{\"edgehop\":1,\"id\":2,\"order\":\"retire\",\"nic\":\"%s\",\"new\":\"%s\"}\n",
		 mac_of("a"), mac_of("b"));
	say(order);
	hear_about(2, NULL);
	assert_int_equal(address_count("a"), 0);
	assert_int_equal(system("! ip rule | grep -q 10.80.1.10"), 0);
	assert_int_equal(system("! ip route show table all | grep -q 'dev a '"), 0);
	assert_int_equal(system("ip route get 192.0.2.1 | grep -q 'dev b src 10.80.2.10'"), 0);
	/* What a hop needs for its own time only is gone. */
	assert_int_equal(system("test $(ip mptcp endpoint | wc -l) = 1"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hello, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage_is_survived, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_arguments_are_checked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_repeated_order_is_not_carried_out_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_routes_of_two_vnics, set_up, tear_down),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
