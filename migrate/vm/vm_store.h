/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_VM_STORE_H
#define MIGRATE_VM_VM_STORE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"
#include "migrate/vm/owner.h"

/*
 * The VMs' folders on this host: /var/lib/edgehop/vms/NAME with vm.yaml, disks and owner.json, and
 * /run/edgehop/vms/NAME for what lives as long as the VM runs. No other place makes these paths.
 */

/* A file in the VM's folder, and in its run folder. file NULL: the folder itself. */
int vm_store_path(char path[PATH_MAX], const char *vm, const char *file, struct error **err);
int vm_store_run_path(char path[PATH_MAX], const char *vm, const char *file, struct error **err);

/* Makes the run folder where it is missing. */
int vm_store_make_run(const char *vm, struct error **err);

/* The names of the VMs that have a definition here, sorted; both the array and its strings are
 * the caller's (vm_store_free_names). */
int vm_store_list(char ***names, size_t *count, struct error **err);
void vm_store_free_names(char **names, size_t count);

/* The VM's definition; the caller frees it with vm_def_free. */
struct vm_def *vm_store_load(const char *vm, struct error **err);

/*
 * Locks the VM against start, stop, hops and recovery by others; doesn't wait for them. Returns the
 * descriptor that holds the lock; closing it, or the process's end, gives it back. EBUSY: the
 * error names the holder's process. The lock is inherited by children that keep the descriptor.
 */
int vm_store_lock(const char *vm, struct error **err);

/* Does another hold the lock? Only for people to see: it may be otherwise a moment later. */
bool vm_store_busy(const char *vm);

/* Where a disk is: in the VM's folder, or among the host's devices for VMs. */
int vm_store_disk_path(char path[PATH_MAX], const struct vm_def *def, size_t disk,
		       struct error **err);

/*
 * Takes a VM in, owned by this host with epoch 1. images: for each disk of def (NULL where it is a
 * device), then for each file of vm_def_boot_files, the file that is copied, sparse (a reflink
 * where the file system can). All or nothing: the folder appears whole and durable, or not at all.
 * EEXIST when the VM is defined already.
 */
int vm_store_define(const struct vm_def *def, const char *const *images, const char *site,
		    struct error **err);

/* Size of a disk, bytes. ENODEV: this host has no device of that name. */
int vm_store_disk_size(const struct vm_def *def, size_t disk, uint64_t *bytes, struct error **err);

/*
 * The folder for a VM that is about to arrive: owner.json as told (so that `start` refuses it from
 * the first moment), the definition, and empty disks of these sizes; devices must have them. What
 * an earlier stay left behind is replaced; EPERM when this host owns the VM. On failure nothing is
 * left.
 */
int vm_store_make_incoming(const struct vm_def *def, const struct owner *owner,
			   const uint64_t *disk_sizes, struct error **err);

/*
 * The same where drivers of ours receive disks: what an earlier stay left stays, as what they begin
 * with. disk_sizes: 0 for the disks that they make.
 */
int vm_store_keep_incoming(const struct vm_def *def, const struct owner *owner,
			   const uint64_t *disk_sizes, struct error **err);

/*
 * Kernel and initrd of a VM that is about to arrive, piece by piece; offset 0 begins the file anew.
 * It is durable after vm_store_sync_disks.
 */
int vm_store_write_boot_file(const struct vm_def *def, size_t file, uint64_t offset,
			     const void *data, size_t size, struct error **err);

/* Removes a VM's folder. EPERM, and nothing happens, when this host owns the VM or may do so. */
int vm_store_remove(const char *vm, struct error **err);

/* fsync of all disks and boot files. */
int vm_store_sync_disks(const struct vm_def *def, struct error **err);

#endif
