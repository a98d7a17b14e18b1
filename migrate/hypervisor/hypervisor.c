/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the hv_ functions to the driver that the VM's definition names. */
#include "migrate/hypervisor/hypervisor.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/cleanup.h"

#include "migrate/hypervisor/driver.h"

static const struct hypervisor_ops *const drivers[] = {&qemu_ops, &xen_ops};

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

struct hv_capabilities *hv_capabilities(const char *hypervisor, enum vm_accel accel,
					struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, hypervisor) == 0 && drivers[i]->capabilities)
			return drivers[i]->capabilities(accel, err);
	error_set(err, ENOTSUP, "hypervisor: found \"%.32s\", expected qemu or xen", hypervisor);
	return NULL;
}

static void free_list(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void hv_capabilities_free(struct hv_capabilities *capabilities)
{
	if (!capabilities)
		return;
	free_list(capabilities->machines);
	free_list(capabilities->cpus);
	free(capabilities);
}

struct hv_vm *hv_open(const struct vm_def *def, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, def->hypervisor) == 0)
			return drivers[i]->open(def, err);
	error_set(err, ENOTSUP, "VM %s: hypervisor: found \"%s\", expected qemu or xen", def->name,
		  def->hypervisor);
	return NULL;
}

void hv_close(struct hv_vm *vm)
{
	if (vm)
		vm->ops->close(vm);
}

bool hv_nics_arrive_with_memory(const struct hv_vm *vm)
{
	return vm->ops->nics_arrive_with_memory;
}

bool hv_copies_disks(const struct hv_vm *vm)
{
	return vm->ops->mirror_start != NULL;
}

bool hv_schedules_pages(const struct hv_vm *vm)
{
	return vm->ops->schedules_pages && vm->ops->schedules_pages();
}

bool hv_heeds_downtime(const struct hv_vm *vm)
{
	return !vm->ops->blind_to_downtime || hv_schedules_pages(vm);
}

bool hv_alive(struct hv_vm *vm)
{
	return vm->ops->alive(vm);
}

static int missing(const struct hv_vm *vm, const char *what, struct error **err)
{
	return error_set(err, ENOTSUP, "hypervisor %s can't do %s", vm->ops->name, what);
}

/* hv_NAME(vm, ..., err) calls the driver's NAME, and says which VM it was on failure. */
#define CALL(NAME, ...)                                                                            \
	{                                                                                          \
		if (!vm->ops->NAME)                                                                \
			return missing(vm, #NAME, err);                                            \
		return vm->ops->NAME(vm, __VA_ARGS__) < 0                                          \
			       ? error_wrap(err, "VM %s", vm->def->name)                           \
			       : 0;                                                                \
	}
#define DISPATCH(NAME) int hv_##NAME(struct hv_vm *vm, struct error **err) CALL(NAME, err)
#define DISPATCH1(NAME, T1, A1)                                                                    \
	int hv_##NAME(struct hv_vm *vm, T1 A1, struct error **err) CALL(NAME, A1, err)
#define DISPATCH2(NAME, T1, A1, T2, A2)                                                            \
	int hv_##NAME(struct hv_vm *vm, T1 A1, T2 A2, struct error **err) CALL(NAME, A1, A2, err)

DISPATCH(start)
DISPATCH(start_incoming)
DISPATCH1(shut_down, int64_t, deadline_ns)
DISPATCH(kill)
DISPATCH1(state, enum hv_state *, state)
DISPATCH(pause)
DISPATCH(resume)
DISPATCH(revive)
DISPATCH1(export_start, const char *, socket_path)
DISPATCH(export_stop)
DISPATCH2(mirror_start, size_t, disk, const char *, socket_path)
DISPATCH2(mirror_progress, size_t, disk, struct hv_mirror *, mirror)
DISPATCH2(mirror_finish, size_t, disk, int64_t, deadline_ns)
DISPATCH1(mirror_abort, size_t, disk)
DISPATCH1(memory_listen, const char *, socket_path)
DISPATCH1(memory_wait_loaded, int64_t, deadline_ns)
DISPATCH2(memory_start, const char *, socket_path, const struct hv_memory_limits *, limits)
DISPATCH1(memory_set_limits, const struct hv_memory_limits *, limits)
DISPATCH1(memory_progress, struct hv_memory *, memory)
DISPATCH1(memory_wait_paused, int64_t, deadline_ns)
DISPATCH(memory_continue)
DISPATCH1(memory_wait_sent, int64_t, deadline_ns)
DISPATCH(memory_cancel)
DISPATCH1(guest_memory, struct hv_guest_memory *, memory)
DISPATCH2(survey, int64_t, time_ns, struct hv_survey *, survey)

static int digest_guest_memory(struct hv_vm *vm, uint64_t **digests, uint64_t *count,
			       struct error **err)
{
	static const size_t page = 4096;
	struct hv_guest_memory memory;
	uint8_t content[4096];

	if (hv_guest_memory(vm, &memory, err) < 0)
		return -1;
	*count = memory.bytes / page;
	*digests = calloc(*count, sizeof(**digests));
	if (!*digests)
		return error_set(err, ENOMEM, "out of memory");
	for (uint64_t i = 0; i < *count; i++) {
		if (hv_guest_memory_read(&memory, i * page, content, page) < 0)
			return error_set(err, EIO, "page %llu can't be read",
					 (unsigned long long)i);
		(*digests)[i] = XXH3_64bits(content, page) | 1;
	}
	return 0;
}

int hv_page_digests(struct hv_vm *vm, uint64_t **digests, uint64_t *count, struct error **err)
{
	int result;

	*digests = NULL;
	result = vm->ops->page_digests ? vm->ops->page_digests(vm, digests, count, err)
				       : digest_guest_memory(vm, digests, count, err);
	if (result == 0)
		return 0;
	free(*digests);
	*digests = NULL;
	return error_wrap(err, "VM %s", vm->def->name);
}

int hv_guest_memory_read(const struct hv_guest_memory *memory, uint64_t offset, void *buffer,
			 size_t n)
{
	struct iovec to = {buffer, n};
	struct iovec from = {(void *)(uintptr_t)(memory->address + offset), n};

	if (offset > memory->bytes || n > memory->bytes - offset)
		return -1;
	return process_vm_readv(memory->pid, &to, 1, &from, 1, 0) == (ssize_t)n ? 0 : -1;
}
