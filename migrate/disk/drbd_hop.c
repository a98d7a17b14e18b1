/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What each side of a hop's disk goes through, as role/data, and what its generation identifiers
 *(current, bitmap) are; - is none:
 *
 *			source			destination		source		destination
 *	before		Primary/UpToDate	(new)			X, -		new
 *	copying		Primary/UpToDate	Secondary/Inconsistent	X, S		S, -
 *	converged	Primary/UpToDate	Secondary/UpToDate	X, -		X, -
 *	finished	Secondary/UpToDate	Secondary/UpToDate	X, -		X, -
 *	ACCEPTED	Secondary/UpToDate	Primary/UpToDate	X, -		X, -
 *	left		Secondary/Outdated	Primary/UpToDate	X, -		Y, X
 *
 * The last line is what a return lives on: the destination's bitmap has what was written since both
 *were X. There is one bitmap: a hop from there to a third host uses it up, and the base at the
 *first one is of no more use than to spare blocks whose sums are equal.
 *
 * Never are both Primary, not for a moment: DRBD is told not to allow it, and the source gives up
 * before the destination begins. Between the two nobody can write; a crash there leaves two equal
 * disks with equal identifiers, of which owner.json says who is to go on.
 *
 * DRBD would choose the direction of a copy by itself, from the identifiers; so these are compared
 *before anything is connected (disk_plan), and what would not go from source to destination is
 *refused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/disk/disk_ops.h"
#include "migrate/disk/drbd_device.h"
#include "migrate/disk/drbd_join.h"
#include "migrate/disk/drbd_minors.h"
#include "migrate/disk/drbd_receive.h"
#include "migrate/disk/drbd_streams.h"
#include "migrate/disk/gate.h"

#define LOG_MODULE "disk"
#define CONNECT_NS (60 * NS_PER_SEC) /* until the two have greeted each other */
#define SETTLE_NS  (30 * NS_PER_SEC)
#define LOOK_MS	   100

struct drbd_disk {
	const struct vm_def *def;
	size_t index;
	struct drbd_device device;
	int reserved;	      /* the peer's place, -1: not held */
	bool connected;	      /* it was seen */
	int64_t connect_ns;   /* it must be seen before */
	uint64_t total, rest; /* bytes to copy in all, and the last that was left */
};

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
	if (access("/proc/drbd", F_OK) == 0 && drbd_device_look(&d->device, &view, err) < 0)
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

/* ---- Planning ---- */

