/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_DISK_H
#define DISK_DRBD_DISK_H

#include "migrate/disk/disk_ops.h"
#include "migrate/disk/drbd_device.h"

/* The driver's handle: drbd.c opens it, drbd_plan.c and drbd_hop.c have the operations of a hop. */
struct drbd_disk {
	const struct vm_def *def;
	size_t index;
	struct drbd_device device;
	int reserved;	      /* the peer's place, -1: not held */
	bool connected;	      /* it was seen */
	int64_t connect_ns;   /* it must be seen before */
	uint64_t total, rest; /* bytes to copy in all, and the last that was left */
};

int drbd_receive(void *disk, uint64_t bytes, char state[DISK_STATE_TEXT], struct error **err);
int drbd_plan(void *disk, const char *state, enum disk_copy *copy, struct error **err);
int drbd_open_streams(void *disk, enum disk_side side, const struct disk_link *link,
		      int fds[DISK_STREAMS_MOST], int64_t deadline_ns, struct error **err);
int drbd_progress(void *disk, struct disk_progress *progress, struct error **err);
int drbd_synchronous(void *disk, struct error **err);
int drbd_finish(void *disk, int64_t deadline_ns, struct error **err);
int drbd_settle(void *disk, struct error **err);
int drbd_leave(void *disk, struct error **err);
int drbd_arrived(void *disk, struct error **err);
int drbd_undo(void *disk, struct error **err);
int drbd_abandon(void *disk, struct error **err);

#endif
