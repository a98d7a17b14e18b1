/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/frame.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/pacer.h"
#include "migrate/transport/relay.h"

#define HOP "0d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"

static const struct channel_key key = {.hop = HOP, .key = {1, 2, 3}};
static const struct channel_key wrong = {.hop = HOP, .key = {9, 9, 9}};

static struct ip_addr loopback(void)
{
	const uint8_t bytes[] = {127, 0, 0, 1};

	return ip_from_bytes(AF_INET, bytes);
}

static struct listener *listen_on(uint16_t *port, bool plain)
{
	return listener_start(mptcp_listen(port, 0, NULL), &key, plain, NULL);
}

struct pair {
	struct listener *listener;
	struct relay *near, *far;
	int near_fd, far_fd;
};

static void pair_open(struct pair *p, const char *name)
{
	struct ip_addr to = loopback();
	int64_t soon = clock_ns() + 5 * NS_PER_SEC;
	uint16_t port = 0;
	struct channel *c;

	p->listener = listen_on(&port, false);
	assert_non_null(p->listener);
	c = channel_connect(&to, 1, port, &key, name, 0, false, soon, NULL);
	assert_non_null(c);
	p->near_fd = relay_start_pair(c, 5000, &p->near, NULL);
	c = listener_take(p->listener, name, soon, NULL);
	assert_non_null(c);
	p->far_fd = relay_start_pair(c, 5000, &p->far, NULL);
	assert_true(p->near_fd >= 0 && p->far_fd >= 0);
}

static void pair_close(struct pair *p)
{
	relay_destroy(p->near);
	relay_destroy(p->far);
	listener_stop(p->listener);
	if (p->near_fd >= 0)
		close(p->near_fd);
	if (p->far_fd >= 0)
		close(p->far_fd);
}

#define STREAM ((size_t)24 << 20)

struct flow {
	int fd;
	uint32_t seed;
	bool good;
};

static uint32_t next_word(uint32_t *state)
{
	return *state = *state * 1664525u + 1013904223u;
}

static void *write_stream(void *arg)
{
	struct flow *flow = arg;
	uint32_t state = flow->seed;
	uint32_t block[4099]; /* no multiple of a frame */

	for (size_t done = 0; done < STREAM;) {
		size_t n = sizeof(block) < STREAM - done ? sizeof(block) : STREAM - done;

		for (size_t i = 0; i < ARRAY_SIZE(block); i++)
			block[i] = next_word(&state);
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

	for (size_t done = 0; done < STREAM;) {
		size_t n = sizeof(block) < STREAM - done ? sizeof(block) : STREAM - done;

		if (read_all(flow->fd, block, n, NULL) < 0)
			return NULL;
		for (size_t i = 0; i < n / 4; i++)
			if (block[i] != next_word(&state))
				return NULL;
		done += n;
	}
	flow->good = read(flow->fd, &beyond, 1) == 0;
	return NULL;
}

static void both_ways_at_once(void **test)
{
	struct pair p;
	pthread_t threads[4];
	struct flow there = {.seed = 7}, back = {.seed = 8};
	struct flow in_there = {.seed = 7}, in_back = {.seed = 8};
	struct relay_stats stats;

	(void)test;
	pair_open(&p, "memory");
	there.fd = in_back.fd = p.near_fd;
	back.fd = in_there.fd = p.far_fd;
	pthread_create(&threads[0], NULL, write_stream, &there);
	pthread_create(&threads[1], NULL, write_stream, &back);
	pthread_create(&threads[2], NULL, read_stream, &in_there);
	pthread_create(&threads[3], NULL, read_stream, &in_back);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_true(in_there.good);
	assert_true(in_back.good);
	for (int i = 0; i < 300 && relay_poll(p.near, NULL) == RELAY_RUNNING; i++)
		clock_sleep_ms(10);
	assert_int_equal(relay_poll(p.near, NULL), RELAY_ENDED);
	relay_stats(p.near, &stats);
	assert_int_equal(stats.sent, STREAM);
	assert_int_equal(stats.delivered, STREAM);
	assert_int_equal(stats.received, STREAM);
	assert_true(stats.n_subflows >= 1);
	pair_close(&p);
}

/* Both relays have always something to send, for 2 s: bytes/s that come through each. */
static void flow_for_a_while(struct pair *one, struct pair *two, double *first, double *second)
{
	struct pair *pairs[] = {one, two};
	int64_t begun = clock_ns();
	double *rates[] = {first, second};
	uint8_t block[65536] = {0};

	*first = *second = 0;
	while (clock_ns() < begun + 2 * NS_PER_SEC) {
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			while (send(pairs[i]->near_fd, block, sizeof(block), MSG_DONTWAIT) > 0)
				;
			for (int reads = 0; reads < 16; reads++) {
				n = recv(pairs[i]->far_fd, block, sizeof(block), MSG_DONTWAIT);
				if (n <= 0)
					break;
				*rates[i] += (double)n;
			}
		}
		clock_sleep_ms(1);
	}
	for (int i = 0; i < 2; i++)
		*rates[i] *= 1e9 / (double)(clock_ns() - begun);
}

