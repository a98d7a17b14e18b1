/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "migrate/disk/drbd_command.h"
#include "migrate/disk/drbd_streams.h"

/* In place of DRBD's: connections to and from a minor's loopback address. */
#define MINOR 65535

static const uint8_t data[] = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0};
static const uint8_t meta[] = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0};

static struct sockaddr_in place(uint16_t port)
{
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
	char text[DRBD_ADDRESS];

	assert_int_equal(inet_pton(AF_INET, drbd_address(MINOR, text), &place.sin_addr), 1);
	return place;
}

/* Connects and says that; the connection waits to be accepted. */
static int begin(const void *packet, size_t size)
{
	struct sockaddr_in peer = place(DRBD_PORT_PEER);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	assert_int_equal(write(fd, packet, size), (ssize_t)size);
	return fd;
}

static void is_stream(int fd, const uint8_t *packet)
{
	uint8_t got[DRBD_FIRST_PACKET];

	/* nothing has been taken from it */
	assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(got, packet, sizeof(got));
	close(fd);
}

static void test_pair(void **unused)
{
	int listen_fd = drbd_streams_listen(MINOR, NULL);
	int fds[DRBD_STREAMS], ends[4];

	(void)unused;
	assert_true(listen_fd >= 0);
	/* a stranger, one that DRBD drops, and the pair in the order that is not the usual one */
	ends[0] = begin("GET / HTTP/1.0\r\n", 16);
	close(begin(data, sizeof(data)));
	ends[1] = begin(meta, sizeof(meta));
	ends[2] = begin(data, sizeof(data));
	assert_int_equal(drbd_streams_accept(listen_fd, fds, clock_ns() + 5 * NS_PER_SEC, NULL), 0);
	is_stream(fds[DRBD_STREAM_DATA], data);
	is_stream(fds[DRBD_STREAM_META], meta);
	for (int i = 0; i < 3; i++)
		close(ends[i]);
	close(listen_fd);
}

static void test_half(void **unused)
{
	int listen_fd = drbd_streams_listen(MINOR, NULL);
	int fds[DRBD_STREAMS], end;

	(void)unused;
	assert_true(listen_fd >= 0);
	end = begin(data, sizeof(data));
	assert_int_equal(drbd_streams_accept(listen_fd, fds, clock_ns() + 200 * NS_PER_MS, NULL),
			 -1);
	close(end);
	close(listen_fd);
}

/* The destination's DRBD finds its peer's place taken, and nobody there. */
static void test_reserved(void **unused)
{
	struct sockaddr_in peer = place(DRBD_PORT_PEER);
	int reserved = drbd_streams_reserve(MINOR, NULL);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[DRBD_STREAMS];

	(void)unused;
	assert_true(reserved >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), -1);
	/* and DRBD does not listen in its own */
	assert_int_equal(drbd_streams_connect(MINOR, fds, clock_ns() + 50 * NS_PER_MS, NULL), -1);
	close(fd);
	close(reserved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_reserved),
	};

	/* whom it lets in must be root's */
	return getuid() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
