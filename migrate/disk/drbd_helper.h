/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_HELPER_H
#define DISK_DRBD_HELPER_H

#include "migrate/disk/drbd_device.h"

/*
 * The kernel asks `drbdadm` before and after a copy, and drops the connection when that does
 * not know the device. So each device that is up has a configuration, of its own and outside
 * /etc, where drbdadm looks for it when it's asked by the kernel, and only then: `drbdadm up
 * all` does not see it.
 */
#define DRBD_HELPER_TEXT 12288

/* The configuration: no handlers, so that the kernel's questions get a yes. Fails when it does not
 * fit. */
int drbd_helper_text(const struct drbd_device *device, const char *host,
		     char text[DRBD_HELPER_TEXT], struct error **err);

int drbd_helper_install(const struct drbd_device *device, struct error **err);
void drbd_helper_remove(const struct drbd_device *device);

#endif