static int drbd_receive(void *disk, uint64_t bytes, char state[DISK_STATE_TEXT], struct error **err)
{
	struct drbd_disk *d = disk;
	struct drbd_view view;
	struct drbd_gi gi;

	if (drbd_receive_base(d->def, d->index, bytes, &d->device, err) < 0 ||
	    drbd_device_up(&d->device, err) < 0 || drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	if (view.role == DRBD_PRIMARY)
		return error_set(err, EBUSY, "%s is Primary here: nothing is received into it",
				 d->device.path);
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

static int drbd_plan(void *disk, const char *state, enum disk_copy *copy, struct error **err)
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

/* ---- Copying ---- */

/* Ends it in whatever state. */
static int disconnect(const struct drbd_disk *d, struct error **err)
{
	struct program gently = drbd_disconnect(d->device.minor, false);
	struct program at_once = drbd_disconnect(d->device.minor, true);
	struct drbd_view view;
	auto_error why = NULL;

	if (drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	if (!view.connection || view.link == DRBD_STANDALONE)
		return 0;
	if (view.link == DRBD_CONNECTED && program_run(&gently, NULL, 0, &why) == 0)
		return 0;
	return program_run(&at_once, NULL, 0, err);
}

static int drbd_open_streams(void *disk, enum disk_side side, const struct disk_link *link,
			     int fds[DISK_STREAMS_MOST], int64_t deadline_ns, struct error **err)
{
	struct drbd_disk *d = disk;
	unsigned minor = d->device.minor;
	const struct drbd_join join = {d->device.resource, minor, link->buffer, link->secret};
	int result;

	_Static_assert(DRBD_STREAMS <= DISK_STREAMS_MOST, "a hop has room for DRBD's streams");
	if (disconnect(d, err) < 0)
		return -1;
	cleanup_close(&d->reserved);
	d->reserved = side == DISK_SOURCE ? drbd_streams_listen(minor, err)
					  : drbd_streams_reserve(minor, err);
	if (d->reserved < 0 || drbd_join(&join, err) < 0)
		return -1;
	result = side == DISK_SOURCE ? drbd_streams_accept(d->reserved, fds, deadline_ns, err)
				     : drbd_streams_connect(minor, fds, deadline_ns, err);
	if (result < 0) {
		disconnect(d, NULL);
		return -1;
	}
	/* Attempts after this one find nobody. */
	if (side == DISK_SOURCE) {
		close(d->reserved);
		d->reserved = drbd_streams_reserve(minor, NULL);
	}
	d->connected = false;
	d->connect_ns = clock_ns() + CONNECT_NS;
	d->total = d->rest = 0;
	return 0;
}

static bool equal(const struct drbd_view *view)
{
	return view->link == DRBD_CONNECTED && view->replication == DRBD_ESTABLISHED &&
	       view->data == DRBD_UP_TO_DATE && view->peer_data == DRBD_UP_TO_DATE &&
	       view->out_of_sync == 0;
}

/* DRBD has given up, or the relays have. */
static int check_link(struct drbd_disk *d, const struct drbd_view *view, struct error **err)
{
	struct drbd_gi gi = {0};

	if (view->link == DRBD_CONNECTED)
		d->connected = true;
	if (d->connected ? view->link == DRBD_CONNECTED
			 : view->link != DRBD_STANDALONE && clock_ns() < d->connect_ns)
		return 0;
	if (view->link != DRBD_STANDALONE)
		return error_set(err, ENOTCONN, "DRBD's connection %s (%s)",
				 d->connected ? "is lost" : "was not made",
				 drbd_link_name(view->link));
	drbd_device_gi(&d->device, &gi, NULL, NULL);
	return error_set(
		err, ENOTCONN,
		"DRBD refuses the other side (StandAlone): the kernel's log says why; data "
		"here %016llX, changed since %016llX",
		(unsigned long long)gi.current, (unsigned long long)gi.bitmap);
}

/* What is left can grow: then there is more in all. */
static void count(struct drbd_disk *d, const struct drbd_view *view)
{
	if (view->out_of_sync > d->rest)
		d->total += view->out_of_sync - d->rest;
	d->rest = view->out_of_sync;
}

static int drbd_progress(void *disk, struct disk_progress *progress, struct error **err)
{
	struct drbd_disk *d = disk;
	struct drbd_view view;

	if (drbd_device_look(&d->device, &view, err) < 0 || check_link(d, &view, err) < 0)
		return -1;
	if (view.link == DRBD_CONNECTED)
		count(d, &view);
	*progress = (struct disk_progress){
		.done = d->total - d->rest, .total = d->total, .converged = equal(&view)};
	return 0;
}

static int drbd_synchronous(void *disk, struct error **err)
{
	struct program p = drbd_be_synchronous(((struct drbd_disk *)disk)->device.minor);

	return program_run(&p, NULL, 0, err);
}

/* ---- Changing hands ---- */

typedef bool wanted_view(const struct drbd_view *view);

static int await(struct drbd_disk *d, wanted_view *wanted, int64_t deadline_ns, struct error **err)
{
	struct drbd_view view;

	for (;;) {
		if (drbd_device_look(&d->device, &view, err) < 0 || check_link(d, &view, err) < 0)
			return -1;
		if (wanted(&view))
			return 0;
		if (clock_ns() > deadline_ns)
			return error_set(err, ETIMEDOUT,
					 "both sides are not equal in time: found %s, %s here, %s "
					 "there, %llu bytes to copy",
					 drbd_replication_name(view.replication),
					 drbd_data_name(view.data), drbd_data_name(view.peer_data),
					 (unsigned long long)view.out_of_sync);
		clock_sleep_ms(LOOK_MS);
	}
}

static bool all_answered(const struct drbd_view *view)
{
	return equal(view) && view->pending == 0 && view->unacked == 0;
}

static int drbd_finish(void *disk, int64_t deadline_ns, struct error **err)
{
	struct drbd_disk *d = disk;

	if (drbd_synchronous(d, err) < 0 || await(d, all_answered, deadline_ns, err) < 0 ||
	    drbd_device_disown(&d->device, err) < 0)
		return -1;
	/* Nothing was lost between the look and the end of writing. */
	return await(d, all_answered, deadline_ns, err);
}

/*
 * The source's "Secondary" came behind everything that it wrote, on the same stream. What was
 * received is on its way to the disk, or there.
 */
static bool all_received(const struct drbd_view *view)
{
	return equal(view) && view->peer_role == DRBD_SECONDARY && view->lower_pending == 0;
}

static int drbd_settle(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	if (await(d, all_received, clock_ns() + SETTLE_NS, err) < 0)
		return -1;
	return drbd_device_sync(&d->device, err);
}

/* Outdated, so that even a person has to use force to write to it here. */
static int drbd_leave(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;
	struct program outdate = drbd_outdate(d->device.minor);
	struct drbd_view view;

	if (access("/proc/drbd", F_OK) < 0)
		return 0;
	if (drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	if (!view.device)
		return drbd_device_down(&d->device, err);
	if ((view.role == DRBD_PRIMARY && drbd_device_disown(&d->device, err) < 0) ||
	    disconnect(d, err) < 0)
		return -1;
	if (view.data > DRBD_OUTDATED && program_run(&outdate, NULL, 0, err) < 0)
		return -1;
	return drbd_device_down(&d->device, err);
}

static int drbd_arrived(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	cleanup_close(&d->reserved);
	d->reserved = -1;
	return disconnect(d, err);
}

static int drbd_undo(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	cleanup_close(&d->reserved);
	d->reserved = -1;
	if (drbd_device_up(&d->device, err) < 0 || disconnect(d, err) < 0)
		return -1;
	return drbd_device_own(&d->device, err);
}

static int drbd_abandon(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	if (drbd_arrived(d, err) < 0)
		return -1;
	return drbd_device_down(&d->device, err);
}

const struct disk_ops drbd_ops = {
	.name = "drbd",
	.streams = DRBD_STREAMS,
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