static void a_pacer_holds_all_its_relays(void **test)
{
	struct pair one, two;
	struct pacer *pacer = pacer_create(NULL);
	double first, second;

	(void)test;
	pair_open(&one, "memory");
	pair_open(&two, "d0");
	pacer_set_rate(pacer, 2000000);
	relay_set_pacer(one.near, pacer);
	relay_set_pacer(two.near, pacer);
	flow_for_a_while(&one, &two, &first, &second);
	assert_true(first + second > 1600000 && first + second < 2200000);
	pacer_set_rate(pacer, 0);
	pair_close(&one);
	pair_close(&two);
	pacer_destroy(pacer);
}

/* A pacer below another one has its own rate, and what it does not take is the others'. */
static void a_share_yields(void **test)
{
	struct pair memory, disk;
	struct pacer *pacer = pacer_create(NULL), *share = pacer_create_below(pacer, NULL);
	double first, second;

	(void)test;
	pair_open(&memory, "memory");
	pair_open(&disk, "d0");
	relay_set_pacer(memory.near, pacer);
	relay_set_pacer(disk.near, share);
	pacer_set_rate(pacer, 2000000);
	flow_for_a_while(&memory, &disk, &first, &second);
	print_message("as equals: %.0f and %.0f bytes/s\n", first, second);
	assert_true(second > 500000);
	assert_true(first + second > 1600000 && first + second < 2200000);
	pacer_set_rate(share, 250000);
	flow_for_a_while(&memory, &disk, &first, &second);
	print_message("an eighth: %.0f and %.0f bytes/s\n", first, second);
	assert_true(second > 150000 && second < 350000);
	assert_true(first > 1300000 && first + second < 2200000);
	/* without a limit above */
	pacer_set_rate(pacer, 0);
	flow_for_a_while(&memory, &disk, &first, &second);
	print_message("no limit: %.0f and %.0f bytes/s\n", first, second);
	assert_true(second > 150000 && second < 350000);
	assert_true(first > 4000000);
	pacer_set_rate(share, 0);
	flow_for_a_while(&memory, &disk, &first, &second);
	assert_true(second > 1000000);
	pair_close(&memory);
	pair_close(&disk);
	pacer_destroy(share);
	pacer_destroy(pacer);
}

/* Two subflows that fill the window run past its end: it must never close. */
static void a_late_reader_leaves_the_window_open(void **test)
{
	static uint8_t block[65536];
	struct relay_stats stats;
	struct pair p;
	int64_t until;
	size_t sent = 0, received = 0;
	ssize_t n;

	(void)test;
	pair_open(&p, "memory");
	until = clock_ns() + 2 * NS_PER_SEC;
	while (clock_ns() < until) {
		while ((n = send(p.near_fd, block, sizeof(block), MSG_DONTWAIT)) > 0)
			sent += (size_t)n;
		clock_sleep_ms(1);
	}
	relay_stats(p.near, &stats);
	assert_true(!stats.negotiated || stats.subflows[0].send_window > 0);
	/* And it goes on when the reader does. */
	shutdown(p.near_fd, SHUT_WR);
	while ((n = recv(p.far_fd, block, sizeof(block), 0)) > 0)
		received += (size_t)n;
	assert_int_equal(received, sent);
	pair_close(&p);
}

static void a_dead_end_is_told(void **test)
{
	struct pair p;
	auto_error why = NULL;
	char byte;

	(void)test;
	pair_open(&p, "memory");
	relay_destroy(p.far); /* as when its process is killed */
	p.far = NULL;
	assert_true(read(p.near_fd, &byte, 1) <= 0);
	assert_int_equal(relay_poll(p.near, &why), RELAY_FAILED);
	assert_non_null(strstr(error_text(why), "channel memory"));
	pair_close(&p);
}

static void a_broken_local_end_fails_the_far_one(void **test)
{
	struct pair p;
	char block[4096] = "";
	struct pollfd ended;

	(void)test;
	pair_open(&p, "disk-disk0");
	close(p.far_fd);
	p.far_fd = -1;
	for (int i = 0; i < 2000 && send(p.near_fd, block, sizeof(block), MSG_NOSIGNAL) > 0; i++)
		;
	ended = (struct pollfd){.fd = p.near_fd, .events = POLLIN};
	assert_int_equal(poll(&ended, 1, 5000), 1);
	for (int i = 0; i < 300 && relay_poll(p.near, NULL) == RELAY_RUNNING; i++)
		clock_sleep_ms(10);
	assert_int_equal(relay_poll(p.near, NULL), RELAY_FAILED);
	pair_close(&p);
}

