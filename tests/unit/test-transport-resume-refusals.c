/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "migrate/transport/frame.h"
#include "migrate/transport/mptcp.h"
#include "tests/unit/test-transport-resume.h"

/* Offers and answers of a resumption that are not to be trusted. */
#define OTHER "1d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"

static const struct channel_key other_hop = {.hop = OTHER, .key = {1, 2, 3}};

static ssize_t try_frame(struct channel *c, enum frame_type type, uint64_t sequence,
			 const char *text)
{
	struct frame frame = {.type = type, .length = (uint32_t)strlen(text), .sequence = sequence};
	uint8_t out[FRAME_HEADER_SIZE + 64];

	frame_encode(&frame, out);
	memcpy(out + FRAME_HEADER_SIZE, text, frame.length);
	return channel_write(c, out, FRAME_HEADER_SIZE + frame.length, NULL);
}

static void put_frame(struct channel *c, enum frame_type type, uint64_t sequence, const char *text)
{
	assert_true(try_frame(c, type, sequence, text) > 0);
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
	(void)try_frame(g.first, FRAME_DATA, 4, "XXXX"); /* late bytes of the one before */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_offers_are_refused),
		cmocka_unit_test(an_older_connection_has_no_say),
		cmocka_unit_test(acknowledgements_do_not_go_back),
		cmocka_unit_test(hostile_answers_are_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
