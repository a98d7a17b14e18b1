/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/disk_set.h"

#include <errno.h>

#include "common/clock.h"

#define LET_GO_NS (20 * NS_PER_SEC)
#define AGAIN_MS  200

int disk_set_open(struct disk_set *set, const struct vm_def *def, struct error **err)
{
	disk_set_close(set);
	for (size_t i = 0; i < def->disk_count; i++) {
		struct disk *disk = disk_open(def, i, err);

		if (!disk)
			return -1;
		if (disk_is_bare(disk)) {
			disk_close(disk);
			continue;
		}
		set->disks[i] = disk;
		set->count++;
	}
	return 0;
}

void disk_set_close(struct disk_set *set)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++) {
		disk_close(set->disks[i]);
		set->disks[i] = NULL;
	}
	set->count = 0;
}

static int take_patiently(struct disk *disk, disk_step *step, struct error **err)
{
	int64_t until = clock_ns() + LET_GO_NS;

	for (;;) {
		struct error *why = NULL;

		if (step(disk, &why) == 0)
			return 0;
		if (why->code != EBUSY || clock_ns() > until)
			return error_propagate(err, why);
		error_free(why);
		clock_sleep_ms(AGAIN_MS);
	}
}

int disk_set_take(const struct disk_set *set, disk_step *step, struct error **err)
{
	struct error *first = NULL;

	for (size_t i = 0; i < VM_DISKS_MOST; i++) {
		struct error *why = NULL;

		if (!set->disks[i] || take_patiently(set->disks[i], step, &why) == 0)
			continue;
		if (!first)
			first = why;
		else
			error_free(why);
	}
	return first ? error_propagate(err, first) : 0;
}

int disks_take(const struct vm_def *def, disk_step *step, struct error **err)
{
	struct disk_set set = {0};
	int result = disk_set_open(&set, def, err);

	if (result == 0)
		result = disk_set_take(&set, step, err);
	disk_set_close(&set);
	return result;
}

bool disks_carried(const struct vm_def *def)
{
	struct disk_set set = {0};
	bool carried = disk_set_open(&set, def, NULL) == 0 && set.count > 0;

	disk_set_close(&set);
	return carried;
}
