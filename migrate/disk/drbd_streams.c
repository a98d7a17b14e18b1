/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A DRBD that is told to connect does two things in turn until it has two sockets: it connects
 * to its peer's address, and it waits for a second (connect-int) whether somebody has
 * connected to its own. A socket that it made becomes the data socket if it has none yet, else
 * the meta socket, and it says so in a first packet; a socket that it was given is what that
 * packet says. When both sides connect at the same moment sockets cross, and DRBD throws dice
 * about which of them to drop.
 *
 * So we let one side connect only, and the other one be connected to only:
 *
 *	source's DRBD ==data, then meta==> us, at its peer's address
 *		us ====relays===========> us
 *			us ==data, meta=> destination's DRBD, at its own address
 *
 * At the destination the peer's address is bound, but nobody listens: each of its DRBD's
 * attempts is refused at once, which it takes for a peer that is not there yet. Nothing can
 * cross.
 *
 * What DRBD wants in time: a socket that it was given has its first packet, and a pair the
 * other side's greeting, within four times ping-timeout, which is two minutes. The source's
 * clock begins with its second socket. So the destination opens its streams when both of the
 * source's are there; the rest takes half a second (socket-check-timeout) and a round trip.
 *
 * DRBD 8.4 opens its sockets in the host's own network namespace, so loopback addresses are
 * what there is, to which any local user could connect. The two DRBDs know each other by a
 * secret (drbd_join.h). Whom we let in must be root's, as DRBD's threads are, so that nobody
 * takes their place in a hop.
 */
#include "migrate/disk/drbd_streams.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/disk/drbd_command.h"

#define LOG_MODULE   "disk"
#define MAGIC	     0x83740267 /* of the oldest header, which first packets always have */
#define INITIAL_META 0xfff1
#define INITIAL_DATA 0xfff2
#define FIRST_NS     (2 * NS_PER_SEC)
#define AGAIN_MS     20

int drbd_stream_of(const uint8_t packet[DRBD_FIRST_PACKET])
{
	if (get_be32(packet) != MAGIC)
		return -1;
	switch (get_be16(packet + 4)) {
	case INITIAL_DATA:
		return DRBD_STREAM_DATA;
	case INITIAL_META:
		return DRBD_STREAM_META;
	default:
		return -1;
	}
}

static struct sockaddr_in place_of(unsigned minor, uint16_t port)
{
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
	char text[DRBD_ADDRESS];

	inet_pton(AF_INET, drbd_address(minor, text), &place.sin_addr);
	return place;
}

static int bind_peer(unsigned minor, struct error **err)
{
	struct sockaddr_in place = place_of(minor, DRBD_PORT_PEER);
	auto_close fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[DRBD_ADDRESS];
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&place, sizeof(place)) < 0)
		return error_errno(err, "%s port %d", drbd_address(minor, text), DRBD_PORT_PEER);
	return steal_fd(&fd);
}

int drbd_streams_reserve(unsigned minor, struct error **err)
{
	return bind_peer(minor, err);
}

int drbd_streams_listen(unsigned minor, struct error **err)
{
	auto_close fd = bind_peer(minor, err);

	if (fd < 0)
		return -1;
	if (listen(fd, 4) < 0)
		return error_errno(err, "listen");
	return steal_fd(&fd);
}

/* Until fd is readable; false: the time is over. */
static bool await(int fd, int64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ns - clock_ns();
		int n = left <= 0 ? 0 : poll(&p, 1, (int)(left / NS_PER_MS) + 1);

		if (n > 0)
			return true;
		if (n == 0 || errno != EINTR)
			return false;
	}
}

/* Whether the other end of a connection within this host is root's, by the kernel's table. */
static bool peer_is_root(int fd)
{
	struct sockaddr_in own = {0}, peer = {0};
	socklen_t n = sizeof(own), m = sizeof(peer);
	auto_file table = fopen("/proc/net/tcp", "re");
	char line[512], wanted[48];
	unsigned uid;

	if (!table || getsockname(fd, (struct sockaddr *)&own, &n) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &m) < 0)
		return false;
	snprintf(wanted, sizeof(wanted), " %08X:%04X %08X:%04X ", peer.sin_addr.s_addr,
		 ntohs(peer.sin_port), own.sin_addr.s_addr, ntohs(own.sin_port));
	while (fgets(line, sizeof(line), table)) {
		const char *at = strstr(line, wanted);

		if (at && sscanf(at + strlen(wanted), "%*x %*x:%*x %*x:%*x %*x %u", &uid) == 1)
			return uid == 0;
	}
	return false;
}

/* The stream that begins on fd; its first packet is left there. -1: it is none of DRBD's. */
static int recognise(int fd)
{
	int64_t until = clock_ns() + FIRST_NS;
	uint8_t packet[DRBD_FIRST_PACKET];

	while (await(fd, until)) {
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_PEEK | MSG_DONTWAIT);

		if (n == sizeof(packet))
			return drbd_stream_of(packet);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
		clock_sleep_ms(AGAIN_MS); /* a part of it is there */
	}
	return -1;
}

static void replace(int *fd, int by)
{
	if (*fd >= 0)
		close(*fd);
	*fd = by;
}

/*
 * DRBD drops a socket that it does not trust and makes another one: the last one counts. What it
 * sent before it dropped it can still be read.
 */
static bool pair_holds(const int fds[DRBD_STREAMS])
{
	for (int i = 0; i < DRBD_STREAMS; i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLRDHUP};

		if (fds[i] < 0 || poll(&p, 1, 0) != 0)
			return false;
	}
	return true;
}

int drbd_streams_accept(int listen_fd, int fds[DRBD_STREAMS], int64_t deadline_ns,
			struct error **err)
{
	fds[DRBD_STREAM_DATA] = fds[DRBD_STREAM_META] = -1;
	while (!pair_holds(fds) && await(listen_fd, deadline_ns)) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		int stream = fd < 0 || !peer_is_root(fd) ? -1 : recognise(fd);

		if (stream >= 0) {
			replace(&fds[stream], fd);
			continue;
		}
		log_warn("DRBD's peer: a connection that is not DRBD's was turned away");
		replace(&fd, -1);
	}
	if (pair_holds(fds))
		return 0;
	replace(&fds[DRBD_STREAM_DATA], -1);
	replace(&fds[DRBD_STREAM_META], -1);
	return error_set(err, ETIMEDOUT, "DRBD did not connect in time");
}

/* DRBD listens a moment after it was told to connect. */
static int connect_once(const struct sockaddr_in *place, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		auto_close fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return error_errno(err, "socket");
		if (connect(fd, (const struct sockaddr *)place, sizeof(*place)) == 0)
			return steal_fd(&fd);
		if (errno != ECONNREFUSED || clock_ns() > deadline_ns)
			return error_errno(err, "DRBD does not listen");
		clock_sleep_ms(AGAIN_MS);
	}
}

int drbd_streams_connect(unsigned minor, int fds[DRBD_STREAMS], int64_t deadline_ns,
			 struct error **err)
{
	struct sockaddr_in place = place_of(minor, DRBD_PORT_OWN);

	fds[DRBD_STREAM_DATA] = connect_once(&place, deadline_ns, err);
	if (fds[DRBD_STREAM_DATA] < 0)
		return -1;
	fds[DRBD_STREAM_META] = connect_once(&place, deadline_ns, err);
	if (fds[DRBD_STREAM_META] >= 0)
		return 0;
	replace(&fds[DRBD_STREAM_DATA], -1);
	return -1;
}
