/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_minors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/jsonl.h"
#include "common/places.h"
#include "common/seal.h"
#include "migrate/vm/vm_store.h"

#define VERSION	  1
#define FILE_NAME "drbd.json"
#define TEXT_MOST 4096
#define MINORS	  (DRBD_MINOR_LAST - DRBD_MINOR_FIRST + 1)

static int parse(const char *text, size_t size, struct drbd_minors *minors, struct error **err)
{
	auto_json object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	json_t *disks = json_object_get(object, "disks"), *entry;
	int64_t version, minor;
	const char *disk;

	if (!json_is_object(object) || !json_is_object(disks) ||
	    json_object_size(disks) > VM_DISKS_MOST)
		return error_set(err, EINVAL, "found something else, expected a map of disks");
	if (json_get_int(object, "edgehop-drbd", VERSION, VERSION, &version, err) < 0 ||
	    seal_check(object, true, err) < 0)
		return -1;
	minors->count = 0;
	json_object_foreach (disks, disk, entry) {
		if (!value_name(disk, minors->list[minors->count].disk))
			return error_set(err, EINVAL, "disk \"%.64s\": expected " NAME_EXPECTED,
					 disk);
		if (json_get_int(entry, "minor", DRBD_MINOR_FIRST, DRBD_MINOR_LAST, &minor, err) <
		    0)
			return -1;
		minors->list[minors->count++].minor = (unsigned)minor;
	}
	return 0;
}

int drbd_minors_read(const char *vm, struct drbd_minors *minors, struct error **err)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	*minors = (struct drbd_minors){0};
	if (vm_store_path(path, vm, FILE_NAME, err) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	text = read_file(path, TEXT_MOST, &size, err);
	if (!text)
		return -1;
	return parse(text, size, minors, err) < 0 ? error_wrap(err, "%s", path) : 0;
}

int drbd_minors_write(const char *vm, const struct drbd_minors *minors, struct error **err)
{
	auto_json object = json_pack("{s:i, s:{}}", "edgehop-drbd", VERSION, "disks");
	json_t *disks = json_object_get(object, "disks");
	auto_free char *text = NULL;
	char path[PATH_MAX];

	if (vm_store_path(path, vm, FILE_NAME, err) < 0)
		return -1;
	if (minors->count == 0) {
		if (unlink(path) < 0 && errno != ENOENT)
			return error_errno(err, "%s", path);
		return sync_parent(path, err);
	}
	for (size_t i = 0; i < minors->count; i++)
		json_object_set_new(disks, minors->list[i].disk,
				    json_pack("{s:i}", "minor", (int)minors->list[i].minor));
	if (!object || seal_add(object, err) < 0)
		return -1;
	text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return error_set(err, ENOMEM, "no memory for %s", path);
	return write_file_durably(path, text, strlen(text), err);
}

int drbd_minors_find(const struct drbd_minors *minors, const char *disk)
{
	for (size_t i = 0; i < minors->count; i++)
		if (strcmp(minors->list[i].disk, disk) == 0)
			return (int)minors->list[i].minor;
	return -1;
}

void drbd_minors_remove(struct drbd_minors *minors, const char *disk)
{
	for (size_t i = 0; i < minors->count; i++)
		if (strcmp(minors->list[i].disk, disk) == 0) {
			minors->list[i] = minors->list[--minors->count];
			return;
		}
}

/* Those of all VMs of this host. A file that can't be read could name any, so it is an error. */
static int note_taken(bool taken[MINORS], struct error **err)
{
	char **names;
	size_t count;
	int result = 0;

	if (vm_store_list(&names, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count && result == 0; i++) {
		struct drbd_minors minors;

		result = drbd_minors_read(names[i], &minors, err);
		for (size_t k = 0; result == 0 && k < minors.count; k++)
			taken[minors.list[k].minor - DRBD_MINOR_FIRST] = true;
	}
	vm_store_free_names(names, count);
	return result;
}

int drbd_minors_next(struct error **err)
{
	bool taken[MINORS] = {false};

	if (note_taken(taken, err) < 0)
		return -1;
	for (int i = 0; i < MINORS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/block/drbd%d", DRBD_MINOR_FIRST + i);
		if (!taken[i] && access(path, F_OK) < 0)
			return DRBD_MINOR_FIRST + i;
	}
	return error_set(err, ENOSPC, "DRBD: all device numbers from %d to %d are taken",
			 DRBD_MINOR_FIRST, DRBD_MINOR_LAST);
}

int drbd_minors_add(const char *vm, const char *disk, struct error **err)
{
	struct drbd_minors minors;
	char path[PATH_MAX];
	int minor;

	if (place(path, err, PLACE_RUN) < 0 || make_dirs(path, err) < 0 ||
	    place(path, err, PLACE_RUN "/drbd-minors.lock") < 0)
		return -1;

	auto_close lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_errno(err, "%s", path);
	minor = drbd_minors_next(err);
	if (minor < 0 || drbd_minors_read(vm, &minors, err) < 0)
		return -1;
	if (minors.count == VM_DISKS_MOST)
		return error_set(err, ENOSPC, "VM %s: %d disks are on DRBD already", vm,
				 VM_DISKS_MOST);
	snprintf(minors.list[minors.count].disk, NAME_SIZE, "%s", disk);
	minors.list[minors.count++].minor = (unsigned)minor;
	return drbd_minors_write(vm, &minors, err) < 0 ? -1 : minor;
}
