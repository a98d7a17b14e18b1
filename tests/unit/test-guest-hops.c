/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-guest-kit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define HOPS	    10
#define CONNECTIONS 40 /* room for them */

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

static void test_connections_survive_ten_hops(void **state)
{
	const char *const devs[] = {"a", "b"};
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

/* --- newcomers --- */

#define NEWCOMERS     4
#define NEWCOMER_PORT 5003

static atomic_int whole, late, lost;
static _Atomic(const char *) where; /* the address that newcomers know; NULL: they stop */
static atomic_bool serving;

/* Answers each byte with a byte. */
static void *serve(void *arg)
{
	struct pollfd p[64] = {{.fd = *(int *)arg, .events = POLLIN}};
	int count = 1;

	while (serving) {
		poll(p, (nfds_t)count, 20);
		if ((p[0].revents & POLLIN) && count < 64)
			p[count++] = (struct pollfd){.fd = accept(p[0].fd, NULL, NULL),
						     .events = POLLIN};
		for (int i = 1; i < count; i++) {
			char byte;

			if (!p[i].revents)
				continue;
			if (recv(p[i].fd, &byte, 1, MSG_DONTWAIT) == 1) {
				(void)send(p[i].fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
				continue;
			}
			close(p[i].fd);
			p[i--] = p[--count];
		}
	}
	while (count > 1)
		close(p[--count].fd);
	return NULL;
}

static bool within(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, ms) == 1;
}

/* One connection after the other: one that could be made has to bring its answer. */
static void *come(void *unused)
{
	const char *address;

	ns_enter(client);
	while ((address = where)) {
		struct sockaddr_storage sa;
		socklen_t length = sockaddr_of(address, NEWCOMER_PORT, &sa);
		int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP);
		char byte = 'x';
		int failed = 0;
		socklen_t size = sizeof(failed);

		if ((connect(fd, (struct sockaddr *)&sa, length) < 0 && errno != EINPROGRESS) ||
		    !within(fd, POLLOUT, 300) ||
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0 || failed)
			late++;
		else if (send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && within(fd, POLLIN, 4000) &&
			 recv(fd, &byte, 1, 0) == 1)
			whole++;
		else
			lost++;
		close(fd);
		usleep(500);
	}
	return unused;
}

/* As the hop's worker does: again, as long as somebody has not joined. */
static void retire_at_last(const char *old_mac, const char *new_mac)
{
	int64_t until = clock_ns() + 20 * NS_PER_SEC;

	for (;;) {
		auto_json order = retire_order(old_mac, new_mac);
		auto_json reply = NULL;

		json_object_set_new(order, "edgehop", json_integer(1));
		json_object_set_new(order, "id", json_integer(next_id++));
		ns_enter(vm);
		reply = agent_answer(agent, order);
		if (json_is_true(json_object_get(reply, "ok")))
			return;
		if (clock_ns() > until)
			fail_msg("%s", json_string_value(json_object_get(reply, "error")));
	}
}

/* Whoever comes while the old address goes is too late, or stays: nobody is let in and then cut
 * off. */
static void test_newcomers_are_not_lost(void **state)
{
	pthread_t server, comers[NEWCOMERS];
	int listener;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	listener = listen_in(vm, "0.0.0.0", NEWCOMER_PORT, IPPROTO_MPTCP);
	serving = true;
	where = "10.80.1.10";
	assert_int_equal(pthread_create(&server, NULL, serve, &listener), 0);
	for (int i = 0; i < NEWCOMERS; i++)
		assert_int_equal(pthread_create(&comers[i], NULL, come, NULL), 0);
	for (int hop = 0; hop < HOPS; hop++) {
		int from = hop % 2, to = 1 - from;

		usleep(100000);
		order_addresses("announce", macs[to], to ? "10.80.2.10/24" : "10.80.1.10/24",
				gateways[to]);
		usleep(50000);
		retire_at_last(macs[from], macs[to]);
		/* those that know the old address find nobody for a while */
		usleep(50000);
		where = to ? "10.80.2.10" : "10.80.1.10";
	}
	where = NULL;
	for (int i = 0; i < NEWCOMERS; i++)
		pthread_join(comers[i], NULL);
	serving = false;
	pthread_join(server, NULL);
	close(listener);
	print_message("newcomers: %d served, %d too late, %d lost\n", whole, late, lost);
	assert_true(whole > 20 * HOPS && late > 0);
	assert_int_equal(lost, 0);
}

/* What is told of the connection to that port of the VM's, or NULL. Borrowed from reply. */
static const json_t *listed(const json_t *reply, const char *end)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(reply, "list"), i, entry) {
		const char *local = json_string_value(json_object_get(entry, "local"));
		const char *peer = json_string_value(json_object_get(entry, "peer"));

		if (strstr(local, end) || strstr(peer, end))
			return entry;
	}
	return NULL;
}

static bool is_so(const json_t *entry, const char *key)
{
	return json_is_true(json_object_get(entry, key));
}

