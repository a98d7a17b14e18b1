/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_DEVICE_H
#define DISK_DRBD_DEVICE_H

#include <limits.h>
#include <stdbool.h>

#include "migrate/config/vm_def.h"
#include "migrate/disk/drbd_command.h"
#include "migrate/disk/drbd_events.h"
#include "migrate/disk/drbd_gi.h"

/*
 * A disk's DRBD device on this host, without its peer: there or not, Primary or not.
 *
 *	guest -- gate -- /dev/drbdMINOR -- loop device -- DISK's file	data
 *				       \-- loop device -- drbd-DISK.meta	metadata
 *
 * The gate (gate.h, named as the resource) is open while this host is Primary for the VM's
 * sake. A hypervisor can hold it while DRBD changes roles, for which nobody may have DRBD's
 * device open.
 */
struct drbd_device {
	const char *vm, *disk; /* borrowed */
	unsigned minor;
	char resource[DRBD_RESOURCE_SIZE];
	char path[32]; /* /dev/drbdMINOR */
	char data[PATH_MAX], meta[PATH_MAX], doubt[PATH_MAX];
	bool dry; /* print what would be run */
};

/* Nothing is touched. minor 0: not known yet. */
int drbd_device_init(struct drbd_device *device, const struct vm_def *def, size_t index,
		     unsigned minor, struct error **err);

/* The programs that DRBD and the gate are driven by, and the kernel's module, could be used. */
int drbd_check(struct error **err);

/* The kernel's module is there, or is loaded. */
int drbd_module(struct error **err);

/* Runs one of drbd_command.h's, or prints it when the device is dry. */
int drbd_device_run(const struct drbd_device *device, const struct program *program,
		    struct error **err);

/* Makes (or makes anew) the metadata file and what is in it: no data yet, no changes. */
int drbd_device_make_meta(const struct drbd_device *device, uint64_t disk_bytes,
			  struct error **err);

/* Secondary, alone. Success if it is there in whatever role. */
int drbd_device_up(const struct drbd_device *device, struct error **err);

/* Success if it is not there. EBUSY: it is open. */
int drbd_device_down(const struct drbd_device *device, struct error **err);

/* What DRBD says of it; view->device is false where it is not there. */
int drbd_device_look(const struct drbd_device *device, struct drbd_view *view, struct error **err);

/* Its generation identifiers; it must be up. text (may be NULL) gets the line as it was. */
int drbd_device_gi(const struct drbd_device *device, struct drbd_gi *gi, char text[DRBD_GI_TEXT],
		   struct error **err);

/*
 * Whether copied blocks may be missing in it, since its host lost power in a copy or as a connected
 * Secondary. It is noticed when the device is brought up, and noted beside the disk until it is
 * settled: by a comparison of everything, or since the data here are to be the right ones.
 */
bool drbd_device_doubted(const struct drbd_device *device);
int drbd_device_settle_doubt(const struct drbd_device *device, struct error **err);

/* Primary: only a whole disk that is not known to be old can be (EUCLEAN). */
int drbd_device_own(const struct drbd_device *device, struct error **err);

/* Secondary. EBUSY: somebody has it open. */
int drbd_device_disown(const struct drbd_device *device, struct error **err);

/* What is on the disk's file, and its metadata's, is on the media. */
int drbd_device_sync(const struct drbd_device *device, struct error **err);

#endif
