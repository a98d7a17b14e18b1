/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "netswitch/orders.h"

/*
 * A guest that says what a script has: each entry answers one order (its %lld is the order's id);
 * "-" says nothing, "!" hangs up, "flood" never ends.
 */
static char path[64];
static int listener;
static const char *const *script;
static long long ids[32];
static int id_count;

static void flood(int fd)
{
	static char junk[4096];

	memset(junk, 'x', sizeof(junk));
	while (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) > 0)
		;
}

static void *guest(void *unused)
{
	struct jsonl *lines = NULL;
	int fd = -1;

	for (; *script; script++) {
		json_t *order = NULL;
		char line[4096];

		while (!order) {
			if (fd < 0) {
				fd = accept(listener, NULL, NULL);
				jsonl_destroy(lines);
				lines = jsonl_create(65536);
			}
			order = jsonl_read(lines, fd, clock_ns() + 10 * NS_PER_SEC, NULL);
			if (!order) {
				close(fd);
				fd = -1;
			}
		}
		ids[id_count++] = json_integer_value(json_object_get(order, "id"));
		json_decref(order);
		if (strcmp(*script, "!") == 0) {
			close(fd);
			fd = -1;
		} else if (strcmp(*script, "flood") == 0) {
			flood(fd);
			close(fd);
			fd = -1;
		} else if (strcmp(*script, "-") != 0) {
			snprintf(line, sizeof(line), *script, ids[id_count - 1]);
			send(fd, line, strlen(line), MSG_NOSIGNAL);
		}
	}
	if (fd >= 0)
		close(fd);
	jsonl_destroy(lines);
	return unused;
}

static pthread_t play(const char *const *lines)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	pthread_t thread;

	snprintf(path, sizeof(path), "/tmp/edgehop-test-%d.sock", (int)getpid());
	unlink(path);
	memcpy(sa.sun_path, path, sizeof(path));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 4), 0);
	script = lines;
	id_count = 0;
	assert_int_equal(pthread_create(&thread, NULL, guest, NULL), 0);
	return thread;
}

static void finish(pthread_t thread, struct orders *orders)
{
	orders_close(orders);
	pthread_join(thread, NULL);
	close(listener);
	unlink(path);
}

static int64_t in_seconds(int seconds)
{
	return clock_ns() + seconds * NS_PER_SEC;
}

static const uint8_t mac1[MAC_SIZE] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t mac2[MAC_SIZE] = {0x52, 0x54, 0, 0, 0, 2};

static void test_replies_understood(void **state)
{
	static const char *const lines[] = {
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true,\"version\":\"0.1\",\"mptcp\":true,"
		"\"features\":[\"announce\",\"retire\",\"dance\",7],\"nics\":[{\"mac\":"
		"\"52:54:00:00:00:01\",\"up\":true,\"addresses\":[\"10.80.1.10/24\","
		"\"fd80::1/"
		"64\"],\"gateways\":[\"10.80.1.1\",\"\"]},{\"mac\":\"52:54:00:00:00:02\","
		"\"addresses\":[]}]}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":false,\"again\":true,\"error\":\"no lease\"}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true,\"addresses\":[{\"address\":"
		"\"10.80.2.57/24\",\"gateway\":\"10.80.2.1\"}]}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true,\"addresses\":[{\"address\":"
		"\"10.80.2.57/24\",\"gateway\":\"fd80::1\"}]}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true,\"connections\":5,\"joined\":4,\"plain\":1,"
		"\"waiting\":[\"10.80.1.10:80 10.90.0.2:4711\"]}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":true,\"mptcp\":2,\"plain\":9,\"list\":[{"
		"\"local\":"
		"\"10.80.1.10:80\",\"peer\":\"[fd80::2]:4711\\n\",\"mptcp\":true,\"subflows\":2,"
		"\"peer_joined\":true},{\"local\":\"a\",\"peer\":\"b\",\"subflows\":1}]}\n",
		"{\"edgehop\":1,\"id\":%lld,\"ok\":false,\"error\":\"b is in "
		"use\\u001b[31m\\n\"}\n",
		NULL,
	};
	const struct ip_config config = {ip("10.80.2.10/24"), ip("10.80.2.1")};
	const struct guest_wants wants = {.list = &config, .n = 1};
	const struct guest_wants by_dhcp = {.dhcp = true};
	struct guest_got got;
	pthread_t thread = play(lines);
	struct orders *orders = orders_open(path, NULL);
	struct guest_hello hello;
	struct guest_connections found;
	struct join_state joins;
	struct error *refusal = NULL;
	char text[IP_TEXT];

	(void)state;
	assert_ok(orders_hello(orders, &hello, in_seconds(5), &err));
	assert_string_equal(hello.version, "0.1");
	assert_true(hello.mptcp && hello.can_announce && hello.can_retire && !hello.can_joined);
	assert_false(hello.can_connections); /* an agent that does not know the order */
	assert_int_equal(hello.nic_count, 2);
	assert_memory_equal(hello.nics[0].mac, mac1, MAC_SIZE);
	assert_int_equal(hello.nics[0].address_count, 2);
	assert_int_equal(hello.nics[0].addresses[0].address.prefix, 24);
	assert_string_equal(ip_format_host(&hello.nics[0].addresses[0].gateway, text), "10.80.1.1");
	assert_int_equal(hello.nics[0].addresses[1].gateway.family, 0);
	assert_true(hello.nics[0].up && !hello.nics[1].up);
	/* An agent that tells nothing has done what it was told. */
	assert_ok(orders_announce(orders, mac2, &wants, &got, in_seconds(5), &err));
	assert_int_equal(got.count, 1);
	assert_string_equal(ip_format(&got.list[0].address, text), "10.80.2.10/24");
	assert_error(orders_announce(orders, mac2, &by_dhcp, &got, in_seconds(5), &err), EAGAIN);
	assert_ok(orders_announce(orders, mac2, &by_dhcp, &got, in_seconds(5), &err));
	assert_int_equal(got.count, 1);
	assert_string_equal(ip_format(&got.list[0].address, text), "10.80.2.57/24");
	assert_string_equal(ip_format_host(&got.list[0].gateway, text), "10.80.2.1");
	assert_error(orders_address(orders, mac2, &by_dhcp, &got, in_seconds(5), &err), EPROTO);
	assert_ok(orders_joined(orders, mac2, mac1, &joins, in_seconds(5), &err));
	assert_int_equal(joins.connections, 5);
	assert_int_equal(joins.joined, 4);
	assert_int_equal(joins.plain, 1);
	assert_int_equal(joins.waiting_count, 1);
	assert_string_equal(joins.waiting[0], "10.80.1.10:80 10.90.0.2:4711");
	assert_ok(orders_connections(orders, &found, in_seconds(5), &err));
	assert_int_equal(found.mptcp, 2);
	assert_int_equal(found.plain, 9);
	assert_int_equal(found.count, 2);
	assert_string_equal(found.list[0].peer, "[fd80::2]:4711?");
	assert_int_equal(found.list[0].subflows, 2);
	assert_true(found.list[0].mptcp && found.list[0].peer_joined);
	assert_true(!found.list[1].mptcp && !found.list[1].opened_here);
	assert_true(orders_retire(orders, mac1, mac2, false, in_seconds(5), &refusal) < 0);
	assert_int_equal(refusal->code, EREMOTEIO);
	assert_string_equal(refusal->message,
			    "order retire: the guest's agent refuses: b is in use?[31m?");
	error_free(refusal);
	finish(thread, orders);
}

