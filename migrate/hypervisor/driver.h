/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_DRIVER_H
#define MIGRATE_HYPERVISOR_DRIVER_H

#include "migrate/hypervisor/hypervisor.h"

/*
 * What a hypervisor's driver is made of: for drivers and hypervisor.c only. Each function does
 * what hypervisor.h says of the hv_ function of its name. A NULL one is ENOTSUP.
 */
struct hypervisor_ops {
	const char *name;	       /* as in the definition's `hypervisor` */
	bool nics_arrive_with_memory;  /* see hv_nics_arrive_with_memory */
	bool blind_to_downtime;	       /* unless it schedules pages */
	bool (*schedules_pages)(void); /* NULL: no */
	struct hv_capabilities *(*capabilities)(enum vm_accel accel, struct error **err);
	struct hv_vm *(*open)(const struct vm_def *def, struct error **err);
	void (*close)(struct hv_vm *vm);
	int (*start)(struct hv_vm *vm, struct error **err);
	int (*start_incoming)(struct hv_vm *vm, struct error **err);
	int (*shut_down)(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
	int (*kill)(struct hv_vm *vm, struct error **err);
	bool (*alive)(struct hv_vm *vm);
	int (*state)(struct hv_vm *vm, enum hv_state *state, struct error **err);
	int (*pause)(struct hv_vm *vm, struct error **err);
	int (*resume)(struct hv_vm *vm, struct error **err);
	int (*revive)(struct hv_vm *vm, struct error **err);
	int (*export_start)(struct hv_vm *vm, const char *socket_path, struct error **err);
	int (*export_stop)(struct hv_vm *vm, struct error **err);
	int (*mirror_start)(struct hv_vm *vm, size_t disk, const char *socket_path,
			    struct error **err);
	int (*mirror_progress)(struct hv_vm *vm, size_t disk, struct hv_mirror *mirror,
			       struct error **err);
	int (*mirror_finish)(struct hv_vm *vm, size_t disk, int64_t deadline_ns,
			     struct error **err);
	int (*mirror_abort)(struct hv_vm *vm, size_t disk, struct error **err);
	int (*memory_listen)(struct hv_vm *vm, const char *socket_path, struct error **err);
	int (*memory_wait_loaded)(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
	int (*memory_start)(struct hv_vm *vm, const char *socket_path,
			    const struct hv_memory_limits *limits, struct error **err);
	int (*memory_set_limits)(struct hv_vm *vm, const struct hv_memory_limits *limits,
				 struct error **err);
	int (*memory_progress)(struct hv_vm *vm, struct hv_memory *memory, struct error **err);
	int (*memory_wait_paused)(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
	int (*memory_continue)(struct hv_vm *vm, struct error **err);
	int (*memory_wait_sent)(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
	int (*memory_cancel)(struct hv_vm *vm, struct error **err);
	int (*guest_memory)(struct hv_vm *vm, struct hv_guest_memory *memory, struct error **err);
	/* NULL: what guest_memory tells is digested */
	int (*page_digests)(struct hv_vm *vm, uint64_t **digests, uint64_t *count,
			    struct error **err);
	int (*survey)(struct hv_vm *vm, int64_t time_ns, struct hv_survey *survey,
		      struct error **err);
};

/* Every driver's handle begins with this. */
struct hv_vm {
	const struct hypervisor_ops *ops;
	const struct vm_def *def;
};

extern const struct hypervisor_ops qemu_ops;
extern const struct hypervisor_ops xen_ops;

#endif
