/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_DISK_SET_H
#define MIGRATE_DISK_DISK_SET_H

#include <stdbool.h>

#include "migrate/disk/disk.h"

/*
 * The disks of a VM that a driver of ours carries between hosts (disk.h). A bare disk has no place
 * in the set: the hypervisor copies it, or both hosts have it.
 */
struct disk_set {
	struct disk *disks[VM_DISKS_MOST]; /* by the disk's index in the definition; NULL: bare */
	size_t count;			   /* of those that are not */
};

/* As this host has them. def is borrowed and must outlive the set; disk_set_close in any case. */
int disk_set_open(struct disk_set *set, const struct vm_def *def, struct error **err);
void disk_set_close(struct disk_set *set); /* may be repeated */

/*
 * One of disk.h's steps for each disk. All are taken, even when one fails; the first error is told.
 * Where somebody has a disk open (EBUSY) it is tried again for a while: a hypervisor's backend in
 * the kernel lets go some time after the VM is gone.
 */
typedef int disk_step(struct disk *disk, struct error **err);
int disk_set_take(const struct disk_set *set, disk_step *step, struct error **err);

/* The same with handles of its own, for whoever undoes or recovers. */
int disks_take(const struct vm_def *def, disk_step *step, struct error **err);

/* Is there a disk that is not bare? false, too, where that can't be told. */
bool disks_carried(const struct vm_def *def);

#endif
