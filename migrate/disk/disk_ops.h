/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_DISK_OPS_H
#define MIGRATE_DISK_DISK_OPS_H

#include "migrate/disk/disk.h"

/* A driver; disk.h tells what each operation does. NULL: not supported. */
struct disk_ops {
	const char *name;
	size_t streams;
	int (*check)(struct error **err); /* NULL: nothing is needed */
	/* Whether the disk is this driver's here. 1, 0, or -1 with *err. */
	int (*has)(const struct vm_def *def, size_t index, struct error **err);
	void *(*open)(const struct vm_def *def, size_t index, struct error **err);
	void (*close)(void *disk);
	int (*guest_path)(const void *disk, char path[PATH_MAX], struct error **err);
	int (*up)(void *disk, struct error **err);
	int (*own)(void *disk, struct error **err);
	int (*down)(void *disk, struct error **err);
	int (*status)(void *disk, struct disk_status *status, struct error **err);
	int (*receive)(void *disk, uint64_t bytes, char state[DISK_STATE_TEXT], struct error **err);
	int (*plan)(void *disk, const char *state, enum disk_copy *copy, struct error **err);
	int (*open_streams)(void *disk, enum disk_side side, const struct disk_link *link,
			    int fds[DISK_STREAMS_MOST], int64_t deadline_ns, struct error **err);
	int (*progress)(void *disk, struct disk_progress *progress, struct error **err);
	int (*synchronous)(void *disk, struct error **err);
	int (*finish)(void *disk, int64_t deadline_ns, struct error **err);
	int (*settle)(void *disk, struct error **err);
	int (*leave)(void *disk, struct error **err);
	int (*arrived)(void *disk, struct error **err);
	int (*undo)(void *disk, struct error **err);
	int (*abandon)(void *disk, struct error **err);
};

extern const struct disk_ops drbd_ops;

#endif
