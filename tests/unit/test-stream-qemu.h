/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_STREAM_QEMU_H
#define TEST_STREAM_QEMU_H

/*
 * Real QEMUs, each with its monitor on a socket pair, and their streams: recorded from a source,
 * played to a destination.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/hypervisor/qmp.h"
#include "tests/fuzz/qemu-stream-rig.h"

#define QEMU	    "qemu-system-x86_64"
#define STREAM_MOST (64u << 20)
#define ARGS_MOST   64

struct machine {
	pid_t pid;
	struct qmp *qmp;
};

struct recording {
	uint8_t *bytes;
	size_t size;
};

static char top[PATH_MAX];

/*
 * A boot sector that goes to protected mode, fills 2 to 6 MiB with what is not zero, and from then
 * on writes to each of the 128 pages from 2 MiB, and counts at 1 MiB how often it did. It also
 * changes a bit of CR4, which makes TCG forget its translations: 7.2 notices no write through one
 * that is older than its last look at the dirty pages. As GNU as takes it:
 *
 *	.code16
 *	start: cli; xor %ax, %ax; mov %ax, %ds
 *	       in $0x92, %al; or $2, %al; out %al, $0x92
 *	       lgdtl 0x7c00 + gdtr - start
 *	       mov %cr0, %eax; or $1, %al; mov %eax, %cr0
 *	       ljmpl $8, $0x7c00 + pm - start
 *	.code32
 *	pm:    mov $0x10, %ax; mov %ax, %ds
 *	       mov $0x200000, %edi; mov $0x11223344, %eax
 *	fill:  mov %eax, (%edi); add $0x9e3779b1, %eax; add $4, %edi
 *	       cmp $0x600000, %edi; jb fill
 *	again: mov $0x200000, %edi
 *	hot:   incl (%edi); add $0x1000, %edi; cmp $0x280000, %edi; jb hot
 *	       incl 0x100000
 *	       mov %cr4, %eax; xor $0x10, %eax; mov %eax, %cr4
 *	       mov $0x20000, %ecx
 *	wait:  loop wait
 *	       jmp again
 *	       .balign 4
 *	gdtr:  .word 23; .long 0x7c00 + gdt - start
 *	       .balign 8
 *	gdt:   .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
 */
#define FILLED_FROM  (2u << 20)
#define FILLED_BYTES (4u << 20)
#define ROUNDS_AT    (1u << 20)
static const uint8_t boot_code[] = {
	0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xe4, 0x92, 0x0c, 0x02, 0xe6, 0x92, 0x66, 0x0f, 0x01, 0x16,
	0x70, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x21, 0x7c, 0x00,
	0x00, 0x08, 0x00, 0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0xbf, 0x00, 0x00, 0x20, 0x00, 0xb8,
	0x44, 0x33, 0x22, 0x11, 0x89, 0x07, 0x05, 0xb1, 0x79, 0x37, 0x9e, 0x83, 0xc7, 0x04, 0x81,
	0xff, 0x00, 0x00, 0x60, 0x00, 0x72, 0xee, 0xbf, 0x00, 0x00, 0x20, 0x00, 0xff, 0x07, 0x81,
	0xc7, 0x00, 0x10, 0x00, 0x00, 0x81, 0xff, 0x00, 0x00, 0x28, 0x00, 0x72, 0xf0, 0xff, 0x05,
	0x00, 0x00, 0x10, 0x00, 0x0f, 0x20, 0xe0, 0x83, 0xf0, 0x10, 0x0f, 0x22, 0xe0, 0xb9, 0x00,
	0x00, 0x02, 0x00, 0xe2, 0xfe, 0xeb, 0xd3, 0x17, 0x00, 0x78, 0x7c, 0x00, 0x00, 0x66, 0x90,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf,
	0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf,
};

static inline void in_top(const char *file, char path[PATH_MAX])
{
	assert_true(snprintf(path, PATH_MAX, "%s/%s", top, file) < PATH_MAX);
}

