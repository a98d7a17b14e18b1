/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two sides of a hop have, before anything is connected. */
#include <errno.h>
#include <stdio.h>

#include "common/log.h"
#include "migrate/disk/drbd_disk.h"
#include "migrate/disk/drbd_receive.h"

#define LOG_MODULE "disk"

int drbd_receive(void *disk, uint64_t bytes, char state[DISK_STATE_TEXT], struct error **err)
{
	struct drbd_disk *d = disk;
	struct program invalidate;
	struct drbd_view view;
	struct drbd_gi gi;

	if (drbd_receive_base(d->def, d->index, bytes, &d->device, err) < 0 ||
	    drbd_device_up(&d->device, err) < 0 || drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	if (view.role == DRBD_PRIMARY)
		return error_set(err, EBUSY, "%s is Primary here: nothing is received into it",
				 d->device.path);
	/* All of it is compared then; what is equal does not travel. */
	invalidate = drbd_invalidate(d->device.minor);
	if (drbd_device_doubted(&d->device) && (drbd_device_run(&d->device, &invalidate, err) < 0 ||
						drbd_device_settle_doubt(&d->device, err) < 0))
		return -1;
	return drbd_device_gi(&d->device, &gi, state, err);
}

/* What is to be told where both sides would not be copied from the source to the destination. */
static int refuse(enum drbd_copy copy, const struct drbd_gi *own, const struct drbd_gi *far,
		  struct error **err)
{
	static const char *const advice[DRBD_COPIES] = {
		[DRBD_COPY_NO_DATA] =
			"this side has never had data: `edgehop disk prepare` it anew",
		[DRBD_COPY_BACKWARDS] =
			"the destination was written to after this side left it, so it would be "
			"copied here",
		[DRBD_COPY_SPLIT] = "split brain: both sides were written to since they had the "
				    "same data",
		[DRBD_COPY_STRANGERS] = "the two sides never had the same data",
	};

	return error_set(
		err, EEXIST,
		"%s; nothing was connected. Data here %016llX, changed since %016llX; data "
		"there %016llX, changed since %016llX. Which side is to be kept is yours to "
		"say: `edgehop disk release VM` on the other one gives its changes up, and "
		"the next hop copies all",
		advice[copy], (unsigned long long)own->current, (unsigned long long)own->bitmap,
		(unsigned long long)far->current, (unsigned long long)far->bitmap);
}

int drbd_plan(void *disk, const char *state, enum disk_copy *copy, struct error **err)
{
	static const enum disk_copy copies[DRBD_COPIES] = {
		[DRBD_COPY_NONE] = DISK_COPY_NOTHING,
		[DRBD_COPY_CHANGES] = DISK_COPY_CHANGES,
		[DRBD_COPY_FULL] = DISK_COPY_ALL,
	};
	struct drbd_disk *d = disk;
	struct drbd_gi own, far;
	enum drbd_copy verdict;

	if (!drbd_gi_parse(state, &far))
		return error_set(err, EPROTO,
				 "found \"%.64s\", expected the destination's generation "
				 "identifiers",
				 state);
	if (drbd_device_gi(&d->device, &own, NULL, err) < 0)
		return -1;
	verdict = drbd_gi_judge(&own, &far);
	if (!drbd_copy_good(verdict))
		return refuse(verdict, &own, &far, err);
	log_info("disk %s: to be copied: %s", d->device.disk, drbd_copy_name(verdict));
	*copy = copies[verdict];
	return 0;
}
