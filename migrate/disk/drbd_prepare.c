/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk is put on DRBD, taken off it again, or made so that another host's can be received. */
#include "migrate/disk/drbd_receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/disk/disk.h"
#include "migrate/disk/drbd_minors.h"
#include "migrate/disk/gate.h"
#include "migrate/disk/loop.h"

/* Size of a file or a block device. */
static int size_of(const char *path, uint64_t *bytes, struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "%s", path);
	*bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, bytes) < 0)
		return error_errno(err, "%s", path);
	if (*bytes < 512 || *bytes % 512)
		return error_set(err, EINVAL, "%s: found %llu bytes, expected a multiple of 512",
				 path, (unsigned long long)*bytes);
	return 0;
}

/*
 * A hypervisor that has the disk holds a lock on the file, a claim on the block device, or a
 * loop device for the file. One that does none of these is seen by hv_alive() only.
 */
static int require_unused(const char *path, struct error **err)
{
	auto_close fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char loop[LOOP_DEVICE] = "";
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "%s", path);
	if (S_ISBLK(st.st_mode)) {
		auto_close alone = open(path, O_RDWR | O_EXCL | O_CLOEXEC);

		if (alone < 0)
			return error_errno(err, "%s is in use", path);
		return 0;
	}
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return error_errno(err, "%s", path);
	if (lock.l_type != F_UNLCK)
		return error_set(err, EBUSY, "%s is in use: a process holds a lock on it", path);
	if (loop_find(path, loop, err) < 0)
		return -1;
	return loop[0] ? error_set(err, EBUSY, "%s is in use, as %s", path, loop) : 0;
}

/* No earlier attempt that failed is in the way. */
static int clear_leftovers(const struct drbd_device *device, struct error **err)
{
	if (device->dry)
		return 0;
	return drbd_module(err) < 0 || loop_detach(device->meta, err) < 0 ? -1 : 0;
}

/* The device that will be, with its own data, UpToDate and Primary. */
static int begin(const struct drbd_device *device, uint64_t bytes, struct error **err)
{
	struct program primary = drbd_primary(device->minor, true);

	return drbd_device_make_meta(device, bytes, err) < 0 || drbd_device_up(device, err) < 0 ||
			       drbd_device_run(device, &primary, err) < 0
		       ? -1
		       : (device->dry ? 0 : drbd_device_own(device, err));
}

static int forget(const struct drbd_device *device, struct error **err)
{
	struct drbd_minors minors;

	if (device->dry) {
		printf("  remove %s\n", device->meta);
		return 0;
	}
	if (drbd_minors_read(device->vm, &minors, err) < 0)
		return -1;
	drbd_minors_remove(&minors, device->disk);
	if (drbd_minors_write(device->vm, &minors, err) < 0)
		return -1;
	if (unlink(device->meta) < 0 && errno != ENOENT)
		return error_errno(err, "%s", device->meta);
	return drbd_device_settle_doubt(device, err) < 0 ? -1 : sync_parent(device->meta, err);
}

/*
 * A crash before its end leaves a disk that is noted as DRBD's, and that DRBD takes for one
 * without data: it is prepared again then.
 */
static int prepare_one(const struct vm_def *def, size_t index, bool dry, struct error **err)
{
	struct drbd_device device;
	char path[GATE_PATH];
	uint64_t bytes;
	int minor;

	if (drbd_device_init(&device, def, index, 0, err) < 0 ||
	    size_of(device.data, &bytes, err) < 0 || require_unused(device.data, err) < 0)
		return -1;
	minor = dry ? drbd_minors_next(err) : drbd_minors_add(def->name, device.disk, err);
	if (minor < 0 || drbd_device_init(&device, def, index, (unsigned)minor, err) < 0)
		return -1;
	device.dry = dry;
	gate_path(device.resource, path);
	printf("disk %s: %s (on %s)\n", device.disk, path, device.path);
	if (clear_leftovers(&device, err) == 0 && begin(&device, bytes, err) == 0)
		return 0;
	if (!dry && drbd_device_down(&device, NULL) == 0)
		forget(&device, NULL);
	return -1;
}

