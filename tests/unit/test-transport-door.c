/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/codec/disk_encoder.h"
#include "migrate/codec/known_pages.h"
#include "migrate/codec/page_mac.h"
#include "migrate/codec/way_back.h"
#include "migrate/transport/confine.h"
#include "migrate/transport/door.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/relay.h"
#include "tests/unit/test-transport-wire.h"

#define HOP "0d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"

static const struct channel_key key = {.hop = HOP, .key = {1, 2, 3}};
static const struct channel_key wrong = {.hop = HOP, .key = {9, 9, 9}};

/* A door, and the source's end of one channel through it. */
struct rig {
	struct door *door;
	uint16_t port;
	struct relay *source;
	int source_fd, local_fd;
};

static struct ip_addr loopback(void)
{
	const uint8_t bytes[] = {127, 0, 0, 1};

	return ip_from_bytes(AF_INET, bytes);
}

static int64_t soon(void)
{
	return clock_ns() + 5 * NS_PER_SEC;
}

static struct channel *connect_with(const struct rig *rig, const struct channel_key *with,
				    bool plain)
{
	struct ip_addr to = loopback();

	return channel_connect(&to, 1, rig->port, with, "memory", 0, plain, soon(), NULL);
}

static void rig_open(struct rig *rig, bool plain, bool door_plain)
{
	auto_error why = NULL;
	struct channel *channel;
	int ends[2];

	rig->port = 0;
	rig->door = door_start(&key, door_plain, &why);
	assert_non_null(rig->door);
	assert_int_equal(door_listen(rig->door, mptcp_listen(&rig->port, 0, NULL), &why), 0);
	channel = connect_with(rig, &key, plain);
	assert_non_null(channel);
	assert_int_equal(channel->plain, plain && door_plain);
	rig->source_fd = relay_start_pair(channel, 5000, &rig->source, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	rig->local_fd = ends[0];
	assert_int_equal(door_attach(rig->door, "memory", ends[1], 5000, soon(), &why), 0);
}

static void rig_close(struct rig *rig)
{
	relay_destroy(rig->source);
	door_destroy(rig->door);
	close(rig->source_fd);
	close(rig->local_fd);
}

#define BLOCK  ((size_t)64 << 10)
#define BLOCKS 100

static void *pour(void *arg)
{
	static uint8_t block[BLOCK];

	for (int i = 0; i < BLOCKS; i++) {
		memset(block, i, sizeof(block));
		if (write_all(*(int *)arg, block, sizeof(block), NULL) < 0)
			break;
	}
	return NULL;
}

static void check_flow(int from, int to)
{
	static uint8_t block[BLOCK];
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, pour, &from), 0);
	for (int i = 0; i < BLOCKS; i++) {
		assert_int_equal(read_all(to, block, sizeof(block), NULL), 0);
		assert_int_equal(block[0], i);
		assert_int_equal(block[BLOCK - 1], i);
	}
	pthread_join(thread, NULL);
}

static void flows_both_ways(bool plain, bool door_plain)
{
	struct rig rig;

	rig_open(&rig, plain, door_plain);
	check_flow(rig.source_fd, rig.local_fd);
	check_flow(rig.local_fd, rig.source_fd);
	assert_int_equal(door_check(rig.door, NULL, NULL), 0);
	rig_close(&rig);
}

static void moves_bytes(void **test)
{
	(void)test;
	flows_both_ways(false, false);
}

static void moves_plain_bytes_when_both_want(void **test)
{
	(void)test;
	flows_both_ways(true, true);
	flows_both_ways(true, false); /* refused: encrypted */
	flows_both_ways(false, true);
}

static void stranger_gets_nothing(void **test)
{
	struct rig rig;

	(void)test;
	rig_open(&rig, false, true);
	assert_null(connect_with(&rig, &wrong, false));
	assert_null(connect_with(&rig, &wrong, true));
	check_flow(rig.source_fd, rig.local_fd);
	rig_close(&rig);
}

static void tells_of_a_dead_channel(void **test)
{
	struct rig rig;
	auto_error why = NULL;

	(void)test;
	rig_open(&rig, false, false);
	relay_destroy(rig.source); /* as when the source dies */
	rig.source = NULL;
	for (int i = 0; i < 300 && door_check(rig.door, NULL, &why) == 0; i++)
		clock_sleep_ms(10);
	assert_non_null(why);
	assert_non_null(strstr(why->message, "channel memory"));
	assert_int_equal(door_check(rig.door, "control", NULL), 0);
	assert_int_equal(door_check(rig.door, "memory", NULL), -1);
	rig_close(&rig);
}