static inline int set_up(void **unused)
{
	/* the firmware reads no disk of one sector */
	static uint8_t disk[1440 << 10];
	char path[PATH_MAX];

	(void)unused;
	memcpy(disk, boot_code, sizeof(boot_code));
	disk[510] = 0x55;
	disk[511] = 0xaa;
	snprintf(top, sizeof(top), "/tmp/test-stream-qemu.XXXXXX");
	assert_non_null(mkdtemp(top));
	in_top("boot.img", path);
	return write_file_durably(path, disk, sizeof(disk), NULL);
}

static inline int tear_down(void **unused)
{
	char command[PATH_MAX + 16];

	(void)unused;
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

/* ---- A machine ---- */

/* In the child: the monitor is descriptor 3. Never returns. */
static inline void become_qemu(char **argv, int monitor)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	if (monitor == 3)
		monitor = dup(monitor);
	dup2(monitor, 3);
	closefrom(4);
	execvp(QEMU, argv);
	dprintf(2, "%s: %s\n", QEMU, strerror(errno));
	_exit(127);
}

/* options: words that spaces part, in which BOOT is the boot sector's file. */
static inline void start_machine(struct machine *m, const char *options, const char *more)
{
	char words[2048], boot[PATH_MAX], *argv[ARGS_MOST], *save = NULL;
	size_t n = 0;
	int pair[2];

	in_top("boot.img", boot);
	snprintf(words, sizeof(words),
		 QEMU " -nodefaults -no-user-config -display none -accel tcg "
		      "-chardev socket,id=m,fd=3 -mon chardev=m,mode=control %s %s",
		 options, more);
	for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *at = strstr(word, "BOOT");

		assert_true(n + 1 < ARGS_MOST);
		argv[n++] = at ? NULL : strdup(word);
		if (at)
			assert_true(asprintf(&argv[n - 1], "%.*s%s%s", (int)(at - word), word, boot,
					     at + strlen("BOOT")) > 0);
	}
	argv[n] = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	m->pid = fork();
	if (m->pid == 0)
		become_qemu(argv, pair[1]);
	close(pair[1]);
	while (n)
		free(argv[--n]);
	m->qmp = qmp_create(pair[0], clock_ns() + 30 * NS_PER_SEC, NULL);
	assert_non_null(m->qmp);
}

static inline void stop_machine(struct machine *m)
{
	qmp_destroy(m->qmp);
	kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
}

static inline json_t *ask(struct machine *m, const char *command, json_t *arguments)
{
	auto_error err = NULL;
	json_t *answer =
		qmp_command(m->qmp, command, arguments, clock_ns() + 60 * NS_PER_SEC, &err);

	if (!answer)
		print_message("%s: %s\n", command, error_text(err));
	assert_non_null(answer);
	return answer;
}

static inline void tell(struct machine *m, const char *command, json_t *arguments)
{
	json_decref(ask(m, command, arguments));
}

/* Memory from `at`, as the guest's physical addresses go. */
static inline void save_memory(struct machine *m, uint64_t at, size_t bytes, uint8_t *memory)
{
	auto_free char *content = NULL;
	char path[PATH_MAX];
	size_t size;

	in_top("memory", path);
	tell(m, "pmemsave",
	     json_pack("{s:I,s:I,s:s}", "val", (json_int_t)at, "size", (json_int_t)bytes,
		       "filename", path));
	content = read_file(path, bytes, &size, NULL);
	assert_non_null(content);
	assert_int_equal(size, bytes);
	memcpy(memory, content, bytes);
	unlink(path);
}

/* Until the boot sector has filled its memory and gone round at least once. */
static inline void wait_busy(struct machine *m)
{
	int64_t deadline = clock_ns() + 60 * NS_PER_SEC;
	uint8_t rounds[4] = {0};

	while (memcmp(rounds, "\0\0\0", 4) == 0) {
		assert_true(clock_ns() < deadline);
		clock_sleep_ms(50);
		save_memory(m, ROUNDS_AT, sizeof(rounds), rounds);
	}
}

/* ---- Migration ---- */

/* The source's or destination's phase; fails the test when it is "failed". */
static inline const char *phase(struct machine *m, json_int_t *rounds)
{
	static char status[32];
	auto_json answer = ask(m, "query-migrate", NULL);
	const char *now = json_string_value(json_object_get(answer, "status"));
	const json_t *ram = json_object_get(answer, "ram");

	snprintf(status, sizeof(status), "%s", now ? now : "none");
	if (rounds)
		*rounds = json_integer_value(json_object_get(ram, "dirty-sync-count"));
	assert_string_not_equal(status, "failed");
	return status;
}