/* What is known of each connection before a hop, in the middle of it, and afterwards. */
static void test_connections_are_listed(void **state)
{
	struct pair plain, mptcp, own;
	int listener, plain_listener, far;
	json_t *reply;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", "10.80.1.1");
	listener = listen_in(vm, "0.0.0.0", 5001, IPPROTO_MPTCP);
	plain_listener = listen_in(vm, "::", 5002, IPPROTO_MPTCP);
	far = listen_in(client, "0.0.0.0", 6001, IPPROTO_MPTCP);
	mptcp = open_pair(listener, "10.80.1.10", 5001, IPPROTO_MPTCP);
	plain = open_pair(plain_listener, "10.80.1.10", 5002, IPPROTO_TCP);
	connect_in(vm, far, "10.90.0.2", 6001, IPPROTO_MPTCP, &own.vm_fd, &own.client_fd);
	exchange(&mptcp);
	exchange(&plain);
	exchange(&own);
	reply = give(json_pack("{s:s}", "order", "connections"));
	assert_int_equal(json_integer_value(json_object_get(reply, "mptcp")), 2);
	assert_int_equal(json_integer_value(json_object_get(reply, "plain")), 1);
	assert_int_equal(json_array_size(json_object_get(reply, "list")), 3);
	assert_false(is_so(listed(reply, "10.80.1.10:5002"), "mptcp"));
	assert_true(is_so(listed(reply, "10.80.1.10:5001"), "mptcp"));
	assert_false(is_so(listed(reply, "10.80.1.10:5001"), "peer_joined"));
	assert_false(is_so(listed(reply, "10.80.1.10:5001"), "opened_here"));
	assert_true(is_so(listed(reply, "10.90.0.2:6001"), "opened_here"));
	json_decref(reply);
	close_pair(&plain);

	order_addresses("announce", macs[1], "10.80.2.10/24", "10.80.2.1");
	await_joins(macs[1], macs[0], 2);
	reply = give(json_pack("{s:s}", "order", "connections"));
	assert_true(is_so(listed(reply, ":5001"), "peer_joined"));
	assert_true(json_integer_value(json_object_get(listed(reply, ":5001"), "subflows")) >= 2);
	assert_true(is_so(listed(reply, "10.90.0.2:6001"), "opened_here"));
	json_decref(reply);

	order_retire(macs[0], macs[1]);
	reply = give(json_pack("{s:s}", "order", "connections"));
	assert_int_equal(json_integer_value(json_object_get(reply, "mptcp")), 2);
	assert_true(is_so(listed(reply, "10.80.2.10:5001"), "peer_joined"));
	assert_true(is_so(listed(reply, "10.90.0.2:6001"), "opened_here"));
	json_decref(reply);
	close_pair(&mptcp);
	close_pair(&own);
	close(listener);
	close(plain_listener);
	close(far);
}

/* The order in an agent of its own, which is killed after that time, whatever it is doing. */
static void give_and_kill(const json_t *order, useconds_t after)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct agent *own = agent_create(NULL);

		agent_answer(own, order);
		_exit(0);
	}
	usleep(after);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Killed some times, then carried out. */
static void give_among_kills(json_t *order, unsigned int seed)
{
	json_object_set_new(order, "edgehop", json_integer(1));
	json_object_set_new(order, "id", json_integer(next_id++));
	for (unsigned int i = 0; i < 4; i++)
		give_and_kill(order, (seed * 7919 + i * 1237) % 9000);
	for (int tries = 0; tries < 100; tries++) {
		struct agent *next = agent_create(NULL);
		json_t *reply = agent_answer(next, order);
		bool ok = json_is_true(json_object_get(reply, "ok"));

		json_decref(reply);
		agent_destroy(next);
		if (ok) {
			json_decref(order);
			return;
		}
		/* A subflow's end that its killed agent did not wait for. */
		usleep(20000);
		json_object_set_new(order, "id", json_integer(next_id++));
	}
	fail_msg("the order is not carried out");
}

static void test_agent_killed_at_any_point(void **state)
{
	struct pair pairs[3];
	int v4, v6;

	(void)state;
	order_addresses("address", macs[0], "10.80.1.10/24", gateways[0]);
	v4 = listen_in(vm, "0.0.0.0", 5001, IPPROTO_MPTCP);
	v6 = listen_in(vm, "::", 5002, IPPROTO_MPTCP);
	pairs[0] = open_pair(v4, "10.80.1.10", 5001, IPPROTO_MPTCP);
	pairs[1] = open_pair(v6, "10.80.1.10", 5002, IPPROTO_MPTCP);
	for (unsigned int hop = 0; hop < 20; hop++) {
		unsigned int from = hop % 2, to = 1 - from;
		char address[IP_TEXT];

		snprintf(address, sizeof(address), "10.80.%u.10", from + 1);
		pairs[2] = open_pair(v4, address, 5001, IPPROTO_MPTCP);
		for (int i = 0; i < 3; i++)
			exchange(&pairs[i]);
		snprintf(address, sizeof(address), "10.80.%u.10/24", to + 1);
		give_among_kills(json_pack("{s:s,s:s,s:[{s:s,s:s}]}", "order", "announce", "nic",
					   macs[to], "addresses", "address", address, "gateway",
					   gateways[to]),
				 hop);
		await_joins(macs[to], macs[from], 3);
		give_among_kills(retire_order(macs[from], macs[to]), hop + 1000);
		assert_nic_idle(from ? "b" : "a");
		for (int i = 0; i < 3; i++)
			exchange(&pairs[i]);
		close_pair(&pairs[2]);
	}
	close_pair(&pairs[0]);
	close_pair(&pairs[1]);
	close(v4);
	close(v6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connections_survive_ten_hops, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_plain_connection_holds_the_vnic, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_silent_connection_joins, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newcomers_are_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_agent_killed_at_any_point, set_up, tear_down),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