/* Whether it is on DRBD, with data. 1, 0, -1. A preparation that was cut off is cleared away. */
static int is_prepared(const struct vm_def *def, size_t index, bool dry, struct error **err)
{
	struct drbd_minors minors;
	struct drbd_device device;
	struct drbd_gi gi;
	int minor;

	if (drbd_minors_read(def->name, &minors, err) < 0)
		return -1;
	minor = drbd_minors_find(&minors, def->disks[index].name);
	if (minor < 0 || dry)
		return minor >= 0;
	if (drbd_device_init(&device, def, index, (unsigned)minor, err) < 0)
		return -1;
	if (drbd_device_up(&device, NULL) == 0 && drbd_device_gi(&device, &gi, NULL, NULL) == 0 &&
	    gi.up_to_date && gi.current > 4)
		return drbd_device_own(&device, err) < 0 ? -1 : 1;
	return drbd_device_down(&device, err) < 0 || forget(&device, err) < 0 ? -1 : 0;
}

int disk_prepare(const struct vm_def *def, size_t index, bool dry, struct error **err)
{
	for (size_t i = 0; i < def->disk_count; i++) {
		int prepared;

		if (index != DISK_ALL && index != i)
			continue;
		prepared = is_prepared(def, i, dry, err);
		if (prepared > 0)
			printf("disk %s: is on DRBD already\n", def->disks[i].name);
		if (prepared < 0 || (prepared == 0 && prepare_one(def, i, dry, err) < 0))
			return error_wrap(err, "disk %s of VM %s", def->disks[i].name, def->name);
	}
	return 0;
}

static int release_one(const struct vm_def *def, size_t index, unsigned minor, bool dry,
		       struct error **err)
{
	struct drbd_device device;

	if (drbd_device_init(&device, def, index, minor, err) < 0)
		return -1;
	device.dry = dry;
	printf("disk %s: off %s\n", device.disk, device.path);
	return drbd_device_down(&device, err) < 0 || forget(&device, err) < 0 ? -1 : 0;
}

int disk_release(const struct vm_def *def, size_t index, bool dry, struct error **err)
{
	struct drbd_minors minors;

	if (drbd_minors_read(def->name, &minors, err) < 0)
		return -1;
	for (size_t i = 0; i < def->disk_count; i++) {
		int minor = drbd_minors_find(&minors, def->disks[i].name);

		if (index != DISK_ALL && index != i)
			continue;
		if (minor < 0)
			printf("disk %s: is not on DRBD\n", def->disks[i].name);
		else if (release_one(def, i, (unsigned)minor, dry, err) < 0)
			return error_wrap(err, "disk %s of VM %s", def->disks[i].name, def->name);
	}
	return 0;
}

/* Sparse: what is zero at the source has the same sum here, and does not travel. */
static int make_disk(const char *path, uint64_t bytes, struct error **err)
{
	auto_close fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0)
		return error_errno(err, "%s", path);
	return sync_parent(path, err);
}

static bool has_size(const char *path, uint64_t bytes)
{
	uint64_t found;

	return size_of(path, &found, NULL) == 0 && found == bytes;
}

int drbd_receive_base(const struct vm_def *def, size_t index, uint64_t bytes,
		      struct drbd_device *device, struct error **err)
{
	struct drbd_minors minors;
	int minor;

	if (drbd_minors_read(def->name, &minors, err) < 0)
		return -1;
	minor = drbd_minors_find(&minors, def->disks[index].name);
	if (minor >= 0) {
		if (drbd_device_init(device, def, index, (unsigned)minor, err) < 0)
			return -1;
		if (has_size(device->data, bytes) && has_size(device->meta, drbd_meta_bytes(bytes)))
			return 0;
		if (drbd_device_down(device, err) < 0)
			return -1;
	} else {
		minor = drbd_minors_add(def->name, def->disks[index].name, err);
		if (minor < 0 || drbd_device_init(device, def, index, (unsigned)minor, err) < 0)
			return -1;
	}
	if (!has_size(device->data, bytes) && make_disk(device->data, bytes, err) < 0)
		return -1;
	return drbd_module(err) < 0 || drbd_device_make_meta(device, bytes, err) < 0 ? -1 : 0;
}
