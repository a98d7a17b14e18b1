/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_QEMU_RIG_H
#define TEST_QEMU_RIG_H

/*
 * Two real QEMUs: a source and a destination driven by one process, each with an EDGEHOP_ROOT of
 * its own, firmware and no guest (the states are the same, the pages are few). Relays between
 * their sockets are processes, so that they can be stopped and killed.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/hypervisor/qmp.h"
#include "migrate/vm/vm_store.h"

#define DISK_SIZE (24 << 20)
#define SKIPPED	  77

enum side {
	SOURCE,
	DESTINATION,
	SIDES
};

static char top[PATH_MAX];
static struct vm_disk disks[] = {{"disk0", "disk0.img"}, {"data", "data.img"}};
static struct vm_def def = {
	.name = "web",
	.uuid = "5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e",
	.hypervisor = "qemu",
	.accel = VM_ACCEL_TCG,
	.machine = "pc-q35-7.2",
	.cpu = "qemu64",
	.memory = 64 << 20,
	.vcpus = 1,
	.disks = disks,
	.disk_count = 2,
};
static struct hv_vm *vm[SIDES];
static pid_t relays[3];

/* What a call inside ok() leaves its error in. */
static struct error *failure;

static void ok_at(int status, const char *file, int line)
{
	if (status == 0)
		return;
	print_message("%s\n", error_text(failure));
	error_free(failure);
	failure = NULL;
	_fail(file, line);
}
#define ok(CALL) ok_at(CALL, __FILE__, __LINE__)

/* From here on the places are those of this side. */
static struct hv_vm *at(enum side side)
{
	char root[PATH_MAX + 8];

	snprintf(root, sizeof(root), "%s/%d", top, side);
	setenv("EDGEHOP_ROOT", root, 1);
	return vm[side];
}

static char *in_top(const char *file, char path[PATH_MAX])
{
	assert_true(snprintf(path, PATH_MAX, "%s/%s", top, file) < PATH_MAX);
	return path;
}

static int64_t in_seconds(int seconds)
{
	return clock_ns() + seconds * NS_PER_SEC;
}

static void make_disk(enum side side, size_t disk, bool filled)
{
	char path[PATH_MAX];
	uint8_t block[4096];
	struct error *err = NULL;

	at(side);
	assert_int_equal(vm_store_path(path, def.name, NULL, NULL), 0);
	assert_int_equal(make_dirs(path, NULL), 0);
	assert_int_equal(vm_store_path(path, def.name, disks[disk].file, NULL), 0);

	auto_close fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	for (size_t i = 0; filled && i < 512; i++) {
		memset(block, (int)(i + disk + 1), sizeof(block));
		assert_int_equal(write_all(fd, block, sizeof(block), &err), 0);
	}
	assert_int_equal(ftruncate(fd, DISK_SIZE), 0);
}

static void assert_disks_equal(void)
{
	for (size_t i = 0; i < def.disk_count; i++) {
		char path[SIDES][PATH_MAX];
		auto_free char *data[SIDES] = {NULL};
		char *other;

		for (int side = 0; side < SIDES; side++) {
			at(side);
			vm_store_path(path[side], def.name, disks[i].file, NULL);
		}
		data[0] = read_file(path[0], DISK_SIZE, NULL, NULL);
		other = read_file(path[1], DISK_SIZE, NULL, NULL);
		assert_non_null(data[0]);
		assert_non_null(other);
		assert_memory_equal(data[0], other, DISK_SIZE);
		free(other);
	}
}

/* ---- Relays ---- */

static int unix_socket(const char *path, bool server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (server) {
		unlink(path);
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(listen(fd, 1), 0);
		return fd;
	}
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		clock_sleep_ms(10);
	return fd;
}

static void carry(int listener, const char *to)
{
	char chunk[65536];
	struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p[0].fd = accept(listener, NULL, NULL);
	p[1].fd = unix_socket(to, false);
	for (;;) {
		poll(p, 2, -1);
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (!p[i].revents)
				continue;
			n = read(p[i].fd, chunk, sizeof(chunk));
			if (n <= 0)
				_exit(0);
			if (write_all(p[!i].fd, chunk, (size_t)n, NULL) < 0)
				_exit(0);
		}
	}
}

/* A process that accepts one connection on `from` and carries it to `to`. */
static pid_t start_relay(const char *from, const char *to)
{
	int listener = unix_socket(from, true);
	pid_t pid = fork();

	if (pid == 0) {
		/* A copy of the monitor's descriptor would keep the monitor busy. */
		dup2(listener, 3);
		closefrom(4);
		carry(3, to);
	}
	close(listener);
	return pid;
}

static void end_relays(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(relays); i++) {
		if (relays[i] <= 0)
			continue;
		kill(relays[i], SIGKILL);
		waitpid(relays[i], NULL, 0);
		relays[i] = 0;
	}
}

/* ---- The way of a hop, up to where a test wants it ---- */

static void start_source(void)
{
	for (size_t i = 0; i < def.disk_count; i++)
		make_disk(SOURCE, i, true);
	ok(hv_start(at(SOURCE), &failure));
}

