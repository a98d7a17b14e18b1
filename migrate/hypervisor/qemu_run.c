/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU as a process (process.h). Its own -daemonize can't be had together with its seccomp sandbox.
 * It is up when its monitor answers a command: then its main loop runs.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "qemu"
#include "common/log.h"
#include "migrate/hypervisor/hugepages.h"
#include "migrate/hypervisor/process.h"
#include "migrate/vm/vm_store.h"

#define START_LIMIT_NS (60 * NS_PER_SEC)
#define START_LOOK_MS  10
#define QUIT_LIMIT_NS  (5 * NS_PER_SEC)
#define KILL_LIMIT_NS  (10 * NS_PER_SEC)
#define PID_FILE       "pid"
#define LOG_FILE       "qemu.log"

pid_t qemu_pid(const struct hv_vm *vm)
{
	return process_pid(vm->def->name, PID_FILE);
}

bool qemu_alive(struct hv_vm *vm)
{
	return qemu_pid(vm) != 0;
}

void qemu_last_words(const struct hv_vm *vm, char *buf, size_t size)
{
	process_last_words(vm->def->name, LOG_FILE, "qemu-system-", buf, size);
}

/* true: its main loop runs. false: it has ended, or the time is over. */
static bool wait_up(struct hv_vm *vm, int lifeline)
{
	int64_t deadline = clock_ns() + START_LIMIT_NS;
	struct pollfd p = {.fd = lifeline, .events = POLLIN};

	while (clock_ns() < deadline) {
		if (poll(&p, 1, START_LOOK_MS) > 0)
			return false;
		if (qemu_alive(vm) && qemu_command(vm, "query-version", NULL, NULL) == 0)
			return true;
	}
	return false;
}

static int run(struct hv_vm *vm, char **argv, struct error **err)
{
	auto_close lifeline = process_spawn(argv, vm->def->name, LOG_FILE, err);
	char words[256];

	if (lifeline < 0)
		return -1;
	if (wait_up(vm, lifeline))
		return 0;
	qemu_last_words(vm, words, sizeof(words));
	qemu_kill(vm, NULL);
	return error_set(err, EREMOTEIO, "QEMU does not start: %s",
			 *words ? words : "it gave no reason in time");
}

static int start(struct hv_vm *vm, bool incoming, struct error **err)
{
	char **argv;
	int status;

	if (qemu_alive(vm))
		return error_set(err, EEXIST, "it runs here already");
	if (hugepages_check(vm->def, err) < 0 || vm_store_make_run(vm->def->name, err) < 0)
		return -1;
	argv = qemu_args(vm->def, incoming, err);
	if (!argv)
		return -1;
	qemu_drop_monitor(vm);
	status = run(vm, argv, err);
	qemu_args_free(argv);
	return status;
}

int qemu_start(struct hv_vm *vm, struct error **err)
{
	return start(vm, false, err);
}

int qemu_start_incoming(struct hv_vm *vm, struct error **err)
{
	return start(vm, true, err);
}

int qemu_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	auto_close process = process_open(vm->def->name, PID_FILE);

	if (process < 0)
		return 0;
	if (qemu_command(vm, "system_powerdown", NULL, err) < 0)
		return -1;
	/* The monitor is left, so that QEMU's end finds no reader behind. */
	qemu_drop_monitor(vm);
	if (!process_wait_end(process, deadline_ns))
		return error_set(err, ETIMEDOUT, "the guest did not power off in time, it runs on");
	return 0;
}

int qemu_kill(struct hv_vm *vm, struct error **err)
{
	auto_close process = process_open(vm->def->name, PID_FILE);

	qemu_drop_monitor(vm);
	if (process < 0)
		return 0;
	/* On SIGTERM QEMU ends in order, and needs no monitor for it, which another may hold. */
	pidfd_send_signal(process, SIGTERM, NULL, 0);
	if (process_wait_end(process, clock_ns() + QUIT_LIMIT_NS))
		return 0;
	log_warn("QEMU of VM %s does not heed SIGTERM: killed", vm->def->name);
	pidfd_send_signal(process, SIGKILL, NULL, 0);
	if (!process_wait_end(process, clock_ns() + KILL_LIMIT_NS))
		return error_set(err, ETIMEDOUT, "QEMU does not end, although it was killed");
	return 0;
}
