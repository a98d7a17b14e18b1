/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the disk_ functions to the driver that a disk is under on this host. */
#include "migrate/disk/disk_ops.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/vm/vm_store.h"

struct disk {
	const struct disk_ops *ops;
	const struct vm_def *def;
	size_t index;
	void *own; /* the driver's */
};

struct bare {
	const struct vm_def *def;
	size_t index;
};

static int bare_has(const struct vm_def *def, size_t index, struct error **err)
{
	(void)def;
	(void)index;
	(void)err;
	return 1;
}

static void *bare_open(const struct vm_def *def, size_t index, struct error **err)
{
	struct bare *bare = calloc(1, sizeof(*bare));

	if (!bare) {
		error_set(err, ENOMEM, "no memory for a disk");
		return NULL;
	}
	*bare = (struct bare){def, index};
	return bare;
}

static int bare_path(const void *disk, char path[PATH_MAX], struct error **err)
{
	const struct bare *bare = disk;

	return vm_store_disk_path(path, bare->def, bare->index, err);
}

/* Nothing has to be done for a file to be there. */
static int bare_nothing(void *disk, struct error **err)
{
	(void)disk;
	(void)err;
	return 0;
}

static int bare_status(void *disk, struct disk_status *status, struct error **err)
{
	(void)disk;
	(void)err;
	*status = (struct disk_status){0};
	return 0;
}

static const struct disk_ops mirror_ops = {
	.name = "mirror",
	.streams = 1,
	.has = bare_has,
	.open = bare_open,
	.close = free,
	.guest_path = bare_path,
	.up = bare_nothing,
	.own = bare_nothing,
	.down = bare_nothing,
	.status = bare_status,
};

/* The first that has the disk takes it. */
static const struct disk_ops *const drivers[] = {&drbd_ops, &mirror_ops};

static struct disk *open_with(const struct disk_ops *ops, const struct vm_def *def, size_t index,
			      struct error **err)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (!disk) {
		error_set(err, ENOMEM, "no memory for a disk");
		return NULL;
	}
	*disk = (struct disk){ops, def, index, ops->open(def, index, err)};
	if (!disk->own) {
		free(disk);
		return NULL;
	}
	return disk;
}

struct disk *disk_open(const struct vm_def *def, size_t index, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
		int has = drivers[i]->has(def, index, err);

		if (has < 0)
			return NULL;
		if (has)
			return open_with(drivers[i], def, index, err);
	}
	error_set(err, ENOTSUP, "disk %s: no driver has it", def->disks[index].name);
	return NULL;
}

static const struct disk_ops *find_driver(const char *name, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	error_set(err, ENOTSUP, "found driver \"%.32s\", expected drbd or mirror", name);
	return NULL;
}

struct disk *disk_open_as(const char *driver, const struct vm_def *def, size_t index,
			  struct error **err)
{
	const struct disk_ops *ops = find_driver(driver, err);

	if (ops)
		return open_with(ops, def, index, err);
	error_wrap(err, "disk %s", def->disks[index].name);
	return NULL;
}

int disk_driver_check(const char *driver, struct error **err)
{
	const struct disk_ops *ops = find_driver(driver, err);

	return !ops || (ops->check && ops->check(err) < 0) ? -1 : 0;
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	disk->ops->close(disk->own);
	free(disk);
}

const char *disk_driver(const struct disk *disk)
{
	return disk->ops->name;
}

bool disk_is_bare(const struct disk *disk)
{
	return disk->ops == &mirror_ops;
}

size_t disk_streams(const struct disk *disk)
{
	return disk->ops->streams;
}

static int unsupported(const struct disk *disk, const char *what, struct error **err)
{
	return error_set(err, ENOTSUP, "disk %s: %s has no operation \"%s\"",
			 disk->def->disks[disk->index].name, disk->ops->name, what);
}

/* Calls the driver's operation; an error gets the disk's name. */
#define CALL(disk, operation, ...)                                                                 \
	(!(disk)->ops->operation ? unsupported(disk, #operation, err)                              \
	 : (disk)->ops->operation((disk)->own, __VA_ARGS__) < 0                                    \
		 ? error_wrap(err, "disk %s", (disk)->def->disks[(disk)->index].name)              \
		 : 0)

int disk_guest_path(const struct disk *disk, char path[PATH_MAX], struct error **err)
{
	return CALL(disk, guest_path, path, err);
}

int disk_up(struct disk *disk, struct error **err)
{
	return CALL(disk, up, err);
}

int disk_own(struct disk *disk, struct error **err)
{
	return CALL(disk, own, err);
}

int disk_down(struct disk *disk, struct error **err)
{
	return CALL(disk, down, err);
}

int disk_status(struct disk *disk, struct disk_status *status, struct error **err)
{
	return CALL(disk, status, status, err);
}

int disk_receive(struct disk *disk, uint64_t bytes, char state[DISK_STATE_TEXT], struct error **err)
{
	return CALL(disk, receive, bytes, state, err);
}

int disk_plan(struct disk *disk, const char *state, enum disk_copy *copy, struct error **err)
{
	return CALL(disk, plan, state, copy, err);
}

int disk_send_open(struct disk *disk, const struct disk_link *link, int fds[DISK_STREAMS_MOST],
		   int64_t deadline_ns, struct error **err)
{
	return CALL(disk, open_streams, DISK_SOURCE, link, fds, deadline_ns, err);
}

int disk_receive_open(struct disk *disk, const struct disk_link *link, int fds[DISK_STREAMS_MOST],
		      int64_t deadline_ns, struct error **err)
{
	return CALL(disk, open_streams, DISK_TARGET, link, fds, deadline_ns, err);
}

int disk_progress(struct disk *disk, struct disk_progress *progress, struct error **err)
{
	return CALL(disk, progress, progress, err);
}

int disk_synchronous(struct disk *disk, struct error **err)
{
	return CALL(disk, synchronous, err);
}

int disk_finish(struct disk *disk, int64_t deadline_ns, struct error **err)
{
	return CALL(disk, finish, deadline_ns, err);
}

int disk_settle(struct disk *disk, struct error **err)
{
	return CALL(disk, settle, err);
}

int disk_leave(struct disk *disk, struct error **err)
{
	return CALL(disk, leave, err);
}

int disk_arrived(struct disk *disk, struct error **err)
{
	return CALL(disk, arrived, err);
}

int disk_undo(struct disk *disk, struct error **err)
{
	return CALL(disk, undo, err);
}

int disk_abandon(struct disk *disk, struct error **err)
{
	return CALL(disk, abandon, err);
}
