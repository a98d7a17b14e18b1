/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the hv_ functions to the driver that the VM's definition names. */
#include "migrate/hypervisor/hypervisor.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/hypervisor/driver.h"

static const struct hypervisor_ops *const drivers[] = {&qemu_ops};

static const char *const state_names[] = {
	[HV_ABSENT] = "absent", [HV_INCOMING] = "incoming", [HV_RUNNING] = "running",
	[HV_PAUSED] = "paused", [HV_SENT] = "sent",	    [HV_BROKEN] = "broken",
};
static_assert(ARRAY_SIZE(state_names) == HV_STATES, "each state has a name");

static const char *const phase_names[] = {
	[HV_MEMORY_NONE] = "none",	     [HV_MEMORY_SETUP] = "setup",
	[HV_MEMORY_ACTIVE] = "active",	     [HV_MEMORY_PAUSED] = "paused",
	[HV_MEMORY_DEVICE] = "device",	     [HV_MEMORY_COMPLETED] = "completed",
	[HV_MEMORY_CANCELLED] = "cancelled", [HV_MEMORY_FAILED] = "failed",
};
static_assert(ARRAY_SIZE(phase_names) == HV_MEMORY_PHASES, "each phase has a name");

const char *hv_state_name(enum hv_state state)
{
	return state_names[state];
}

const char *hv_memory_phase_name(enum hv_memory_phase phase)
{
	return phase_names[phase];
}

struct hv_vm *hv_open(const struct vm_def *def, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, def->hypervisor) == 0)
			return drivers[i]->open(def, err);
	error_set(err, ENOTSUP, "VM %s: hypervisor: found \"%s\", expected qemu", def->name,
		  def->hypervisor);
	return NULL;
}

void hv_close(struct hv_vm *vm)
{
	if (vm)
		vm->ops->close(vm);
}

bool hv_alive(struct hv_vm *vm)
{
	return vm->ops->alive(vm);
}

static int missing(const struct hv_vm *vm, const char *what, struct error **err)
{
	return error_set(err, ENOTSUP, "hypervisor %s can't do %s", vm->ops->name, what);
}

/* hv_NAME(vm, PARAMETERS, err) calls the driver's NAME, and says which VM it was on failure. */
#define DISPATCH(NAME, PARAMETERS, ARGUMENTS)                                                      \
	int hv_##NAME PARAMETERS                                                                   \
	{                                                                                          \
		if (!vm->ops->NAME)                                                                \
			return missing(vm, #NAME, err);                                            \
		if (vm->ops->NAME ARGUMENTS < 0)                                                   \
			return error_wrap(err, "VM %s", vm->def->name);                            \
		return 0;                                                                          \
	}

DISPATCH(start, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(start_incoming, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(shut_down, (struct hv_vm *vm, int64_t deadline_ns, struct error **err),
	 (vm, deadline_ns, err))
DISPATCH(kill, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(state, (struct hv_vm *vm, enum hv_state *state, struct error **err), (vm, state, err))
DISPATCH(pause, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(resume, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(revive, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(export_start, (struct hv_vm *vm, const char *path, struct error **err), (vm, path, err))
DISPATCH(export_stop, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(mirror_start, (struct hv_vm *vm, size_t disk, const char *path, struct error **err),
	 (vm, disk, path, err))
DISPATCH(mirror_progress,
	 (struct hv_vm *vm, size_t disk, struct hv_mirror *mirror, struct error **err),
	 (vm, disk, mirror, err))
DISPATCH(mirror_finish, (struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err),
	 (vm, disk, deadline_ns, err))
DISPATCH(mirror_abort, (struct hv_vm *vm, size_t disk, struct error **err), (vm, disk, err))
DISPATCH(memory_listen, (struct hv_vm *vm, const char *path, struct error **err), (vm, path, err))
DISPATCH(memory_wait_loaded, (struct hv_vm *vm, int64_t deadline_ns, struct error **err),
	 (vm, deadline_ns, err))
DISPATCH(memory_start,
	 (struct hv_vm *vm, const char *path, const struct hv_memory_limits *limits,
	  struct error **err),
	 (vm, path, limits, err))
DISPATCH(memory_set_limits,
	 (struct hv_vm *vm, const struct hv_memory_limits *limits, struct error **err),
	 (vm, limits, err))
DISPATCH(memory_progress, (struct hv_vm *vm, struct hv_memory *memory, struct error **err),
	 (vm, memory, err))
DISPATCH(memory_wait_paused, (struct hv_vm *vm, int64_t deadline_ns, struct error **err),
	 (vm, deadline_ns, err))
DISPATCH(memory_continue, (struct hv_vm *vm, struct error **err), (vm, err))
DISPATCH(memory_wait_sent, (struct hv_vm *vm, int64_t deadline_ns, struct error **err),
	 (vm, deadline_ns, err))
DISPATCH(memory_cancel, (struct hv_vm *vm, struct error **err), (vm, err))
