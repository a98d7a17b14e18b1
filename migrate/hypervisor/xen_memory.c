/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * libxl has no gate: once its save helper has decided to have the guest suspended, the last pages
 * and the guest's state follow at once. So PAUSED only says that the guest stands still, and
 * hv_memory_continue has nothing to do. Nor has libxl an answer of the other side: "completed"
 * means that all was written into the socket. The engine waits for the other host's own word that
 * everything was loaded before it asks for that.
 *
 * Limits of rate and pause are the save helper's: Xen's own has none. Ours has
 * (docs/design/xen-helper.md).
 */
#include "migrate/hypervisor/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/vm/vm_store.h"

#define CANCEL_LIMIT_NS (120 * NS_PER_SEC)

int xen_memory_listen(struct hv_vm *vm, const char *socket_path, struct error **err)
{
	return xen_order(vm, XEN_LISTEN, socket_path, NULL, err);
}

static int ended_badly(const struct hv_memory *memory, struct error **err)
{
	return error_set(err, EREMOTEIO, "the memory's migration is %s%s%s",
			 hv_memory_phase_name(memory->phase), *memory->failure ? ": " : "",
			 memory->failure);
}

static int is_loaded(const struct xen_status *status, struct error **err)
{
	if (status->loaded && status->state == HV_PAUSED)
		return 1;
	if (status->memory.phase == HV_MEMORY_FAILED)
		return ended_badly(&status->memory, err);
	return status->state == HV_INCOMING || status->state == HV_PAUSED
		       ? 0
		       : error_set(err, EPROTO, "it is %s when it should wait for its state",
				   hv_state_name(status->state));
}

int xen_memory_wait_loaded(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	return xen_await(vm, is_loaded, deadline_ns, "loading its state", err);
}

bool xen_schedules_pages(void)
{
	return access(XEN_SAVE_HELPER, X_OK) == 0;
}

static struct xen_bounds bounds_of(const struct hv_memory_limits *limits)
{
	return (struct xen_bounds){limits->downtime_ns > 0 ? limits->downtime_ns : 1,
				   limits->bandwidth, limits->unmet};
}

int xen_memory_start(struct hv_vm *vm, const char *socket_path,
		     const struct hv_memory_limits *limits, struct error **err)
{
	struct xen_request request = {.order = XEN_SEND, .bounds = bounds_of(limits)};
	struct xen_status status;

	return xen_request_path(&request, socket_path, err) < 0
		       ? -1
		       : xen_ask(vm, &request, &status, err);
}

int xen_memory_set_limits(struct hv_vm *vm, const struct hv_memory_limits *limits,
			  struct error **err)
{
	struct xen_request request = {.order = XEN_LIMIT, .bounds = bounds_of(limits)};
	struct xen_status status;

	return xen_ask(vm, &request, &status, err);
}

int xen_memory_progress(struct hv_vm *vm, struct hv_memory *memory, struct error **err)
{
	struct xen_status status;

	if (xen_order(vm, XEN_STATUS, NULL, &status, err) < 0)
		return -1;
	*memory = status.memory;
	return 0;
}

static bool has_ended(const struct hv_memory *memory)
{
	return memory->phase == HV_MEMORY_FAILED || memory->phase == HV_MEMORY_CANCELLED ||
	       memory->phase == HV_MEMORY_NONE || memory->phase == HV_MEMORY_COMPLETED;
}

static int is_paused_or_sent(const struct xen_status *status, struct error **err)
{
	const struct hv_memory *memory = &status->memory;

	if (memory->phase == HV_MEMORY_PAUSED || memory->phase == HV_MEMORY_DEVICE ||
	    memory->phase == HV_MEMORY_COMPLETED)
		return 1;
	return has_ended(memory) ? ended_badly(memory, err) : 0;
}

int xen_memory_wait_paused(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	return xen_await(vm, is_paused_or_sent, deadline_ns, "the memory's migration", err);
}

int xen_memory_continue(struct hv_vm *vm, struct error **err)
{
	(void)vm;
	(void)err;
	return 0;
}

static int is_sent(const struct xen_status *status, struct error **err)
{
	const struct hv_memory *memory = &status->memory;

	if (memory->phase == HV_MEMORY_COMPLETED)
		return 1;
	return has_ended(memory) ? ended_badly(memory, err) : 0;
}

int xen_memory_wait_sent(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	return xen_await(vm, is_sent, deadline_ns, "the memory's migration", err);
}

static int is_over(const struct xen_status *status, struct error **err)
{
	(void)err;
	return has_ended(&status->memory) && !status->busy;
}

int xen_memory_cancel(struct hv_vm *vm, struct error **err)
{
	if (xen_order(vm, XEN_CANCEL, NULL, NULL, err) < 0)
		return -1;
	return xen_await(vm, is_over, clock_ns() + CANCEL_LIMIT_NS, "cancelling", err);
}

static int read_digests(const char *path, uint64_t **digests, uint64_t *count, struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "%s", path);
	*count = (uint64_t)st.st_size / sizeof(**digests);
	*digests = calloc(*count, sizeof(**digests));
	if (!*digests)
		return error_set(err, ENOMEM, "out of memory");
	return read_all(fd, *digests, *count * sizeof(**digests), err);
}

int xen_page_digests(struct hv_vm *vm, uint64_t **digests, uint64_t *count, struct error **err)
{
	char path[PATH_MAX];
	int result;

	if (vm_store_run_path(path, vm->def->name, "digests", err) < 0 ||
	    xen_order(vm, XEN_DIGEST, path, NULL, err) < 0)
		return -1;
	result = read_digests(path, digests, count, err);
	unlink(path);
	return result;
}
