// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * counter - writes that were promised to be durable, announced to an observer outside
 *
 * usage: counter CONF LOG	CONF holds "ADDRESS PORT [MILLISECONDS]"; runs for ever
 *        counter --check LOG	prints the highest number in LOG; fails if LOG has a hole or damage
 *
 * LOG is a ring of SLOTS records of 16 bytes: a number and its checksum, little endian. Number N
 * lies in slot N % SLOTS. About every 20 ms, if nothing else is said, the next number is written
 * and fsync()ed, and only AFTER that call has returned is the line "counter N" sent as a UDP
 * datagram. Whoever received N may demand, whatever happens to the VM, that --check prints N or
 * more. No number comes twice: a start goes on behind the highest.
 *
 * --check demands that of the highest number H, all of max(1, H - SLOTS + 2) .. H are there. The
 * slot left out is the one that a write which was cut off may have torn.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS	  4096
#define PERIOD_MS 20

struct record {
	uint64_t number;
	uint64_t sum;
};

/* FNV-1a, with a start of its own so that a slot of zeros is no record */
static uint64_t checksum(uint64_t number)
{
	uint64_t sum = 0xcbf29ce484222325ULL ^ 0x65646765686f70ULL;

	for (int i = 0; i < 8; i++) {
		sum ^= (number >> (8 * i)) & 0xff;
		sum *= 0x100000001b3ULL;
	}
	return sum;
}

/* The number that slot `i` holds, 0 if none that belongs there. */
static uint64_t slot_number(const struct record *ring, uint64_t i)
{
	uint64_t n = le64toh(ring[i].number);

	return le64toh(ring[i].sum) == checksum(n) && n % SLOTS == i ? n : 0;
}

static uint64_t highest(const struct record *ring)
{
	uint64_t max = 0;

	for (uint64_t i = 0; i < SLOTS; i++)
		if (slot_number(ring, i) > max)
			max = slot_number(ring, i);
	return max;
}

/* Reads the ring; a file that is shorter or not there leaves zeros. */
static int ring_read(const char *path, struct record *ring)
{
	int fd = open(path, O_RDONLY);

	memset(ring, 0, SLOTS * sizeof(*ring));
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	for (size_t done = 0; done < SLOTS * sizeof(*ring);) {
		ssize_t n = read(fd, (char *)ring + done, SLOTS * sizeof(*ring) - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fd);
	return 0;
}

static int check(const char *path)
{
	static struct record ring[SLOTS];
	uint64_t high, missing = 0;

	if (ring_read(path, ring) < 0) {
		perror(path);
		return 1;
	}
	high = highest(ring);
	for (uint64_t n = high > SLOTS - 2 ? high - SLOTS + 2 : 1; n <= high; n++)
		if (slot_number(ring, n % SLOTS) != n) {
			fprintf(stderr, "counter: number %" PRIu64 " is not in its slot\n", n);
			missing++;
		}
	printf("%" PRIu64 "\n", high);
	return missing > 0;
}

static int read_target(const char *path, struct sockaddr_in *to, unsigned *period_ms)
{
	char address[64];
	unsigned int port;
	FILE *f = fopen(path, "r");
	int fields;

	if (!f)
		return -1;
	fields = fscanf(f, "%63s %u %u", address, &port, period_ms);
	fclose(f);
	memset(to, 0, sizeof(*to));
	to->sin_family = AF_INET;
	if (fields < 2 || port > 65535 || *period_ms > 60000 ||
	    inet_pton(AF_INET, address, &to->sin_addr) != 1)
		return -1;
	to->sin_port = htons((uint16_t)port);
	return 0;
}

/* Returns only if the disk says no: then there is nothing left to promise. */
static void count(int fd, int sock, const struct sockaddr_in *to, uint64_t number,
		  unsigned period_ms)
{
	const struct timespec pause = {period_ms / 1000, period_ms % 1000 * 1000000L};

	for (;; number++) {
		struct record r = {htole64(number), htole64(checksum(number))};
		char text[40];
		int len = snprintf(text, sizeof(text), "counter %" PRIu64 "\n", number);

		if (pwrite(fd, &r, sizeof(r), (off_t)(number % SLOTS * sizeof(r))) != sizeof(r) ||
		    fsync(fd) < 0)
			return;
		(void)!sendto(sock, text, (size_t)len, MSG_DONTWAIT, (const struct sockaddr *)to,
			      sizeof(*to));
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
}

int main(int argc, char **argv)
{
	static struct record ring[SLOTS];
	unsigned period_ms = PERIOD_MS;
	struct sockaddr_in to;
	int fd, sock;

	if (argc == 3 && !strcmp(argv[1], "--check"))
		return check(argv[2]);
	if (argc != 3 || read_target(argv[1], &to, &period_ms) < 0) {
		fprintf(stderr, "usage: counter CONF LOG | counter --check LOG\n");
		return 2;
	}
	fd = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sock < 0 || ring_read(argv[2], ring) < 0) {
		perror(argv[2]);
		return 1;
	}
	count(fd, sock, &to, highest(ring) + 1, period_ms);
	perror(argv[2]);
	return 1;
}
