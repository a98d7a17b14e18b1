/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver "drbd": its table, and what a disk is on this host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "migrate/disk/drbd_disk.h"
#include "migrate/disk/drbd_minors.h"
#include "migrate/disk/drbd_streams.h"
#include "migrate/disk/gate.h"

static int drbd_has(const struct vm_def *def, size_t index, struct error **err)
{
	struct drbd_minors minors;

	if (drbd_minors_read(def->name, &minors, err) < 0)
		return -1;
	return drbd_minors_find(&minors, def->disks[index].name) >= 0;
}

static void *drbd_open(const struct vm_def *def, size_t index, struct error **err)
{
	auto_free struct drbd_disk *d = calloc(1, sizeof(*d));
	struct drbd_minors minors;
	int minor;

	if (!d) {
		error_set(err, ENOMEM, "no memory for a disk");
		return NULL;
	}
	if (drbd_minors_read(def->name, &minors, err) < 0)
		return NULL;
	minor = drbd_minors_find(&minors, def->disks[index].name);
	d->def = def;
	d->index = index;
	d->reserved = -1;
	if (drbd_device_init(&d->device, def, index, minor < 0 ? 0 : (unsigned)minor, err) < 0)
		return NULL;
	return steal_ptr(d);
}

static void drbd_close(void *disk)
{
	struct drbd_disk *d = disk;

	cleanup_close(&d->reserved);
	free(d);
}

static int drbd_guest_path(const void *disk, char path[PATH_MAX], struct error **err)
{
	const struct drbd_disk *d = disk;

	(void)err;
	gate_path(d->device.resource, path);
	return 0;
}

static int drbd_up(void *disk, struct error **err)
{
	return drbd_device_up(&((struct drbd_disk *)disk)->device, err);
}

static int drbd_own(void *disk, struct error **err)
{
	return drbd_device_own(&((struct drbd_disk *)disk)->device, err);
}

static int drbd_down_disk(void *disk, struct error **err)
{
	return drbd_device_down(&((struct drbd_disk *)disk)->device, err);
}

static int drbd_status(void *disk, struct disk_status *status, struct error **err)
{
	const struct drbd_disk *d = disk;
	struct drbd_view view = {0};

	*status = (struct disk_status){0};
	if (drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	gate_path(d->device.resource, status->device);
	status->up = view.device;
	snprintf(status->role, sizeof(status->role), "%s", drbd_role_name(view.role));
	snprintf(status->data, sizeof(status->data), "%s", drbd_data_name(view.data));
	snprintf(status->link, sizeof(status->link), "%s",
		 view.connection ? drbd_link_name(view.link) : "StandAlone");
	snprintf(status->copying, sizeof(status->copying), "%s",
		 drbd_replication_name(view.replication));
	snprintf(status->peer_data, sizeof(status->peer_data), "%s",
		 drbd_data_name(view.peer_data));
	status->size = view.size;
	status->out_of_sync = view.out_of_sync;
	return 0;
}

const struct disk_ops drbd_ops = {
	.name = "drbd",
	.streams = DRBD_STREAMS,
	.check = drbd_check,
	.has = drbd_has,
	.open = drbd_open,
	.close = drbd_close,
	.guest_path = drbd_guest_path,
	.up = drbd_up,
	.own = drbd_own,
	.down = drbd_down_disk,
	.status = drbd_status,
	.receive = drbd_receive,
	.plan = drbd_plan,
	.open_streams = drbd_open_streams,
	.progress = drbd_progress,
	.synchronous = drbd_synchronous,
	.finish = drbd_finish,
	.settle = drbd_settle,
	.leave = drbd_leave,
	.arrived = drbd_arrived,
	.undo = drbd_undo,
	.abandon = drbd_abandon,
};
