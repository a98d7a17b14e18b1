/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/relay.h"
#include "migrate/transport/unacked.h"
#include "tests/unit/test-transport-resume.h"
#include "tests/unit/test-transport-wire.h"

/* Two relays of a channel through a wire, and what the door does for the far one. */
struct rig {
	struct listener *listener;
	uint16_t port;
	struct wire wire;
	struct channel_way way;
	struct relay *near, *far;
	int near_fd, far_fd;
	pthread_t porter;
	atomic_bool stop;
};

static void *carry_offers(void *arg)
{
	struct rig *rig = arg;

	while (!rig->stop) {
		struct channel *channel = listener_take_again(rig->listener);

		if (channel)
			(void)relay_offer(rig->far, channel, NULL);
		else
			clock_sleep_ms(1);
	}
	return NULL;
}

/* silence_ms: of both sides. */
static void rig_open(struct rig *rig, uint32_t seed, int64_t silence_ms, int64_t patience_ms)
{
	struct channel *c;

	memset(rig, 0, sizeof(*rig));
	rig->listener = listener_start(mptcp_listen(&rig->port, 0, NULL), &key, false, NULL);
	assert_non_null(rig->listener);
	wire_start(&rig->wire, rig->port, seed);
	rig->way = way_to(rig->wire.port);
	c = channel_connect(rig->way.addresses, 1, rig->wire.port, &key, "memory", 0, false, soon(),
			    NULL);
	assert_non_null(c);
	assert_true(c->may_resume);
	channel_let_resume(c, patience_ms * NS_PER_MS, WINDOW, &rig->way, NULL);
	rig->near_fd = relay_start_pair(c, silence_ms, &rig->near, NULL);
	c = listener_take(rig->listener, "memory", soon(), NULL);
	assert_non_null(c);
	channel_let_resume(c, patience_ms * NS_PER_MS, WINDOW, NULL, NULL);
	rig->far_fd = relay_start_pair(c, silence_ms, &rig->far, NULL);
	assert_true(rig->near_fd >= 0 && rig->far_fd >= 0);
	pthread_create(&rig->porter, NULL, carry_offers, rig);
}

static void rig_close(struct rig *rig)
{
	relay_destroy(rig->near);
	rig->stop = true;
	pthread_join(rig->porter, NULL);
	relay_destroy(rig->far);
	listener_stop(rig->listener);
	wire_stop(&rig->wire);
	close(rig->near_fd);
	close(rig->far_fd);
}

/* ---- Streams, byte for byte ---- */

struct flow {
	int fd;
	uint32_t seed;
	size_t bytes; /* a multiple of 4 */
	bool good;
};

static void *write_stream(void *arg)
{
	struct flow *flow = arg;
	uint32_t state = flow->seed;
	uint32_t block[4099]; /* no multiple of a frame */

	for (size_t done = 0; done < flow->bytes;) {
		size_t left = flow->bytes - done;
		size_t n = sizeof(block) < left ? sizeof(block) : left;

		for (size_t i = 0; i < n / 4; i++)
			block[i] = wire_random(&state);
		if (write_all(flow->fd, block, n, NULL) < 0)
			return NULL;
		done += n;
	}
	shutdown(flow->fd, SHUT_WR);
	return NULL;
}

static void *read_stream(void *arg)
{
	struct flow *flow = arg;
	uint32_t state = flow->seed;
	uint32_t block[4099];
	char beyond;

	for (size_t done = 0; done < flow->bytes;) {
		size_t left = flow->bytes - done;
		size_t n = sizeof(block) < left ? sizeof(block) : left;

		if (read_all(flow->fd, block, n, NULL) < 0)
			return NULL;
		for (size_t i = 0; i < n / 4; i++)
			if (block[i] != wire_random(&state))
				return NULL;
		done += n;
	}
	flow->good = read(flow->fd, &beyond, 1) == 0;
	return NULL;
}