/* As rig_open, through a wire, and what is lost may come again. */
static void rig_open_resumable(struct rig *rig, struct wire *wire)
{
	struct channel_way way = {.addresses = {loopback()}, .n = 1, .key = key};
	struct channel *channel;
	int ends[2];

	rig->port = 0;
	rig->door = door_start(&key, false, NULL);
	assert_non_null(rig->door);
	assert_int_equal(door_let_resume(rig->door, 20 * NS_PER_SEC, RELAY_WINDOW, NULL), 0);
	assert_int_equal(door_listen(rig->door, mptcp_listen(&rig->port, 0, NULL), NULL), 0);
	wire_start(wire, rig->port, 11);
	way.port = rig->port = wire->port;
	channel = connect_with(rig, &key, false);
	assert_non_null(channel);
	assert_int_equal(channel_let_resume(channel, 20 * NS_PER_SEC, RELAY_WINDOW, &way, NULL), 0);
	rig->source_fd = relay_start_pair(channel, 2000, &rig->source, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	rig->local_fd = ends[0];
	assert_int_equal(door_attach(rig->door, "memory", ends[1], 2000, soon(), NULL), 0);
}

static void channel_goes_on_after_a_loss(void **test)
{
	struct relay_stats stats;
	struct wire wire;
	struct rig rig;

	(void)test;
	rig_open_resumable(&rig, &wire);
	wire.least = 1000000;
	wire.most = 3000000;
	check_flow(rig.source_fd, rig.local_fd);
	check_flow(rig.local_fd, rig.source_fd);
	wire.most = 0;
	relay_stats(rig.source, &stats);
	assert_true(stats.resumed >= 2);
	assert_int_equal(door_check(rig.door, NULL, NULL), 0);
	rig_close(&rig);
	wire_stop(&wire);
}

/* The worker has closed it: the source is told, and does not try for long. */
static void closed_channel_is_not_resumed(void **test)
{
	auto_error why = NULL;
	struct wire wire;
	struct rig rig;

	(void)test;
	rig_open_resumable(&rig, &wire);
	assert_int_equal(door_close(rig.door, "memory", NULL), 0);
	for (int i = 0; i < 300 && relay_poll(rig.source, &why) == RELAY_RUNNING; i++)
		clock_sleep_ms(10);
	assert_non_null(strstr(error_text(why), "there is no such channel"));
	rig_close(&rig);
	wire_stop(&wire);
}

/* The guest is paused: from then on the door does not wait for long either. */
static void patience_of_a_door_can_be_cut_short(void **test)
{
	struct wire wire;
	struct rig rig;

	(void)test;
	rig_open_resumable(&rig, &wire);
	wire.silent = true;
	clock_sleep_ms(2500);
	assert_int_equal(door_check(rig.door, "memory", NULL), 0);
	assert_int_equal(door_let_resume(rig.door, NS_PER_SEC, RELAY_WINDOW, NULL), 0);
	for (int i = 0; i < 100 && door_check(rig.door, "memory", NULL) == 0; i++)
		clock_sleep_ms(10);
	assert_int_equal(door_check(rig.door, "memory", NULL), -1);
	rig_close(&rig);
	wire_stop(&wire);
}

static void channel_that_never_comes(void **test)
{
	struct rig rig;
	auto_error why = NULL;
	int ends[2];

	(void)test;
	rig_open(&rig, false, false);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(
		door_attach(rig.door, "d0", ends[1], 5000, clock_ns() + 100 * NS_PER_MS, &why), -1);
	assert_int_equal(why->code, ETIMEDOUT);
	close(ends[0]);
	rig_close(&rig);
}

/* A source that vanished without a word, as the door sees it: its earlier channel is still open. */
static void later_channel_takes_the_place(void **test)
{
	struct channel *earlier;
	struct pollfd ended;
	struct rig rig;
	int ends[2];
	char byte;

	(void)test;
	rig_open(&rig, false, false);
	relay_destroy(rig.source); /* its failure is told ... */
	close(rig.source_fd);
	for (int i = 0; i < 300 && door_check(rig.door, "memory", NULL) == 0; i++)
		clock_sleep_ms(10);
	assert_int_equal(door_check(rig.door, "memory", NULL), -1);
	earlier = connect_with(&rig, &key, false);
	assert_non_null(earlier);
	close(rig.local_fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(door_attach(rig.door, "memory", ends[1], 5000, soon(), NULL), 0);
	assert_int_equal(door_check(rig.door, "memory", NULL), 0); /* ... of that one only */
	rig.local_fd = ends[0];
	rig.source_fd = relay_start_pair(connect_with(&rig, &key, false), 5000, &rig.source, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(door_attach(rig.door, "memory", ends[1], 5000, soon(), NULL), 0);
	ended = (struct pollfd){.fd = rig.local_fd, .events = POLLIN};
	assert_int_equal(poll(&ended, 1, 2000), 1); /* the earlier one is over */
	assert_int_equal(read(rig.local_fd, &byte, 1), 0);
	close(rig.local_fd);
	rig.local_fd = ends[0];
	check_flow(rig.source_fd, rig.local_fd);
	assert_int_equal(door_check(rig.door, "memory", NULL), 0);
	channel_destroy(earlier);
	rig_close(&rig);
}

/* The source's end of a channel whose stream the door decodes, as told; local_fd: what it makes. */
static void open_coded(struct rig *rig, const struct door_decoding *decoding)
{
	int ends[2];

	rig_open(rig, false, false);
	relay_destroy(rig->source);
	close(rig->source_fd);
	close(rig->local_fd);
	rig->source_fd = relay_start_pair(connect_with(rig, &key, false), 5000, &rig->source, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(
		door_attach_coded(rig->door, "memory", ends[1], decoding, 5000, soon(), NULL), 0);
	rig->local_fd = ends[0];
}

/* A record of what comes back: of that kind, and n bytes. */
static void read_back(int fd, enum back_kind kind, uint8_t *bytes, uint32_t n)
{
	uint8_t header[BACK_HEADER_SIZE];

	assert_int_equal(read_all(fd, header, sizeof(header), NULL), 0);
	assert_int_equal(header[0], kind);
	assert_int_equal(get_be32(header) & 0xffffff, n);
	assert_int_equal(read_all(fd, bytes, n, NULL), 0);
}

/*
 * In the confined process: a disk's stream as it was, until something in it is wrong, and the offer
 * of what is in an image, whose holes it finds.
 */
static void decodes_a_disk(void **test)
{
	struct disk_encoder *e = disk_encoder_create(&codec_defaults, NULL);
	struct door_decoding decoding = {.disk = true, .held_count = 1, .offer_most = 100};
	uint8_t back[OFFER_HEADER_SIZE + PAGE_MAC_SIZE];
	static uint8_t said[300000], heard[sizeof(said)];
	struct byte_queue coded = {0};
	auto_error why = NULL;
	struct rig rig;

	(void)test;
	decoding.held[0].fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(pwrite(decoding.held[0].fd, said, 4096, 50 * 4096), 4096);
	assert_int_equal(ftruncate(decoding.held[0].fd, 1000 * 4096), 0);
	open_coded(&rig, &decoding);
	/* flags, and a request to write 290,000 bytes */
	memcpy(said + 4, (uint8_t[]){0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1}, 8);
	put_be32(said + 28, 290000);
	for (size_t i = 32; i < sizeof(said); i++)
		said[i] = (uint8_t)(i * i >> 7);
	assert_int_equal(disk_encoder_feed(e, said, sizeof(said), &coded, NULL), 0);
	assert_int_equal(disk_encoder_flush(e, &coded, NULL), 0);
	assert_int_equal(
		write_all(rig.source_fd, coded.data + coded.start, byte_queue_length(&coded), NULL),
		0);
	assert_int_equal(read_all(rig.local_fd, heard, sizeof(heard) - 16, NULL), 0);
	assert_memory_equal(heard, said, sizeof(heard) - 16);
	read_back(rig.source_fd, BACK_OFFER, back, sizeof(back));
	assert_int_equal(get_be32(back + 8), 1);
	assert_int_equal(write_all(rig.local_fd, "reply", 5, NULL), 0);
	read_back(rig.source_fd, BACK_ANSWER, back, 5);
	assert_memory_equal(back, "reply", 5);
	assert_int_equal(door_check(rig.door, "memory", NULL), 0);
	assert_int_equal(write_all(rig.source_fd, "\377\0\0\0", 4, NULL), 0);
	for (int i = 0; i < 300 && door_check(rig.door, "memory", &why) == 0; i++)
		clock_sleep_ms(10);
	assert_non_null(why);
	assert_non_null(strstr(why->message, "channel memory: coded disk"));
	disk_encoder_destroy(e);
	byte_queue_clear(&coded);
	rig_close(&rig);
}

/*
 * The offer of what is in a file that only this process may open: read, digested and sent by the
 * confined one.
 */
static void offers_from_a_file(void **test)
{
	static uint8_t page[4096], offer[OFFER_HEADER_SIZE + 3 * PAGE_MAC_SIZE];
	struct door_decoding decoding = {.guest_pages = 1000,
					 .held = {{memfd_create("held", MFD_CLOEXEC), 5, 3}},
					 .held_count = 1,
					 .offer_most = 1000};
	int held = decoding.held[0].fd;
	struct page_mac *mac;
	struct rig rig;

	(void)test;
	for (int i = 0; i < 2; i++) { /* of the third there is nothing */
		memset(page, i + 1, sizeof(page));
		assert_int_equal(pwrite(held, page, sizeof(page), 5 + i * 4096), 4096);
	}
	open_coded(&rig, &decoding);
	assert_int_equal(fcntl(held, F_GETFD), -1); /* taken over */
	read_back(rig.source_fd, BACK_OFFER, offer, sizeof(offer));
	assert_int_equal(get_be32(offer), OFFER_MAGIC);
	assert_int_equal(get_be32(offer + 8), 3);
	mac = page_mac_create(offer + 16, NULL);
	for (int i = 0; i < 3; i++) {
		uint8_t digest[PAGE_MAC_SIZE] = {0};

		memset(page, i + 1, sizeof(page));
		if (i < 2)
			assert_int_equal(page_mac_of(mac, page, digest, NULL), 0);
		assert_memory_equal(offer + OFFER_HEADER_SIZE + i * PAGE_MAC_SIZE, digest,
				    PAGE_MAC_SIZE);
	}
	page_mac_destroy(mac);
	assert_int_equal(door_check(rig.door, NULL, NULL), 0);
	rig_close(&rig);
}

/* What the process has given up, as the kernel has it. */
static void is_confined(void **test)
{
	struct rig rig;
	char path[64], line[256];
	int seen = 0;
	FILE *children, *status;
	long pid = 0;

	(void)test;
	rig_open(&rig, false, false);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	children = fopen(path, "r");
	assert_non_null(children);
	assert_int_equal(fscanf(children, "%ld", &pid), 1);
	fclose(children);
	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	status = fopen(path, "r");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status)) {
		seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
		seen += strcmp(line, "Seccomp:\t2\n") == 0;
		if (getuid() != 0) /* it had no rights to give up */
			seen += strncmp(line, "Uid:", 4) == 0 || strncmp(line, "CapEff:", 7) == 0;
		seen += strcmp(line, "Uid:\t65534\t65534\t65534\t65534\n") == 0;
		seen += strcmp(line, "CapEff:\t0000000000001000\n") == 0; /* CAP_NET_ADMIN */
	}
	fclose(status);
	assert_int_equal(seen, 4);
	rig_close(&rig);
}

static void ends_with_its_process(void **test)
{
	struct rig rig;
	auto_error why = NULL;
	char path[64], byte;
	FILE *children;
	long pid = 0;

	(void)test;
	rig_open(&rig, false, false);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	children = fopen(path, "r");
	assert_non_null(children);
	assert_int_equal(fscanf(children, "%ld", &pid), 1);
	fclose(children);
	assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
	assert_true(read(rig.local_fd, &byte, 1) <= 0);
	for (int i = 0; i < 300 && door_check(rig.door, NULL, &why) == 0; i++)
		clock_sleep_ms(10);
	assert_non_null(why);
	rig_close(&rig);
}

/* What a confined process gets when it asks for more; runs in a child, answers by its status. */
static int ask_for_more(void)
{
	if (confine_process(NULL) < 0)
		return 1;
	if (open("/dev/null", O_RDONLY) >= 0 || errno != EPERM)
		return 2;
	if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		return 3;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    MAP_FAILED)
		return 4;
	if (kill(getppid(), 0) == 0 || errno != EPERM)
		return 5;
	execl("/bin/true", "true", (char *)NULL);
	return 6; /* not reached: killed */
}

static void confined_gets_no_more(void **test)
{
	int status;
	pid_t child = fork();

	(void)test;
	if (child == 0)
		_exit(ask_for_more());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_bytes),
		cmocka_unit_test(moves_plain_bytes_when_both_want),
		cmocka_unit_test(stranger_gets_nothing),
		cmocka_unit_test(tells_of_a_dead_channel),
		cmocka_unit_test(channel_goes_on_after_a_loss),
		cmocka_unit_test(closed_channel_is_not_resumed),
		cmocka_unit_test(patience_of_a_door_can_be_cut_short),
		cmocka_unit_test(channel_that_never_comes),
		cmocka_unit_test(later_channel_takes_the_place),
		cmocka_unit_test(decodes_a_disk),
		cmocka_unit_test(offers_from_a_file),
		cmocka_unit_test(is_confined),
		cmocka_unit_test(ends_with_its_process),
		cmocka_unit_test(confined_gets_no_more),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
