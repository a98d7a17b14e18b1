/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's channel through xenstore: what each end makes of the other's values, and of nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/xen-bridge.h"
#include "netswitch/xen-link.h"

static void test_stop_and_wait(void **unused)
{
	static struct xen_link_out out;
	static char data[3 * XEN_LINK_CHUNK / 2];
	char value[XEN_LINK_VALUE];
	struct xen_link_in in = {0};
	const char *got;
	size_t n, size;

	(void)unused;
	memset(data, 'x', sizeof(data));
	xen_link_out_init(&out, 0xabc);
	assert_int_equal(xen_link_value(&out, false, value), 0);
	xen_link_put(&out, data, sizeof(data));
	n = xen_link_value(&out, false, value);
	assert_memory_equal(value, "00000abc.1 xxx", 14);
	assert_int_equal(xen_link_take(&in, value, n, &got, &size), XEN_LINK_FRESH);
	assert_int_equal(size, XEN_LINK_CHUNK);
	/* The same once more is known by its number; nothing new goes before it was seen. */
	assert_int_equal(xen_link_value(&out, false, value), 0);
	assert_int_equal(xen_link_value(&out, true, value), n);
	assert_int_equal(xen_link_take(&in, value, n, &got, &size), XEN_LINK_AGAIN);
	assert_false(xen_link_seen(&out, "00000abc.2", 10));
	assert_false(xen_link_seen(&out, "", 0));
	assert_true(xen_link_seen(&out, in.id, strlen(in.id)));
	assert_false(xen_link_seen(&out, in.id, strlen(in.id)));
	n = xen_link_value(&out, false, value);
	assert_int_equal(xen_link_take(&in, value, n, &got, &size), XEN_LINK_MORE);
	assert_int_equal(size, XEN_LINK_CHUNK / 2);
	assert_int_equal(xen_link_room(&out), XEN_LINK_QUEUE - XEN_LINK_CHUNK / 2);
}

static void test_queue_is_bounded(void **unused)
{
	static struct xen_link_out out;
	static char data[XEN_LINK_QUEUE];

	(void)unused;
	xen_link_out_init(&out, 1);
	for (int i = 0; i < 3; i++)
		xen_link_put(&out, data, sizeof(data));
	assert_int_equal(xen_link_room(&out), 0);
}

static void test_nonsense(void **unused)
{
	static const char *const values[] = {
		"",
		" ",
		"x",
		"00000abc",
		"00000abc.",
		"00000abc.1",
		"00000ABC.1 x",
		"0000abc.1 xx",
		"00000abc. x",
		"00000abc.1x",
		"00000abc.1234567890123456789 x",
	};
	static char large[XEN_LINK_VALUE + 4096];
	struct xen_link_in in = {0};
	const char *data;
	size_t size;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		assert_int_equal(xen_link_take(&in, values[i], strlen(values[i]), &data, &size),
				 XEN_LINK_NOTHING);
	assert_int_equal(xen_link_take(&in, NULL, 0, &data, &size), XEN_LINK_NOTHING);
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	for (size_t i = 0; i < 11; i++)
		large[i] = "00000abc.1 "[i];
	assert_int_equal(xen_link_take(&in, large, 11 + XEN_LINK_CHUNK + 1, &data, &size),
			 XEN_LINK_NOTHING);
	assert_int_equal(xen_link_take(&in, large, 11 + XEN_LINK_CHUNK, &data, &size),
			 XEN_LINK_FRESH);
	assert_string_equal(in.id, "00000abc.1");
}

/* ---- Two bridges over a xenstore of four nodes ---- */

#define NODES 4

struct store {
	const char *names[NODES];
	char values[NODES][XEN_LINK_VALUE];
	unsigned sizes[NODES];
	bool changed[2]; /* for the host, for the guest */
	unsigned writes;
};

static int find(struct store *store, const char *node)
{
	for (int i = 0; i < NODES; i++)
		if (!store->names[i] || strcmp(store->names[i], node) == 0) {
			store->names[i] = node;
			return i;
		}
	fail();
	return 0;
}

static char *read_node(void *arg, const char *node, unsigned *n)
{
	struct store *store = arg;
	int i = find(store, node);
	char *copy;

	if (store->sizes[i] == 0)
		return NULL;
	copy = malloc(store->sizes[i] + 1);
	memcpy(copy, store->values[i], store->sizes[i]);
	*n = store->sizes[i];
	return copy;
}

