/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_MINORS_H
#define DISK_DRBD_MINORS_H

#include <stddef.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"

/*
 * Which disks of a VM are on DRBD on this host, and the device number (minor) that each of them
 * keeps here: drbd.json in the VM's folder, sealed. It stays on this host.
 *
 *	{"edgehop-drbd":1,"disks":{"disk0":{"minor":1000}},"sum":...}
 *
 * Minors begin beyond those that people give by hand.
 */
#define DRBD_MINOR_FIRST 1000
#define DRBD_MINOR_LAST	 9999

struct drbd_minors {
	struct {
		char disk[NAME_SIZE];
		unsigned minor;
	} list[VM_DISKS_MOST];
	size_t count;
};

/* A VM without the file has none. */
int drbd_minors_read(const char *vm, struct drbd_minors *minors, struct error **err);

/* Durable when it returns 0. With none the file goes. */
int drbd_minors_write(const char *vm, const struct drbd_minors *minors, struct error **err);

/* The disk's, or -1. */
int drbd_minors_find(const struct drbd_minors *minors, const char *disk);
void drbd_minors_remove(struct drbd_minors *minors, const char *disk);

/*
 * Adds the disk with a minor that no VM of this host has and the kernel doesn't know, and
 * writes. Two processes can't choose the same.
 */
int drbd_minors_add(const char *vm, const char *disk, struct error **err);

/* The minor that drbd_minors_add would take at present, for a dry run. */
int drbd_minors_next(struct error **err);

#endif