static void start_destination(void)
{
	enum hv_state state;
	char path[PATH_MAX];

	for (size_t i = 0; i < def.disk_count; i++)
		make_disk(DESTINATION, i, false);
	ok(hv_start_incoming(at(DESTINATION), &failure));
	ok(hv_state(vm[DESTINATION], &state, &failure));
	assert_int_equal(state, HV_INCOMING);
	ok(hv_export_start(vm[DESTINATION], in_top("nbd.sock", path), &failure));
	ok(hv_memory_listen(vm[DESTINATION], in_top("memory.sock", path), &failure));
}

static void start_mirrors(void)
{
	for (size_t i = 0; i < def.disk_count; i++) {
		char name[32], from[PATH_MAX], to[PATH_MAX];

		snprintf(name, sizeof(name), "disk-%zu.sock", i);
		relays[1 + i] = start_relay(in_top(name, from), in_top("nbd.sock", to));
		ok(hv_mirror_start(at(SOURCE), i, from, &failure));
	}
}

/* All is copied and nothing is under way. */
static void wait_mirrors(void)
{
	for (size_t i = 0; i < def.disk_count; i++) {
		struct hv_mirror mirror = {.total = 1};

		while (!mirror.converged || mirror.done < mirror.total) {
			ok(hv_mirror_progress(at(SOURCE), i, &mirror, &failure));
			clock_sleep_ms(10);
		}
	}
}

static void start_memory(uint64_t bandwidth)
{
	struct hv_memory_limits limits = {.bandwidth = bandwidth, .downtime_ns = 100 * NS_PER_MS};
	char from[PATH_MAX], to[PATH_MAX];

	relays[0] = start_relay(in_top("relay.sock", from), in_top("memory.sock", to));
	ok(hv_memory_start(at(SOURCE), from, &limits, &failure));
}

static void go_to_pause(void)
{
	start_destination();
	start_mirrors();
	wait_mirrors();
	start_memory(0);
	ok(hv_memory_wait_paused(at(SOURCE), in_seconds(20), &failure));
}

static void finish_mirrors(void)
{
	for (size_t i = 0; i < def.disk_count; i++)
		ok(hv_mirror_finish(at(SOURCE), i, in_seconds(10), &failure));
}

static void assert_state(enum side side, enum hv_state expected)
{
	enum hv_state state;

	ok(hv_state(at(side), &state, &failure));
	assert_string_equal(hv_state_name(state), hv_state_name(expected));
}

/* QEMU's own monitor, past the driver. */
static json_t *ask(struct qmp *qmp, const char *command, json_t *arguments)
{
	json_t *answer = qmp_command(qmp, command, arguments, in_seconds(5), NULL);

	assert_non_null(answer);
	return answer;
}

static void qemu_io(struct qmp *qmp, const char *command)
{
	char line[128];
	auto_json answer = NULL;

	snprintf(line, sizeof(line),
		 "qemu-io -d /machine/peripheral/disk0-device/virtio-backend \"%s\"", command);
	answer = ask(qmp, "human-monitor-command", json_pack("{s:s}", "command-line", line));
	assert_string_equal(json_string_value(answer), "");
}

/* It runs, it can write its disk, no job and no foreign node is left. */
static void assert_revived(void)
{
	char path[PATH_MAX];
	struct qmp *qmp;
	auto_json jobs = NULL;
	auto_json nodes = NULL;
	auto_free char *data = NULL;

	assert_state(SOURCE, HV_RUNNING);
	hv_close(vm[SOURCE]);
	vm[SOURCE] = hv_open(&def, NULL);
	assert_int_equal(vm_store_run_path(path, def.name, "qmp.sock", NULL), 0);
	qmp = qmp_connect(path, in_seconds(5), NULL);
	assert_non_null(qmp);
	jobs = ask(qmp, "query-jobs", NULL);
	assert_int_equal(json_array_size(jobs), 0);
	nodes = ask(qmp, "query-named-block-nodes", NULL);
	assert_int_equal(json_array_size(nodes), 2 * def.disk_count);
	qemu_io(qmp, "write -P 0xab 20M 64k");
	qemu_io(qmp, "flush");
	qmp_destroy(qmp);
	assert_int_equal(vm_store_path(path, def.name, disks[0].file, NULL), 0);
	data = read_file(path, DISK_SIZE, NULL, NULL);
	assert_int_equal((uint8_t)data[20 << 20], 0xab);
}

/* As the recovery after a killed worker does it: with a new handle. */
static void forget_handle(void)
{
	hv_close(vm[SOURCE]);
	vm[SOURCE] = hv_open(&def, NULL);
}

static void revive_and_check(void)
{
	int64_t began = clock_ns();

	ok(hv_revive(at(SOURCE), &failure));
	print_message("revived in %lld ms\n", (long long)((clock_ns() - began) / NS_PER_MS));
	assert_revived();
	ok(hv_revive(at(SOURCE), &failure));
	ok(hv_kill(at(DESTINATION), &failure));
	end_relays();
}

static int set_up(void **unused)
{
	(void)unused;
	snprintf(top, sizeof(top), "/tmp/test-qemu-hop.XXXXXX");
	assert_non_null(mkdtemp(top));
	for (int side = 0; side < SIDES; side++)
		vm[side] = hv_open(&def, NULL);
	start_source();
	return 0;
}

static int tear_down(void **unused)
{
	char command[PATH_MAX + 16];

	(void)unused;
	end_relays();
	for (int side = 0; side < SIDES; side++) {
		hv_kill(at(side), NULL);
		hv_close(vm[side]);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

#endif