static void silence_is_noticed(void **test)
{
	struct ip_addr to = loopback();
	int64_t soon = clock_ns() + 5 * NS_PER_SEC;
	struct relay *relay;
	uint16_t port = 0;
	struct listener *l = listen_on(&port, false);
	struct channel *near = channel_connect(&to, 1, port, &key, "control", 0, false, soon, NULL);
	struct channel *far = listener_take(l, "control", soon, NULL); /* says nothing any more */
	auto_error why = NULL;
	int fd = relay_start_pair(near, 1500, &relay, NULL);
	char byte;

	(void)test;
	assert_non_null(far);
	assert_true(read(fd, &byte, 1) <= 0);
	assert_int_equal(relay_poll(relay, &why), RELAY_FAILED);
	assert_int_equal(why->code, ETIMEDOUT);
	relay_destroy(relay);
	channel_destroy(far);
	listener_stop(l);
	close(fd);
}

/* Strangers get nothing and do not keep the hop's own connection out. */
static void strangers(void **test)
{
	struct ip_addr to = loopback();
	int64_t soon = clock_ns() + 10 * NS_PER_SEC;
	uint16_t port = 0;
	struct listener *l = listen_on(&port, false);
	int idle[80];
	auto_error why = NULL;
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct channel *c;

	(void)test;
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++) { /* more than the listener's slots */
		idle[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(idle[i], (struct sockaddr *)&in, sizeof(in)), 0);
		if (i % 2)
			assert_true(write(idle[i], "GET / HTTP/1.0\r\n\r\n", 18) == 18);
	}
	assert_null(channel_connect(&to, 1, port, &wrong, "memory", 0, false, soon, &why));
	assert_non_null(why);
	c = channel_connect(&to, 1, port, &key, "memory", 0, false, soon, NULL);
	assert_non_null(c);
	channel_destroy(c);
	c = listener_take(l, "memory", soon, NULL);
	assert_non_null(c);
	channel_destroy(c);
	assert_null(listener_take(l, "memory", clock_ns() + 50 * NS_PER_MS, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	listener_stop(l);
}

static void frames_are_checked(void **test)
{
	struct frame frame = {.type = FRAME_DATA, .length = FRAME_MOST, .sequence = 1ull << 40};
	struct frame back;
	uint8_t header[FRAME_HEADER_SIZE];

	(void)test;
	frame_encode(&frame, header);
	assert_int_equal(frame_decode(header, &back, NULL), 0);
	assert_int_equal(back.length, FRAME_MOST);
	assert_int_equal(back.sequence, 1ull << 40);
	frame.length = FRAME_MOST + 1;
	frame_encode(&frame, header);
	assert_int_equal(frame_decode(header, &back, NULL), -1);
	for (unsigned type = 0; type < 256; type++)
		for (unsigned at = 1; at < 4; at++) {
			memset(header, 0, sizeof(header));
			header[0] = (uint8_t)type;
			header[at] = 1; /* a flag that nobody knows */
			assert_int_equal(frame_decode(header, &back, NULL), -1);
		}
}

static void hello_of_another_version(void **test)
{
	struct hello hello = {.version = HELLO_VERSION, .compatible = HELLO_COMPATIBLE};
	struct hello back;
	uint8_t bytes[HELLO_SIZE];
	auto_error why = NULL;

	(void)test;
	hello_encode(&hello, bytes);
	assert_int_equal(hello_decode(bytes, &back, NULL), 0);
	hello.version = HELLO_VERSION + 5;
	hello_encode(&hello, bytes);
	assert_int_equal(hello_decode(bytes, &back, NULL), 0); /* newer, still speaks ours */
	hello.compatible = HELLO_VERSION + 5;
	hello_encode(&hello, bytes);
	assert_int_equal(hello_decode(bytes, &back, &why), -1);
	assert_non_null(strstr(error_text(why), "expected"));
	bytes[0] ^= 1;
	assert_int_equal(hello_decode(bytes, &back, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways_at_once),
		cmocka_unit_test(a_pacer_holds_all_its_relays),
		cmocka_unit_test(a_share_yields),
		cmocka_unit_test(a_late_reader_leaves_the_window_open),
		cmocka_unit_test(a_dead_end_is_told),
		cmocka_unit_test(a_broken_local_end_fails_the_far_one),
		cmocka_unit_test(silence_is_noticed),
		cmocka_unit_test(strangers),
		cmocka_unit_test(frames_are_checked),
		cmocka_unit_test(hello_of_another_version),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
