/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_TRANSPORT_WIRE_H
#define TEST_TRANSPORT_WIRE_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A wire between a source and a listener on this machine: a thread that carries one TCP connection
 * at a time, and cuts it after so many bytes, or swallows all that comes.
 */
struct wire {
	int listen_fd;
	uint16_t port, to; /* the wire's own, the listener's */
	pthread_t thread;
	uint32_t seed;
	atomic_bool stop;
	atomic_bool silent;	/* bytes go in and none comes out; nobody is let in */
	_Atomic uint64_t least; /* each connection is cut after a number of bytes from least */
	_Atomic uint64_t most;	/* to most; 0: it is not */
	atomic_int cuts;
};

static uint32_t wire_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 4;
}

static uint64_t wire_budget(struct wire *w)
{
	uint64_t most = w->most, least = w->least;

	return most ? least + wire_random(&w->seed) % (most - least + 1) : UINT64_MAX;
}

static int wire_socket(uint16_t port, bool listens, uint16_t *got)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if ((listens && (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 8) < 0 ||
			 getsockname(fd, (struct sockaddr *)&in, &size) < 0)) ||
	    (!listens && connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)) {
		close(fd);
		return -1;
	}
	*got = ntohs(in.sin_port);
	return fd;
}

/* With a reset, as a middlebox would. */
static void wire_reset(int fd)
{
	struct linger hard = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

/* One read of one direction. False: the connection is to be cut. */
static bool wire_move(int from, int to, uint64_t *budget)
{
	uint8_t block[16384];
	size_t most = sizeof(block) < *budget ? sizeof(block) : (size_t)*budget;
	ssize_t n = recv(from, block, most, MSG_DONTWAIT);

	if (n <= 0)
		return false;
	*budget -= (uint64_t)n;
	for (ssize_t done = 0; done < n;) {
		ssize_t sent = send(to, block + done, (size_t)(n - done), MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		done += sent;
	}
	return *budget > 0;
}

static void wire_carry(struct wire *w, int near, int far)
{
	uint64_t budget = wire_budget(w);
	bool bounded = w->most != 0, goes_on = true;

	while (goes_on && !w->stop) {
		struct pollfd p[2] = {{.fd = near, .events = POLLIN},
				      {.fd = far, .events = POLLIN}};

		if (w->silent) {
			usleep(2000);
			continue;
		}
		if (!bounded && w->most) /* was set meanwhile */
			budget = wire_budget(w);
		bounded = w->most != 0;
		poll(p, 2, 20);
		if (p[0].revents)
			goes_on = wire_move(near, far, &budget);
		if (goes_on && p[1].revents)
			goes_on = wire_move(far, near, &budget);
	}
	wire_reset(near);
	wire_reset(far);
	w->cuts++;
}

static void *wire_main(void *arg)
{
	struct wire *w = arg;

	while (!w->stop) {
		struct pollfd p = {.fd = w->listen_fd, .events = POLLIN};
		uint16_t port;
		int near, far;

		if (w->silent || poll(&p, 1, 20) <= 0) {
			usleep(1000);
			continue;
		}
		near = accept(w->listen_fd, NULL, NULL);
		far = wire_socket(w->to, false, &port);
		if (near >= 0 && far >= 0) {
			wire_carry(w, near, far);
		} else {
			close(near);
			close(far);
		}
	}
	return NULL;
}

static void wire_start(struct wire *w, uint16_t to, uint32_t seed)
{
	memset(w, 0, sizeof(*w));
	w->to = to;
	w->seed = seed;
	w->listen_fd = wire_socket(0, true, &w->port);
	pthread_create(&w->thread, NULL, wire_main, w);
}

static void wire_stop(struct wire *w)
{
	w->stop = true;
	pthread_join(w->thread, NULL);
	close(w->listen_fd);
}

#endif