static void write_node(void *arg, const char *node, const char *value, size_t n)
{
	struct store *store = arg;
	int i = find(store, node);

	assert_true(n <= XEN_LINK_VALUE);
	memcpy(store->values[i], value, n);
	store->sizes[i] = (unsigned)n;
	store->changed[0] = store->changed[1] = true;
	store->writes++;
}

struct pair {
	struct store store;
	struct xen_bridge *bridges[2]; /* the host's, the guest's */
	int ours[2], theirs[2];	       /* ours: what host's client and guest's agent have */
};

static void open_pair(struct pair *pair)
{
	struct xen_bridge_store store = {read_node, write_node, &pair->store};

	memset(&pair->store, 0, sizeof(pair->store));
	for (int i = 0; i < 2; i++) {
		int ends[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			0);
		pair->ours[i] = ends[0];
		pair->theirs[i] = ends[1];
		pair->bridges[i] =
			xen_bridge_create(i ? XEN_BRIDGE_GUEST : XEN_BRIDGE_HOST, &store, NULL);
		xen_bridge_join(pair->bridges[i], ends[1]);
	}
}

static void close_pair(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		xen_bridge_destroy(pair->bridges[i]);
		close(pair->ours[i]);
		close(pair->theirs[i]);
	}
}

static void step(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		struct pollfd p = {.fd = pair->theirs[i]};
		int timeout = 1000;

		if (pair->store.changed[i])
			xen_bridge_changed(pair->bridges[i]);
		pair->store.changed[i] = false;
		p.events = xen_bridge_events(pair->bridges[i], &timeout);
		poll(&p, 1, 0);
		assert_true(xen_bridge_step(pair->bridges[i], p.revents));
	}
	clock_sleep_ms(1);
}

/* What arrives at one end, up to n bytes, or in 5 s. */
static size_t collect(struct pair *pair, int end, char *buf, size_t n)
{
	int64_t until = clock_ns() + 5 * NS_PER_SEC;
	size_t have = 0;

	while (have < n && clock_ns() < until) {
		ssize_t got;

		step(pair);
		got = read(pair->ours[end], buf + have, n - have);
		if (got > 0)
			have += (size_t)got;
	}
	return have;
}

static void test_both_ways(void **unused)
{
	static char large[20000], got[20001];
	struct pair pair;

	(void)unused;
	open_pair(&pair);
	assert_int_equal(write(pair.ours[0], "{\"order\":1}\n", 12), 12);
	/* A session begins with an empty line. */
	assert_int_equal(collect(&pair, 1, got, 13), 13);
	assert_memory_equal(got, "\n{\"order\":1}\n", 13);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)('a' + i % 26);
	assert_int_equal(write(pair.ours[1], large, sizeof(large)), sizeof(large));
	assert_int_equal(collect(&pair, 0, got, sizeof(large) + 1), sizeof(large) + 1);
	assert_memory_equal(got + 1, large, sizeof(large));
	close_pair(&pair);
}

/* Nobody reads: the sender waits, and nothing grows. */
static void test_nobody_reads(void **unused)
{
	static char data[4096];
	int little = 4096;
	struct pair pair;
	unsigned writes;

	(void)unused;
	open_pair(&pair);
	assert_int_equal(setsockopt(pair.theirs[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)),
			 0);
	for (int i = 0; i < 400; i++) {
		(void)!write(pair.ours[1], data, sizeof(data));
		step(&pair);
	}
	writes = pair.store.writes;
	for (int i = 0; i < 50; i++)
		step(&pair);
	assert_true(pair.store.writes <= writes + 2);
	close_pair(&pair);
}

/* At another host the nodes are gone; what was under way is written again. */
static void test_nodes_vanish(void **unused)
{
	struct pair pair;
	char got[16];

	(void)unused;
	open_pair(&pair);
	assert_int_equal(write(pair.ours[1], "hello\n", 6), 6);
	xen_bridge_step(pair.bridges[1], POLLIN);
	memset(&pair.store, 0, sizeof(pair.store));
	assert_int_equal(collect(&pair, 0, got, 7), 7);
	assert_memory_equal(got, "\nhello\n", 7);
	close_pair(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stop_and_wait), cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_nonsense),      cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_nobody_reads),  cmocka_unit_test(test_nodes_vanish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