static inline void wait_completed(struct machine *m)
{
	int64_t deadline = clock_ns() + 120 * NS_PER_SEC;

	while (strcmp(phase(m, NULL), "completed") != 0) {
		assert_true(clock_ns() < deadline);
		clock_sleep_ms(20);
	}
}

static inline int unix_socket(const char *path, struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	assert_true(snprintf(address->sun_path, sizeof(address->sun_path), "%s", path) <
		    (int)sizeof(address->sun_path));
	return fd;
}

/* In the recorder: what comes goes to the file, and through a reader, which knows the end. */
static inline int take_stream(int stream, int out, bool return_path)
{
	static const uint8_t shut[] = {0, 1, 0, 4, 0, 0, 0, 0};
	static uint8_t chunk[1 << 16];
	struct copy copy;
	ssize_t n;

	copy_start(&copy);
	while ((n = read(stream, chunk, sizeof(chunk))) > 0) {
		if (write_all(out, chunk, (size_t)n, NULL) < 0)
			return 1;
		if (copy_feed(&copy, chunk, (size_t)n) < 0)
			return 1;
		if (return_path && copy_end(&copy) == 0 &&
		    write_all(stream, shut, sizeof(shut), NULL) < 0)
			return 1;
		error_free(steal_ptr(copy.err));
	}
	return n < 0;
}

/*
 * A process that takes a stream and writes it to a file. On the return path, if there is one, it
 * says at the stream's end that all is loaded, which the source waits for.
 */
static inline pid_t start_recorder(const char *socket_path, const char *file, bool return_path)
{
	struct sockaddr_un address;
	int listener = unix_socket(socket_path, &address), stream, out;
	pid_t pid;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid = fork();
	if (pid) {
		close(listener);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(listener, 3);
	closefrom(4);
	stream = accept(3, NULL, NULL);
	out = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (stream < 0 || out < 0)
		_exit(1);
	_exit(take_stream(stream, out, return_path));
}

/* The whole stream of a migration; rounds > 0: not before that many rounds, of a guest that runs.
 */
static inline void record(struct machine *m, bool return_path, int rounds, struct recording *r)
{
	char socket_path[PATH_MAX], file[PATH_MAX], uri[PATH_MAX + 8];
	json_int_t seen = 0;
	pid_t recorder;
	int status;

	in_top("source.sock", socket_path);
	in_top("stream", file);
	snprintf(uri, sizeof(uri), "unix:%s", socket_path);
	recorder = start_recorder(socket_path, file, return_path);
	tell(m, "migrate-set-capabilities",
	     json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "return-path", "state",
		       return_path));
	tell(m, "migrate-set-parameters",
	     json_pack("{s:i,s:i}", "downtime-limit", rounds ? 1 : 2000, "max-bandwidth",
		       rounds ? 4 << 20 : 1 << 30));
	tell(m, "migrate", json_pack("{s:s}", "uri", uri));
	while (seen < rounds && strcmp(phase(m, &seen), "completed") != 0)
		clock_sleep_ms(20);
	tell(m, "migrate-set-parameters", json_pack("{s:i}", "downtime-limit", 2000));
	wait_completed(m);
	assert_int_equal(waitpid(recorder, &status, 0), recorder);
	assert_int_equal(status, 0);
	unlink(socket_path);
	r->bytes = (uint8_t *)read_file(file, STREAM_MOST, &r->size, NULL);
	assert_non_null(r->bytes);
	unlink(file);
}

/* Plays a stream to a machine that was started with -incoming defer, which must load it. */
static inline void play(struct machine *m, const uint8_t *bytes, size_t n)
{
	char path[PATH_MAX], uri[PATH_MAX + 8];
	struct sockaddr_un address;

	in_top("destination.sock", path);
	snprintf(uri, sizeof(uri), "unix:%s", path);
	tell(m, "migrate-incoming", json_pack("{s:s}", "uri", uri));

	auto_close fd = unix_socket(path, &address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write_all(fd, bytes, n, NULL), 0);
	shutdown(fd, SHUT_WR);
	wait_completed(m);
	unlink(path);
}

#endif
