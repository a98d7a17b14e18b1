/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * edgehop-xen as a process (process.h). It is up when it answers on its socket; a domain that is to
 * be started runs when it says so.
 *
 * Is the VM alive? Where the process holds its lock, yes. Where it does not, but a file says that
 * there may be a domain, another process is started to adopt it, and ends at once if there is none.
 */
#include "migrate/hypervisor/xen.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "xen"
#include "common/log.h"
#include "migrate/hypervisor/process.h"
#include "migrate/vm/vm_store.h"

#define START_LIMIT_NS (120 * NS_PER_SEC)
#define ADOPT_LIMIT_NS (30 * NS_PER_SEC)
#define KILL_LIMIT_NS  (60 * NS_PER_SEC)
#define END_LIMIT_NS   (10 * NS_PER_SEC)
#define LOOK_MS	       10
#define PROGRAM	       "edgehop-xen"

/* Beside the program that runs, as where it was built; else on the path. */
const char *xen_program(void)
{
	static char beside[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof(PROGRAM));
	char *slash;

	if (n <= 0)
		return PROGRAM;
	beside[n] = '\0';
	slash = strrchr(beside, '/');
	strcpy(slash ? slash + 1 : beside, PROGRAM);
	return access(beside, X_OK) == 0 ? beside : PROGRAM;
}

static bool carried(const struct hv_vm *vm)
{
	return process_pid(vm->def->name, XEN_PID_FILE) != 0;
}

/* "" when it has said nothing. */
static void last_words(const struct hv_vm *vm, char *buf, size_t size)
{
	process_last_words(vm->def->name, XEN_LOG_FILE, PROGRAM, buf, size);
}

static int spawn(struct hv_vm *vm, const char *mode, struct error **err)
{
	char *argv[] = {(char *)xen_program(), (char *)"run", (char *)(mode ? mode : vm->def->name),
			(char *)(mode ? vm->def->name : NULL), NULL};

	xen_disconnect(vm);
	if (vm_store_make_run(vm->def->name, err) < 0)
		return -1;
	return process_spawn(argv, vm->def->name, XEN_LOG_FILE, err);
}

/* Whether it has a socket that answers. */
static bool is_up(struct hv_vm *vm)
{
	return carried(vm) && xen_order(vm, XEN_STATUS, NULL, NULL, NULL) == 0;
}

/* true: it is up. false: it has ended, or the time is over. */
static bool wait_up(struct hv_vm *vm, int lifeline, int64_t deadline_ns)
{
	struct pollfd p = {.fd = lifeline, .events = POLLIN};

	while (clock_ns() < deadline_ns) {
		if (poll(&p, 1, LOOK_MS) > 0)
			return false;
		if (is_up(vm))
			return true;
	}
	return false;
}

static bool may_have_domain(const struct hv_vm *vm)
{
	char path[PATH_MAX];

	return vm_store_run_path(path, vm->def->name, XEN_DOMAIN, NULL) == 0 &&
	       access(path, F_OK) == 0;
}

static void adopt(struct hv_vm *vm)
{
	auto_error why = NULL;
	auto_close lifeline = spawn(vm, "--adopt", &why);

	if (lifeline < 0 || !wait_up(vm, lifeline, clock_ns() + ADOPT_LIMIT_NS))
		log_info("nothing of VM %s was left to be carried on%s%s", vm->def->name,
			 why ? ": " : "", why ? error_text(why) : "");
	else
		log_warn("VM %s had nobody to carry it: it has now", vm->def->name);
}

bool xen_alive(struct hv_vm *vm)
{
	if (carried(vm))
		return true;
	if (!may_have_domain(vm))
		return false;
	adopt(vm);
	return carried(vm);
}

static int is_started(const struct xen_status *status, struct error **err)
{
	if (status->starting)
		return 0;
	if (status->state == HV_RUNNING || status->state == HV_INCOMING)
		return 1;
	return *status->why ? error_set(err, EREMOTEIO, "%s", status->why) : 0;
}

static int explain(struct hv_vm *vm, struct error **err)
{
	char words[256];

	last_words(vm, words, sizeof(words));
	return error_set(err, EREMOTEIO, "Xen does not start it: %s",
			 *words ? words : "it gave no reason in time");
}

static int start(struct hv_vm *vm, const char *mode, struct error **err)
{
	int64_t deadline = clock_ns() + START_LIMIT_NS;
	struct error *why = NULL;
	auto_close lifeline = -1;

	if (xen_alive(vm))
		return error_set(err, EEXIST, "it runs here already");
	lifeline = spawn(vm, mode, err);
	if (lifeline < 0)
		return -1;
	if (!wait_up(vm, lifeline, deadline)) {
		xen_kill(vm, NULL);
		return explain(vm, err);
	}
	if (xen_await(vm, is_started, deadline, "starting it", &why) == 0)
		return 0;
	if (!carried(vm)) {
		error_free(why);
		return explain(vm, err);
	}
	xen_kill(vm, NULL);
	return error_propagate(err, why);
}

int xen_start(struct hv_vm *vm, struct error **err)
{
	return start(vm, NULL, err);
}

int xen_start_incoming(struct hv_vm *vm, struct error **err)
{
	return start(vm, "--incoming", err);
}

int xen_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	auto_close process = -1;

	if (!xen_alive(vm))
		return 0;
	process = process_open(vm->def->name, XEN_PID_FILE);
	if (process < 0)
		return 0;
	if (xen_order(vm, XEN_POWER_OFF, NULL, NULL, err) < 0)
		return -1;
	xen_disconnect(vm);
	if (!process_wait_end(process, deadline_ns))
		return error_set(err, ETIMEDOUT, "the guest did not power off in time, it runs on");
	return 0;
}

/* Has it destroy the domain and end. */
static int destroy(struct hv_vm *vm, int process, struct error **err)
{
	int result = xen_order(vm, XEN_DESTROY, NULL, NULL, err);

	xen_disconnect(vm);
	if (result < 0)
		return -1;
	if (!process_wait_end(process, clock_ns() + KILL_LIMIT_NS))
		return error_set(err, ETIMEDOUT, "its domain is not destroyed in time");
	return 0;
}

int xen_kill(struct hv_vm *vm, struct error **err)
{
	/* A process that does not do it is killed, and another one tried. */
	for (int i = 0;; i++) {
		auto_close process = -1;
		struct error *why = NULL;

		if (!xen_alive(vm))
			return 0;
		process = process_open(vm->def->name, XEN_PID_FILE);
		if (process < 0 || destroy(vm, process, &why) == 0)
			return xen_alive(vm) ? error_set(err, EBUSY, "its domain is still there")
					     : 0;
		if (i > 0)
			return error_propagate(err, why);
		log_warn("VM %s: %s; edgehop-xen is killed, and another one tried", vm->def->name,
			 error_text(why));
		error_free(why);
		pidfd_send_signal(process, SIGKILL, NULL, 0);
		(void)process_wait_end(process, clock_ns() + END_LIMIT_NS);
	}
}
