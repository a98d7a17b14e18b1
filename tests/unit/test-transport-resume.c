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
#include "migrate/transport/frame.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/relay.h"
#include "migrate/transport/unacked.h"
#include "tests/unit/test-transport-wire.h"

#define HOP    "0d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
#define OTHER  "1d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
#define WINDOW RELAY_WINDOW_LEAST

static const struct channel_key key = {.hop = HOP, .key = {1, 2, 3}};
static const struct channel_key other_hop = {.hop = OTHER, .key = {1, 2, 3}};

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

static int64_t soon(void)
{
	return clock_ns() + 5 * NS_PER_SEC;
}

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

static struct channel_way way_to(uint16_t port)
{
	const uint8_t bytes[] = {127, 0, 0, 1};
	struct channel_way way = {.n = 1, .port = port, .key = key};

	way.addresses[0] = ip_from_bytes(AF_INET, bytes);
	return way;
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

static struct relay_stats stats_of(struct relay *relay)
{
	struct relay_stats stats;

	relay_stats(relay, &stats);
	return stats;
}

static bool ends(struct relay *relay, enum relay_end end, int64_t ms, struct error **err)
{
	enum relay_end now = RELAY_RUNNING;

	for (int64_t i = 0; i < ms && (now = relay_poll(relay, err)) == RELAY_RUNNING; i++)
		clock_sleep_ms(1);
	return now == end;
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

static void check_word(int from, int to, const char *word)
{
	char got[64] = "";

	assert_int_equal(write_all(from, word, strlen(word), NULL), 0);
	assert_int_equal(read_all(to, got, strlen(word), NULL), 0);
	assert_string_equal(got, word);
}

static void a_silent_path_comes_back(void **test)
{
	struct rig rig;

	(void)test;
	rig_open(&rig, 3, 1500, 20000);
	check_word(rig.near_fd, rig.far_fd, "before");
	rig.wire.silent = true;
	assert_int_equal(write_all(rig.near_fd, "there", 5, NULL), 0);
	assert_int_equal(write_all(rig.far_fd, "back", 4, NULL), 0);
	clock_sleep_ms(2500);
	assert_true(stats_of(rig.near).lost_ns != 0);
	rig.wire.silent = false;
	check_word(rig.near_fd, rig.far_fd, "" /* nothing more */);
	{
		char got[16] = "";

		assert_int_equal(read_all(rig.far_fd, got, 5, NULL), 0);
		assert_string_equal(got, "there");
		memset(got, 0, sizeof(got));
		assert_int_equal(read_all(rig.near_fd, got, 4, NULL), 0);
		assert_string_equal(got, "back");
	}
	check_word(rig.far_fd, rig.near_fd, "after");
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
	assert_true(ends(rig.near, RELAY_FAILED, 3000, &why));
	assert_non_null(strstr(error_text(why), "channel memory"));
	rig_close(&rig);
}

/* ---- Offers and answers that are not to be trusted ---- */

static void put_frame(struct channel *c, enum frame_type type, uint64_t sequence, const char *text)
{
	struct frame frame = {.type = type, .length = (uint32_t)strlen(text), .sequence = sequence};
	uint8_t out[FRAME_HEADER_SIZE + 64];

	frame_encode(&frame, out);
	memcpy(out + FRAME_HEADER_SIZE, text, frame.length);
	assert_int_equal(channel_write(c, out, FRAME_HEADER_SIZE + frame.length, NULL),
			 FRAME_HEADER_SIZE + frame.length);
}

/* The next frame but signs of life and acknowledgements; text: its payload. */
static struct frame get_frame(struct channel *c, char text[600])
{
	struct frame frame = {0};
	uint8_t in[FRAME_HEADER_SIZE + 512];
	int64_t until = soon();

	do {
		size_t have = 0, want = FRAME_HEADER_SIZE;

		while (have < want && clock_ns() < until) {
			ssize_t n = channel_read(c, in + have, want - have, NULL);

			if (n < 0)
				return (struct frame){0};
			if (n == 0)
				clock_sleep_ms(1);
			have += (size_t)n;
			if (have == FRAME_HEADER_SIZE && want == FRAME_HEADER_SIZE) {
				assert_int_equal(frame_decode(in, &frame, NULL), 0);
				want += frame.length;
			}
		}
		assert_int_equal(have, want);
	} while (frame.type == FRAME_PING || frame.type == FRAME_ACK);
	snprintf(text, 600, "%.*s", (int)frame.length, (char *)in + FRAME_HEADER_SIZE);
	return frame;
}

/* A relay of a destination, and the test in the place of its source. */
struct guard {
	struct listener *listener;
	struct channel_way way;
	struct channel *first;
	struct relay *far;
	int far_fd;
};

static void guard_open(struct guard *g)
{
	uint16_t port = 0;
	struct channel *c;

	g->listener = listener_start(mptcp_listen(&port, 0, NULL), &key, false, NULL);
	g->way = way_to(port);
	g->first =
		channel_connect(g->way.addresses, 1, port, &key, "memory", 0, false, soon(), NULL);
	c = listener_take(g->listener, "memory", soon(), NULL);
	assert_non_null(c);
	channel_let_resume(c, 20 * NS_PER_SEC, WINDOW, NULL, NULL);
	g->far_fd = relay_start_pair(c, 5000, &g->far, NULL);
}

static void guard_close(struct guard *g)
{
	relay_destroy(g->far);
	channel_destroy(g->first);
	listener_stop(g->listener);
	close(g->far_fd);
}

/* Opens it again, and has the relay decide. */
static struct channel *offer(struct guard *g, uint32_t generation, uint64_t received)
{
	struct channel *c = channel_dial(&g->way, "memory", generation, received, 5 * NS_PER_SEC,
					 -1, soon(), NULL);
	struct channel *there = NULL;

	assert_non_null(c);
	for (int i = 0; i < 2000 && !there; i++) {
		there = listener_take_again(g->listener);
		clock_sleep_ms(1);
	}
	assert_non_null(there);
	(void)relay_offer(g->far, there, NULL);
	return c;
}

static void refused(struct guard *g, uint32_t generation, uint64_t received, const char *why)
{
	struct channel *c = offer(g, generation, received);
	char text[600];

	assert_int_equal(get_frame(c, text).type, FRAME_ERROR);
	if (!strstr(text, why))
		fail_msg("found \"%s\", expected \"%s\"", text, why);
	channel_destroy(c);
}

static void hostile_offers_are_refused(void **test)
{
	struct guard g;
	struct channel *c;
	struct channel_way wrong;
	char text[600];

	(void)test;
	guard_open(&g);
	assert_int_equal(write_all(g.far_fd, "0123456789", 10, NULL), 0);
	assert_int_equal(get_frame(g.first, text).type, FRAME_DATA);
	put_frame(g.first, FRAME_ACK, 4, "");
	for (int i = 0; i < 2000 && stats_of(g.far).delivered < 4; i++)
		clock_sleep_ms(1);
	refused(&g, 3, 11, "found 11 bytes received"); /* never sent */
	refused(&g, 3, UINT64_MAX, "bytes received");
	refused(&g, 3, 3, "found 3 bytes received"); /* acknowledged already */
	wrong = g.way;
	wrong.key = other_hop;
	assert_null(channel_dial(&wrong, "memory", 4, 4, NS_PER_SEC, -1, soon(), NULL));
	/* none of these has touched the channel */
	put_frame(g.first, FRAME_DATA, 0, "still");
	assert_int_equal(read_all(g.far_fd, text, 5, NULL), 0);
	assert_memory_equal(text, "still", 5);

	c = offer(&g, 3, 4);
	assert_int_equal(get_frame(c, text).type, FRAME_RESUME);
	assert_int_equal(get_frame(c, text).type, FRAME_DATA);
	assert_string_equal(text, "456789");
	refused(&g, 3, 4, "found generation 3"); /* again */
	refused(&g, 2, 4, "found generation 2"); /* late */
	assert_int_equal(relay_poll(g.far, NULL), RELAY_RUNNING);
	channel_destroy(c);
	guard_close(&g);
}

static void an_older_connection_has_no_say(void **test)
{
	struct guard g;
	struct channel *c;
	struct frame answer;
	char text[600] = "";

	(void)test;
	guard_open(&g);
	put_frame(g.first, FRAME_DATA, 0, "aaaa");
	assert_int_equal(read_all(g.far_fd, text, 4, NULL), 0);
	c = offer(&g, 1, 0);
	answer = get_frame(c, text);
	assert_int_equal(answer.type, FRAME_RESUME);
	assert_int_equal(answer.sequence, 4);
	(void)channel_write(g.first, text, 0, NULL);
	put_frame(g.first, FRAME_DATA, 4, "XXXX"); /* late bytes of the one before */
	clock_sleep_ms(50);
	put_frame(c, FRAME_DATA, 4, "bbbb");
	put_frame(c, FRAME_EOF, 8, "");
	assert_int_equal(read_all(g.far_fd, text, 4, NULL), 0);
	assert_memory_equal(text, "bbbb", 4);
	assert_int_equal(read(g.far_fd, text, 1), 0);
	channel_destroy(c);
	guard_close(&g);
}

static void acknowledgements_do_not_go_back(void **test)
{
	struct guard g;
	auto_error why = NULL;
	char text[600];

	(void)test;
	guard_open(&g);
	assert_int_equal(write_all(g.far_fd, "0123456789", 10, NULL), 0);
	assert_int_equal(get_frame(g.first, text).type, FRAME_DATA);
	put_frame(g.first, FRAME_ACK, 8, "");
	put_frame(g.first, FRAME_ACK, 2, "");
	assert_true(ends(g.far, RELAY_FAILED, 3000, &why));
	assert_int_equal(why->code, EPROTO);
	guard_close(&g);
}

/* The test in the place of the destination: what it answers to a resumption. */
static void answered(enum frame_type type, uint64_t sequence, const char *expected)
{
	uint16_t port = 0;
	struct listener *l = listener_start(mptcp_listen(&port, 0, NULL), &key, false, NULL);
	struct channel_way way = way_to(port);
	struct channel *near =
		channel_connect(way.addresses, 1, port, &key, "memory", 0, false, soon(), NULL);
	struct channel *far = listener_take(l, "memory", soon(), NULL);
	struct relay *relay;
	auto_error why = NULL;
	char text[600];
	int fd;

	channel_let_resume(near, 20 * NS_PER_SEC, WINDOW, &way, NULL);
	fd = relay_start_pair(near, 5000, &relay, NULL);
	assert_int_equal(write_all(fd, "0123456789", 10, NULL), 0);
	assert_int_equal(get_frame(far, text).type, FRAME_DATA);
	channel_destroy(far);
	far = NULL;
	for (int i = 0; i < 3000 && !far; i++) {
		far = listener_take_again(l);
		clock_sleep_ms(1);
	}
	assert_non_null(far);
	assert_int_equal(far->generation, 1);
	put_frame(far, type, sequence, type == FRAME_ERROR ? "no" : type == FRAME_DATA ? "x" : "");
	assert_true(ends(relay, RELAY_FAILED, 3000, &why));
	if (!strstr(error_text(why), expected))
		fail_msg("found \"%s\", expected \"%s\"", error_text(why), expected);
	channel_destroy(far);
	relay_destroy(relay);
	listener_stop(l);
	close(fd);
}

static void hostile_answers_are_refused(void **test)
{
	(void)test;
	answered(FRAME_RESUME, 11, "the far side has 11 bytes, expected 0 to 10");
	answered(FRAME_DATA, 0, "expected RESUME");
	answered(FRAME_ERROR, 0, "does not go on: no");
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
		cmocka_unit_test(hostile_offers_are_refused),
		cmocka_unit_test(an_older_connection_has_no_say),
		cmocka_unit_test(acknowledgements_do_not_go_back),
		cmocka_unit_test(hostile_answers_are_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
