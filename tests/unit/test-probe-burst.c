/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/probe/burst.h"

static void fill(uint64_t *delivered, size_t n, uint64_t slow_ticks, uint64_t a_tick)
{
	for (size_t i = 0; i < n; i++)
		delivered[i] = (i ? delivered[i - 1] : 0) + (i < slow_ticks ? a_tick / 10 : a_tick);
}

static void test_judge(void **unused)
{
	uint64_t delivered[21];
	double rate, spread;

	(void)unused;
	fill(delivered, 20, 5, 1000);
	burst_judge(delivered, 20, &rate, &spread);
	assert_true(fabs(rate - 1000) < 1);
	assert_true(spread < 0.01);

	/* up and down by a fifth, in lumps of three ticks */
	for (size_t i = 0; i < 21; i++)
		delivered[i] = (i ? delivered[i - 1] : 0) + (i / 3 % 2 ? 1200 : 800);
	burst_judge(delivered, 21, &rate, &spread);
	assert_true(rate > 900 && rate < 1100);
	assert_true(spread > 0.1 && spread < 0.25);

	fill(delivered, 1, 0, 500);
	burst_judge(delivered, 1, &rate, &spread);
	assert_true(fabs(rate - 500) < 1);
	assert_true(spread >= 1);
	fill(delivered, 2, 0, 0);
	burst_judge(delivered, 2, &rate, &spread);
	assert_true(rate == 0 && spread >= 1);
}

static void test_steady(void **unused)
{
	uint64_t delivered[40];

	(void)unused;
	fill(delivered, 40, 8, 1000);
	assert_false(burst_is_steady(delivered, 0));
	assert_false(burst_is_steady(delivered, 14));
	assert_true(burst_is_steady(delivered, 20));
	for (size_t i = 0; i < 40; i++)
		delivered[i] = i * i;
	assert_false(burst_is_steady(delivered, 18));
	fill(delivered, 40, 0, 0);
	assert_false(burst_is_steady(delivered, 40)); /* steady at nothing is no rate */
}

/* What the far side's door does, without the door: a relay into a socket pair. */
static void *swallow(void *channel)
{
	struct relay *relay;
	int fd = relay_start_pair(channel, BURST_SILENCE_MS, &relay, NULL);

	assert_true(fd >= 0);
	while (burst_swallow(fd, clock_ns() + NS_PER_SEC))
		;
	relay_destroy(relay);
	close(fd);
	return NULL;
}

/* The real thing, over loopback; and stopped. */
static void test_over_loopback(void **unused)
{
	struct channel_key key = {.hop = "6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801", .key = {1, 2, 3}};
	struct ip_addr loopback = {.family = AF_INET, .bytes = {127, 0, 0, 1}, .prefix = 32};
	static volatile sig_atomic_t stop;
	auto_error why = NULL;

	(void)unused;
	for (int round = 0; round < 2; round++) {
		uint16_t port = 0;
		struct listener *listener =
			listener_start(mptcp_listen(&port, 0, NULL), &key, false, NULL);
		struct channel *near =
			channel_connect_from(&loopback, &loopback, port, &key, BURST_CHANNEL, 0,
					     clock_ns() + 5 * NS_PER_SEC, NULL);
		struct channel *far =
			listener_take(listener, BURST_CHANNEL, clock_ns() + 5 * NS_PER_SEC, NULL);
		struct burst burst;
		pthread_t thread;

		assert_non_null(near);
		assert_non_null(far);
		pthread_create(&thread, NULL, swallow, far);
		stop = round;
		if (round == 0) {
			assert_int_equal(burst_run(near, NS_PER_SEC, &stop, &burst, &why), 0);
			assert_true(burst.rate > 1e6);
			assert_int_equal(burst.stats.n_subflows, 1);
			assert_true(burst.stats.subflows[0].mtu >= 1500);
		} else {
			assert_int_equal(burst_run(near, NS_PER_SEC, &stop, &burst, &why), -1);
			assert_int_equal(why->code, EINTR);
		}
		pthread_join(thread, NULL);
		listener_stop(listener);
	}
}

static void test_key_as_text(void **unused)
{
	struct channel_key key = {.key = {0, 1, 0xab, 0xff}}, back = {0};
	char hex[CHANNEL_KEY_HEX];

	(void)unused;
	channel_key_to_hex(&key, hex);
	assert_memory_equal(hex, "0001abff", 8);
	assert_int_equal(channel_key_from_hex(hex, &back, NULL), 0);
	assert_memory_equal(back.key, key.key, TLS_KEY_SIZE);
	hex[3] = 'G';
	assert_int_equal(channel_key_from_hex(hex, &back, NULL), -1);
	hex[3] = '\0';
	assert_int_equal(channel_key_from_hex(hex, &back, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_steady),
		cmocka_unit_test(test_over_loopback),
		cmocka_unit_test(test_key_as_text),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