/* So many bytes there and back at the same time. */
static void check_streams(struct rig *rig, size_t there, size_t back)
{
	struct flow out = {rig->near_fd, 7, there, false}, home = {rig->far_fd, 8, back, false};
	struct flow out_in = {rig->far_fd, 7, there, false},
		    home_in = {rig->near_fd, 8, back, false};
	pthread_t threads[4];

	pthread_create(&threads[0], NULL, write_stream, &out);
	pthread_create(&threads[1], NULL, write_stream, &home);
	pthread_create(&threads[2], NULL, read_stream, &out_in);
	pthread_create(&threads[3], NULL, read_stream, &home_in);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_true(out_in.good);
	assert_true(home_in.good);
	assert_true(ends(rig->near, RELAY_ENDED, 8000, NULL));
	assert_true(ends(rig->far, RELAY_ENDED, 8000, NULL));
}

static void check_window(struct relay *relay)
{
	struct relay_stats stats = stats_of(relay);

	assert_int_equal(stats.window, WINDOW);
	assert_true(stats.again_most <= stats.window);
	assert_true(stats.again <= stats.resumed * stats.window);
}

#define STREAM ((size_t)24 << 20)

static void streams_outlive_their_connections(void **test)
{
	struct rig rig;
	struct relay_stats stats;

	(void)test;
	rig_open(&rig, 1, 5000, 20000);
	rig.wire.most = 1500000;
	check_streams(&rig, STREAM, STREAM);
	stats = stats_of(rig.near);
	print_message("%d cuts, %u resumptions, %llu bytes sent again, %llu at the most\n",
		      (int)rig.wire.cuts, stats.resumed, (unsigned long long)stats.again,
		      (unsigned long long)stats.again_most);
	assert_true(rig.wire.cuts >= 30);
	assert_true(stats.resumed >= 20);
	assert_true(stats.again > 0);
	assert_int_equal(stats.sent, STREAM);
	assert_int_equal(stats.delivered, STREAM);
	assert_int_equal(stats.received, STREAM);
	check_window(rig.near);
	check_window(rig.far);
	rig_close(&rig);
}

/*
 * Short streams: what is cut is handshakes, answers to resumptions, ends and their ACKs. No frame
 * is longer than a connection lives.
 */
static void ends_are_not_lost(void **test)
{
	(void)test;
	for (uint32_t seed = 0; seed < 30; seed++) {
		struct rig rig;

		rig_open(&rig, seed, 5000, 20000);
		rig.wire.least = 1;
		rig.wire.most = 3000; /* of a handshake and HELLOs these are 900 */
		check_streams(&rig, 400 + 4 * seed, seed % 2 ? 0 : 800);
		rig_close(&rig);
	}
}

/* ---- Silence ---- */

static void say(int fd, const char *word)
{
	assert_int_equal(write_all(fd, word, strlen(word), NULL), 0);
}

static void hear(int fd, const char *word)
{
	char got[64] = "";

	assert_int_equal(read_all(fd, got, strlen(word), NULL), 0);
	assert_string_equal(got, word);
}

static void a_silent_path_comes_back(void **test)
{
	struct rig rig;

	(void)test;
	rig_open(&rig, 3, 1500, 20000);
	say(rig.near_fd, "before");
	hear(rig.far_fd, "before");
	rig.wire.silent = true;
	say(rig.near_fd, "there");
	say(rig.far_fd, "back");
	clock_sleep_ms(2500);
	assert_true(stats_of(rig.near).lost_ns != 0);
	rig.wire.silent = false;
	hear(rig.far_fd, "there");
	hear(rig.near_fd, "back");
	say(rig.far_fd, "after");
	hear(rig.near_fd, "after");
	assert_int_equal(stats_of(rig.near).resumed, 1);
	assert_true(stats_of(rig.near).stood_ns > 2 * NS_PER_SEC);
	assert_int_equal(stats_of(rig.near).lost_ns, 0);
	rig_close(&rig);
}