static void test_repeated_after_silence_and_hangup(void **state)
{
	static const char *const lines[] = {
		"-",
		"!",
		"{\"half a line",
		"!",
		"late\n{\"id\":1,\"ok\":true}\n[1,2]\n{\"id\":\"x\"}\n{\"id\":%lld,\"ok\":true}\n",
		NULL,
	};
	pthread_t thread = play(lines);
	struct orders *orders = orders_open(path, NULL);

	(void)state;
	assert_ok(orders_retire(orders, mac1, mac2, false, in_seconds(20), &err));
	assert_int_equal(id_count, 5);
	for (int i = 1; i < 5; i++)
		assert_true(ids[i] == ids[0]);
	finish(thread, orders);
}

#define OK "{\"id\":%lld,\"ok\":true,"

static void test_nonsense_refused(void **state)
{
	static const char *const lines[] = {
		OK "\"connections\":-1,\"joined\":0,\"plain\":0}\n",
		OK "\"connections\":1,\"joined\":2,\"plain\":0}\n",
		OK "\"connections\":1e3,\"joined\":0,\"plain\":0}\n",
		OK "\"connections\":99999999999,\"joined\":0,\"plain\":0}\n",
		OK "\"joined\":0,\"plain\":0}\n",
		OK "\"version\":7,\"nics\":[]}\n",
		OK "\"version\":\"1\",\"nics\":{}}\n",
		OK "\"version\":\"1\",\"nics\":[{\"mac\":\"%%s%%n\"}]}\n",
		OK "\"version\":\"1\",\"nics\":[{\"mac\":\"52:54:00:00:00:01\",\"addresses\":[\"10."
		   "0.0.1/24\\u0007\"]}]}\n",
		OK "\"version\":\"1\",\"nics\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}\n",
		NULL,
	};
	pthread_t thread = play(lines);
	struct orders *orders = orders_open(path, NULL);
	struct guest_hello hello;
	struct join_state joins;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_error(orders_joined(orders, mac2, mac1, &joins, in_seconds(5), &err),
			     EPROTO);
	for (int i = 5; i < 10; i++)
		assert_error(orders_hello(orders, &hello, in_seconds(5), &err), EPROTO);
	finish(thread, orders);
}

static void test_flood_is_cut_off(void **state)
{
	static const char *const lines[] = {"flood", "{\"id\":%lld,\"ok\":true}\n", NULL};
	pthread_t thread = play(lines);
	struct orders *orders = orders_open(path, NULL);

	(void)state;
	assert_ok(orders_retire(orders, mac1, mac2, false, in_seconds(10), &err));
	finish(thread, orders);
}

static void test_time_limit(void **state)
{
	static const char *const lines[] = {"-", NULL};
	int64_t began = clock_ns();
	pthread_t thread = play(lines);
	struct orders *orders = orders_open(path, NULL);
	struct orders *nobody = orders_open("/tmp/edgehop-test-no-such.sock", NULL);

	(void)state;
	assert_error(orders_retire(orders, mac1, mac2, false, clock_ns() + 300 * NS_PER_MS, &err),
		     ETIMEDOUT);
	assert_error(orders_retire(nobody, mac1, mac2, false, clock_ns() + 300 * NS_PER_MS, &err),
		     ETIMEDOUT);
	assert_true(clock_ns() - began < 2 * NS_PER_SEC);
	orders_close(nobody);
	finish(thread, orders);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies_understood),
		cmocka_unit_test(test_repeated_after_silence_and_hangup),
		cmocka_unit_test(test_nonsense_refused),
		cmocka_unit_test(test_flood_is_cut_off),
		cmocka_unit_test(test_time_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
