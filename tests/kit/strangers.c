// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * strangers - people who have no key, at the port where a hop's data arrives
 *
 * usage: strangers ADDRESS PORT SECONDS
 *
 * SLOTS connections are held, in turn of four kinds: silent; noise of a kilobyte; a whole TLS 1.3
 * ClientHello that offers no key of ours; the first half of one. Who was closed comes again, at
 * most one in RENEW_MS, so the load is bounded: at most SLOTS + SECONDS * 1000 / RENEW_MS
 * connections in all. Ends after SECONDS, or when nobody has listened for 2 s.
 *
 * Prints one line: "opened N closed N alerts N bytes N". alerts: connections that got a TLS alert
 * in the clear, which is no word of the application's. bytes: all else that came; expected 0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS	  72
#define RENEW_MS  50
#define ALERT	  21 /* the type of a TLS record */
#define ALERT_LEN 7  /* a whole record with an alert */

/* Record, handshake: TLS 1.3 alone, X25519 with a random share, ECDSA, no pre-shared key */
static const uint8_t hello_head[] = {0x16, 3, 1, 0, 116, 1, 0, 0, 112, 3, 3};
static const uint8_t hello_tail[] = {
	0, 0,  2, 0x13, 1, 1,  0, 0,  69,	    /* no session, AES-128-GCM, extensions: */
	0, 43, 0, 3,	2, 3,  4,		    /* supported versions */
	0, 10, 0, 4,	0, 2,  0, 29,		    /* groups */
	0, 13, 0, 8,	0, 6,  4, 3,  8,  4,  8, 7, /* signature algorithms */
	0, 51, 0, 38,	0, 36, 0, 29, 0,  32,	    /* key share; 32 bytes follow */
};

static struct sockaddr_storage target;
static socklen_t target_len;
static unsigned opened, closed, alerts;
static unsigned long bytes;

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* What a stranger of this kind says; the length. */
static size_t words(unsigned kind, uint8_t out[1024])
{
	const size_t head = sizeof(hello_head), tail = sizeof(hello_tail);

	(void)!getrandom(out, 1024, 0);
	if (kind == 0)
		return 0;
	if (kind == 1)
		return 1024;
	memcpy(out, hello_head, head);
	memcpy(out + head + 32, hello_tail, tail);
	return kind == 2 ? head + 32 + tail + 32 : head + 20;
}

/* A connection that has said its words, or -1. Waits up to 1 s for it to be there. */
static int stranger(unsigned kind)
{
	uint8_t text[1024];
	size_t len = words(kind, text);
	int fd = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&target, target_len) < 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&ready, 1, 1000) != 1)
		error = ETIMEDOUT;
	else
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error || (len && send(fd, text, len, MSG_NOSIGNAL) < 0)) {
		close(fd);
		return -1;
	}
	opened++;
	return fd;
}

/* Reads what there is; false: the connection was closed. */
static int heard(int fd)
{
	uint8_t buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n <= 0)
		return 0;
	if (n == ALERT_LEN && buf[0] == ALERT)
		alerts++;
	else
		bytes += (unsigned long)n;
	return 1;
}

static void listen_to(struct pollfd slots[SLOTS])
{
	if (poll(slots, SLOTS, RENEW_MS) <= 0)
		return;
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].fd >= 0 && slots[i].revents && !heard(slots[i].fd)) {
			close(slots[i].fd);
			slots[i].fd = -1;
			closed++;
		}
}

/* Whether somebody listened within the last 2 s. */
static int renew_one(struct pollfd slots[SLOTS], int64_t *answered)
{
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].fd < 0) {
			slots[i].fd = stranger((unsigned)i % 4);
			slots[i].events = POLLIN;
			if (slots[i].fd >= 0)
				*answered = now_ms();
			break;
		} else if (i == SLOTS - 1) {
			*answered = now_ms();
		}
	return now_ms() - *answered < 2000;
}

int main(int argc, char **argv)
{
	struct pollfd slots[SLOTS];
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
	int64_t end, next, answered;

	if (argc != 4 || getaddrinfo(argv[1], argv[2], &hints, &found) != 0) {
		fprintf(stderr, "usage: strangers ADDRESS PORT SECONDS\n");
		return 2;
	}
	memcpy(&target, found->ai_addr, found->ai_addrlen);
	target_len = found->ai_addrlen;
	freeaddrinfo(found);
	for (int i = 0; i < SLOTS; i++)
		slots[i].fd = -1;
	next = answered = now_ms();
	for (end = next + atoi(argv[3]) * 1000LL; now_ms() < end;) {
		listen_to(slots);
		if (now_ms() < next)
			continue;
		next = now_ms() + RENEW_MS;
		if (!renew_one(slots, &answered))
			break;
	}
	listen_to(slots);
	printf("opened %u closed %u alerts %u bytes %lu\n", opened, closed, alerts, bytes);
	return 0;
}
