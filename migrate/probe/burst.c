/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/probe/burst.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/*
 * Theory of operation
 *
 * A relay gets bytes for as long as it takes them. What the far side's local stream took is noted
 * every TICK. Buffers fill first and acknowledgements come in lumps, so a rate is that of a window
 * of WINDOW ticks; the beginning (slow start) is left out: the later half counts. It is steady when
 * the last three windows differ by less than a twentieth.
 */
#define TICK_NS	   (100 * NS_PER_MS)
#define TICKS_MOST 600
#define WINDOW	   3
#define STEADY	   0.05
#define LUMP	   65536

static double window_ending_at(const uint64_t *delivered, size_t i)
{
	uint64_t before = i >= WINDOW ? delivered[i - WINDOW] : 0;
	size_t ticks = i >= WINDOW ? WINDOW : i + 1;

	return (double)(delivered[i] - before) / (double)ticks;
}

bool burst_is_steady(const uint64_t *delivered, size_t n)
{
	double least = 0, most = 0;

	if (n < 5 * WINDOW)
		return false;
	for (size_t k = 0; k < 3; k++) {
		double rate = window_ending_at(delivered, n - 1 - k * WINDOW);

		least = k == 0 || rate < least ? rate : least;
		most = k == 0 || rate > most ? rate : most;
	}
	return least > 0 && most - least < STEADY * least;
}

void burst_judge(const uint64_t *delivered, size_t n, double *rate, double *spread)
{
	size_t from = n / 2;
	double least = 0, most = 0;

	if (from == 0) {
		*rate = (double)delivered[n - 1] / (double)n;
		*spread = 1;
		return;
	}
	*rate = (double)(delivered[n - 1] - delivered[from - 1]) / (double)(n - from);
	for (size_t i = n - 1;; i -= WINDOW) {
		double window = window_ending_at(delivered, i);

		least = i == n - 1 || window < least ? window : least;
		most = i == n - 1 || window > most ? window : most;
		if (i < from + WINDOW)
			break;
	}
	*spread = *rate > 0 ? (most - least) / 2 / *rate : 1;
}

/* Gives the relay what it takes until a moment. */
static int feed(int fd, const uint8_t *lump, int64_t until_ns, struct error **err)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		int64_t left = until_ns - clock_ns();
		ssize_t n;

		if (left <= 0)
			return 0;
		if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
			continue;
		n = send(fd, lump, LUMP, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_errno(err, "the connection broke");
	}
}

static int measure(struct relay *relay, int fd, int64_t most_ns, const volatile sig_atomic_t *stop,
		   struct burst *burst, struct error **err)
{
	static const uint8_t lump[LUMP];
	uint64_t delivered[TICKS_MOST];
	int64_t begun = clock_ns();
	size_t n = 0, most = (size_t)(most_ns / TICK_NS);

	if (most < 1 || most > TICKS_MOST)
		most = most < 1 ? 1 : TICKS_MOST;
	while (n < most && !burst_is_steady(delivered, n)) {
		if (stop && *stop)
			return error_set(err, EINTR, "interrupted");
		if (feed(fd, lump, begun + (int64_t)(n + 1) * TICK_NS, err) < 0) {
			auto_error why = NULL;

			if (relay_poll(relay, &why) == RELAY_FAILED)
				error_wrap(err, "%s", error_text(why));
			return -1;
		}
		relay_stats(relay, &burst->stats);
		delivered[n++] = burst->stats.delivered;
	}
	burst_judge(delivered, n, &burst->rate, &burst->spread);
	burst->rate *= 8 * 1e9 / (double)TICK_NS;
	if (burst->stats.delivered == 0)
		return error_set(err, ETIMEDOUT,
				 "it connects, but nothing of %lld ms of data came "
				 "through",
				 (long long)(most_ns / NS_PER_MS));
	return 0;
}

int burst_run(struct channel *channel, int64_t most_ns, const volatile sig_atomic_t *stop,
	      struct burst *burst, struct error **err)
{
	struct relay *relay;
	auto_close fd = relay_start_pair(channel, BURST_SILENCE_MS, &relay, err);
	int result;

	memset(burst, 0, sizeof(*burst));
	if (fd < 0)
		return -1;
	result = measure(relay, fd, most_ns, stop, burst, err);
	relay_destroy(relay);
	return result;
}

bool burst_swallow(int fd, int64_t until_ns)
{
	static _Thread_local uint8_t lump[LUMP];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until_ns - clock_ns();
		ssize_t n;

		if (left <= 0)
			return true;
		if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
			continue;
		n = recv(fd, lump, sizeof(lump), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
	}
}
