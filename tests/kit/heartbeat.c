// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * heartbeat - a UDP datagram at a steady pace, so that an observer sees when this guest stood still
 *
 * usage: heartbeat FILE	FILE holds "ADDRESS PORT MILLISECONDS"
 *
 * A datagram is the line "beat ID SEQUENCE NANOSECONDS": ID is drawn at the start (another ID means
 * that the program, so most likely the guest, was started anew), SEQUENCE counts from 0,
 * NANOSECONDS is CLOCK_MONOTONIC. A beat that could not be sent (no route, no address: it happens
 * while a vNIC is switched) uses up its number all the same. Beats that were missed are not made up
 * for: a burst would look like life. The socket is neither bound nor connected, so each beat leaves
 * with the address that the guest has just then.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define NS_PER_MS 1000000LL
#define NS_PER_S  1000000000LL

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void sleep_until(int64_t at)
{
	struct timespec ts = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int read_target(const char *path, struct sockaddr_in *to, int64_t *period_ns)
{
	char address[64];
	unsigned int port, ms;
	FILE *f = fopen(path, "r");
	int fields;

	if (!f)
		return -1;
	fields = fscanf(f, "%63s %u %u", address, &port, &ms);
	fclose(f);
	memset(to, 0, sizeof(*to));
	to->sin_family = AF_INET;
	if (fields != 3 || port > 65535 || ms < 1 || ms > 1000 ||
	    inet_pton(AF_INET, address, &to->sin_addr) != 1)
		return -1;
	to->sin_port = htons((uint16_t)port);
	*period_ns = ms * NS_PER_MS;
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to;
	uint64_t id = 0, sequence = 0;
	int64_t next, period = 0;
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 2 || read_target(argv[1], &to, &period) < 0 || sock < 0 ||
	    getrandom(&id, sizeof(id), 0) != sizeof(id)) {
		fprintf(stderr, "heartbeat: expected a file with ADDRESS PORT MILLISECONDS\n");
		return 2;
	}
	for (next = now_ns();; next += period) {
		int64_t now = now_ns();
		char text[96];
		int len;

		if (now > next + period)
			next = now;
		len = snprintf(text, sizeof(text), "beat %016" PRIx64 " %" PRIu64 " %" PRId64 "\n",
			       id, sequence++, now);
		(void)!sendto(sock, text, (size_t)len, MSG_DONTWAIT, (struct sockaddr *)&to,
			      sizeof(to));
		sleep_until(next + period);
	}
}
