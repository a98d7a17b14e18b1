/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_RECEIVE_H
#define DISK_DRBD_RECEIVE_H

#include "migrate/disk/drbd_device.h"

/*
 * The disk and metadata that a disk is to be received into, in the VM's folder, which is
 * there: what an earlier stay left if it has that size, else new ones. *device gets the minor.
 * Nothing is up.
 */
int drbd_receive_base(const struct vm_def *def, size_t index, uint64_t bytes,
		      struct drbd_device *device, struct error **err);

#endif
