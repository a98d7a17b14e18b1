/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A VM under Xen is a domain, which lives by itself, and a process of ours that carries it:
 * edgehop-xen, the only program that is linked with Xen's libraries. It is found by its files in
 * the VM's run folder, and asked, never remembered. Where it has died, the domain lives on, and
 * whoever looks for the VM next starts another one, which adopts the domain (xen_run.c).
 */
#include "migrate/hypervisor/xen.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "migrate/transport/local.h"
#include "migrate/vm/vm_store.h"

#define ORDER_LIMIT_NS (60 * NS_PER_SEC)
#define RUN_LIMIT_NS   (60 * NS_PER_SEC)
#define WAIT_STEP_MS   1000

struct xen {
	struct hv_vm vm;
	int fd; /* -1: not connected */
	struct jsonl *lines;
	int64_t id;
};

static struct hv_vm *xen_open(const struct vm_def *def, struct error **err)
{
	struct xen *xen = calloc(1, sizeof(*xen));

	if (!xen) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	xen->vm.ops = &xen_ops;
	xen->vm.def = def;
	xen->fd = -1;
	return &xen->vm;
}

void xen_disconnect(struct hv_vm *vm)
{
	struct xen *xen = (struct xen *)vm;

	if (xen->fd >= 0)
		close(xen->fd);
	xen->fd = -1;
	jsonl_destroy(xen->lines);
	xen->lines = NULL;
}

static void xen_close(struct hv_vm *vm)
{
	xen_disconnect(vm);
	free(vm);
}

static int connect_to(struct xen *xen, struct error **err)
{
	char path[PATH_MAX];

	if (xen->fd >= 0)
		return 0;
	if (!xen_alive(&xen->vm))
		return error_set(err, ESRCH, "it does not run here");
	if (vm_store_run_path(path, xen->vm.def->name, XEN_SOCKET, err) < 0)
		return -1;
	xen->lines = jsonl_create(XEN_LINE_MOST);
	if (!xen->lines)
		return error_set(err, ENOMEM, "out of memory");
	xen->fd = local_connect(path, err);
	if (xen->fd >= 0)
		return 0;
	xen_disconnect(&xen->vm);
	return -1;
}

int xen_ask(struct hv_vm *vm, struct xen_request *request, struct xen_status *status,
	    struct error **err)
{
	struct xen *xen = (struct xen *)vm;
	int64_t deadline = clock_ns() + ORDER_LIMIT_NS;
	auto_json question = NULL;
	auto_json answer = NULL;

	if (connect_to(xen, err) < 0)
		return -1;
	request->id = ++xen->id;
	question = xen_request_make(request);
	if (jsonl_write(xen->fd, question, deadline, err) == 0)
		answer = jsonl_read(xen->lines, xen->fd, deadline, err);
	if (answer)
		return xen_status_parse(answer, request->id, status, err);
	xen_disconnect(&xen->vm);
	return error_wrap(err, "edgehop-xen");
}

int xen_order(struct hv_vm *vm, enum xen_order order, const char *path, struct xen_status *status,
	      struct error **err)
{
	struct xen_request request = {.order = order};
	struct xen_status unwanted;

	if (path && xen_request_path(&request, path, err) < 0)
		return -1;
	return xen_ask(vm, &request, status ? status : &unwanted, err);
}

int xen_wait(struct hv_vm *vm, uint64_t serial, int64_t ms, struct xen_status *status,
	     struct error **err)
{
	struct xen_request request = {.order = XEN_WAIT, .serial = serial, .wait_ms = ms};

	return xen_ask(vm, &request, status, err);
}

int xen_await(struct hv_vm *vm, xen_condition *is_met, int64_t deadline_ns, const char *what,
	      struct error **err)
{
	struct xen_status status;

	if (xen_order(vm, XEN_STATUS, NULL, &status, err) < 0)
		return -1;
	for (;;) {
		int met = is_met(&status, err);
		int64_t left = (deadline_ns - clock_ns()) / NS_PER_MS;

		if (met)
			return met > 0 ? 0 : -1;
		if (left <= 0)
			return error_set(err, ETIMEDOUT, "%s: it is %s, memory %s", what,
					 hv_state_name(status.state),
					 hv_memory_phase_name(status.memory.phase));
		if (xen_wait(vm, status.serial, left < WAIT_STEP_MS ? left : WAIT_STEP_MS, &status,
			     err) < 0)
			return -1;
	}
}

static int xen_state(struct hv_vm *vm, enum hv_state *state, struct error **err)
{
	struct xen_status status;

	*state = HV_ABSENT;
	if (!xen_alive(vm))
		return 0;
	if (xen_order(vm, XEN_STATUS, NULL, &status, err) < 0)
		return -1;
	*state = status.state;
	return 0;
}

static int is_running(const struct xen_status *status, struct error **err)
{
	if (status->state == HV_RUNNING && !status->busy)
		return 1;
	if (status->busy)
		return 0;
	if (*status->why)
		return error_set(err, EREMOTEIO, "%s", status->why);
	return status->state == HV_ABSENT || status->state == HV_BROKEN
		       ? error_set(err, EREMOTEIO, "it was told to run and is %s",
				   hv_state_name(status->state))
		       : 0;
}

static int is_paused(const struct xen_status *status, struct error **err)
{
	(void)err;
	return status->state == HV_PAUSED;
}

static int xen_pause(struct hv_vm *vm, struct error **err)
{
	return xen_order(vm, XEN_PAUSE, NULL, NULL, err) < 0
		       ? -1
		       : xen_await(vm, is_paused, clock_ns() + RUN_LIMIT_NS, "pausing it", err);
}

static int run_on(struct hv_vm *vm, enum xen_order order, struct error **err)
{
	if (xen_order(vm, order, NULL, NULL, err) < 0)
		return -1;
	return xen_await(vm, is_running, clock_ns() + RUN_LIMIT_NS, "letting it run", err);
}

static int xen_resume(struct hv_vm *vm, struct error **err)
{
	return run_on(vm, XEN_RESUME, err);
}

/* edgehop-xen undoes what a hop has begun in the order that libxl needs. */
static int xen_revive(struct hv_vm *vm, struct error **err)
{
	enum hv_state state;

	if (xen_state(vm, &state, err) < 0)
		return -1;
	if (state == HV_ABSENT || state == HV_INCOMING)
		return error_set(err, ESRCH, "it is %s here: nothing that could run on",
				 hv_state_name(state));
	return run_on(vm, XEN_REVIVE, err);
}

const struct hypervisor_ops xen_ops = {
	.name = VM_XEN,
	.nics_arrive_with_memory = true,
	.schedules_pages = xen_schedules_pages,
	.blind_to_downtime = true,
	.open = xen_open,
	.close = xen_close,
	.start = xen_start,
	.start_incoming = xen_start_incoming,
	.shut_down = xen_shut_down,
	.kill = xen_kill,
	.alive = xen_alive,
	.state = xen_state,
	.pause = xen_pause,
	.resume = xen_resume,
	.revive = xen_revive,
	.memory_listen = xen_memory_listen,
	.memory_wait_loaded = xen_memory_wait_loaded,
	.memory_start = xen_memory_start,
	.memory_set_limits = xen_memory_set_limits,
	.memory_progress = xen_memory_progress,
	.memory_wait_paused = xen_memory_wait_paused,
	.memory_continue = xen_memory_continue,
	.memory_wait_sent = xen_memory_wait_sent,
	.memory_cancel = xen_memory_cancel,
	.page_digests = xen_page_digests,
	.capabilities = xen_capabilities,
};