static void a_longer_loss_fails(void **test)
{
	struct rig rig;
	auto_error near = NULL;
	auto_error far = NULL;
	int64_t begun;

	(void)test;
	rig_open(&rig, 4, 1500, 3000);
	rig.wire.silent = true;
	begun = clock_ns();
	assert_true(ends(rig.near, RELAY_FAILED, 6000, &near));
	assert_true(ends(rig.far, RELAY_FAILED, 6000, &far));
	assert_true(clock_ns() - begun > 2 * NS_PER_SEC);
	assert_true(clock_ns() - begun < 5 * NS_PER_SEC);
	assert_int_equal(near->code, ETIMEDOUT);
	assert_int_equal(far->code, ETIMEDOUT);
	rig_close(&rig);
}

static void patience_can_be_cut_short(void **test)
{
	struct rig rig;
	int64_t begun;

	(void)test;
	rig_open(&rig, 5, 1500, 60000);
	rig.wire.silent = true;
	clock_sleep_ms(2500);
	assert_true(stats_of(rig.near).lost_ns != 0);
	begun = clock_ns();
	relay_set_patience(rig.near, 0); /* no less than the silence that it was started with */
	relay_set_patience(rig.far, 0);
	assert_true(ends(rig.near, RELAY_FAILED, 1000, NULL));
	assert_true(ends(rig.far, RELAY_FAILED, 1000, NULL));
	assert_true(clock_ns() - begun < NS_PER_SEC);
	rig_close(&rig);
}

static void a_lost_one_is_destroyed_at_once(void **test)
{
	struct rig rig;
	int64_t begun;

	(void)test;
	rig_open(&rig, 6, 1000, 60000);
	rig.wire.silent = true;
	clock_sleep_ms(1800);
	assert_true(stats_of(rig.near).lost_ns != 0);
	begun = clock_ns();
	rig_close(&rig);
	assert_true(clock_ns() - begun < NS_PER_SEC);
}

static void nobody_there_is_the_end(void **test)
{
	struct rig rig;
	auto_error why = NULL;

	(void)test;
	rig_open(&rig, 7, 5000, 60000);
	/* as when the destination's process is killed */
	close(steal_fd(&rig.wire.listen_fd));
	rig.wire.stop = true;
	assert_true(ends(rig.near, RELAY_FAILED, 6000, &why));
	assert_non_null(strstr(error_text(why), "channel memory"));
	rig_close(&rig);
}

/* ---- What is kept ---- */

static void what_is_kept_is_what_was_sent(void **test)
{
	struct unacked u = {0};
	static uint8_t block[200000], got[200000];
	uint32_t seed = 9;

	(void)test;
	for (int i = 0; i < 3000; i++) {
		size_t n = wire_random(&seed) % 30000;
		uint64_t at, length;

		for (size_t k = 0; k < n; k++)
			block[k] = (uint8_t)((u.end + k) * 2654435761u >> 13);
		assert_int_equal(unacked_put(&u, block, n, NULL), 0);
		at = u.start + wire_random(&seed) % (u.end - u.start + 1);
		length = u.end - at < sizeof(got) ? u.end - at : sizeof(got);
		unacked_get(&u, at, got, length);
		for (size_t k = 0; k < length; k++)
			assert_int_equal(got[k], (uint8_t)((at + k) * 2654435761u >> 13));
		if (u.end - u.start > 100000)
			unacked_drop(&u, u.end - wire_random(&seed) % 50000);
	}
	assert_true(u.size <= 262144);
	unacked_clear(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_what_was_sent),
		cmocka_unit_test(streams_outlive_their_connections),
		cmocka_unit_test(ends_are_not_lost),
		cmocka_unit_test(a_silent_path_comes_back),
		cmocka_unit_test(a_longer_loss_fails),
		cmocka_unit_test(patience_can_be_cut_short),
		cmocka_unit_test(a_lost_one_is_destroyed_at_once),
		cmocka_unit_test(nobody_there_is_the_end),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
