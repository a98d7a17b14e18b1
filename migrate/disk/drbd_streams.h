/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_STREAMS_H
#define DISK_DRBD_STREAMS_H

#include <stdint.h>

#include "common/error.h"

/*
 * The two TCP streams of a DRBD 8.4 connection, through relays that go one way. drbd_streams.c
 * tells how.
 */
enum drbd_stream {
	DRBD_STREAM_DATA,
	DRBD_STREAM_META,
	DRBD_STREAMS
};

#define DRBD_FIRST_PACKET 8

/* Which stream begins with that packet; -1: none. */
int drbd_stream_of(const uint8_t packet[DRBD_FIRST_PACKET]);

/* Source: takes the place of the peer. The caller closes the result. */
int drbd_streams_listen(unsigned minor, struct error **err);

/*
 * Source, after DRBD was told to connect: both of its streams; nothing has been read from
 * them. The caller closes them.
 */
int drbd_streams_accept(int listen_fd, int fds[DRBD_STREAMS], int64_t deadline_ns,
			struct error **err);

/*
 * Destination: keeps the peer's place, so that nobody listens there by chance and DRBD's own
 * attempts get nowhere. The caller closes the result when DRBD has connected.
 */
int drbd_streams_reserve(unsigned minor, struct error **err);

/* Destination, after DRBD was told to connect: streams to its own place. */
int drbd_streams_connect(unsigned minor, int fds[DRBD_STREAMS], int64_t deadline_ns,
			 struct error **err);

#endif
