/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What each side of a hop's disk goes through, as role/data, and what its generation
 * identifiers (current, bitmap) are; - is none:
 *
 *			source			destination		source		destination
 *	before		Primary/UpToDate	(new)			X, -		new
 *	copying		Primary/UpToDate	Secondary/Inconsistent	X, S		S, -
 *	converged	Primary/UpToDate	Secondary/UpToDate	X, -		X, -
 *	finished	Secondary/UpToDate	Secondary/UpToDate	X, -		X, -
 *	ACCEPTED	Secondary/UpToDate	Primary/UpToDate	X, -		X, -
 *	left		Secondary/Outdated	Primary/UpToDate	X, -		Y, X
 *
 * The last line is what a return lives on: the destination's bitmap has what was written since
 * both were X. There is one bitmap: a hop from there to a third host uses it up, and the base
 * at the first one is of no more use than to spare blocks whose sums are equal.
 *
 * Never are both Primary, not for a moment: DRBD is told not to allow it, and the source gives
 * up before the destination begins. Between the two nobody can write; a crash there leaves two
 * equal disks with equal identifiers, of which owner.json says who is to go on.
 *
 * DRBD would choose the direction of a copy by itself, from the identifiers; so these are
 * compared before anything is connected (disk_plan), and what would not go from source to
 * destination is refused.
 */
#include <errno.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/disk/drbd_disk.h"
#include "migrate/disk/drbd_join.h"
#include "migrate/disk/drbd_streams.h"

#define CONNECT_NS (60 * NS_PER_SEC) /* until the two have greeted each other */
#define SETTLE_NS  (30 * NS_PER_SEC)
#define LOOK_MS	   100

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

int drbd_open_streams(void *disk, enum disk_side side, const struct disk_link *link,
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

int drbd_progress(void *disk, struct disk_progress *progress, struct error **err)
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

int drbd_synchronous(void *disk, struct error **err)
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

int drbd_finish(void *disk, int64_t deadline_ns, struct error **err)
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

int drbd_settle(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	if (await(d, all_received, clock_ns() + SETTLE_NS, err) < 0)
		return -1;
	return drbd_device_sync(&d->device, err);
}

/* Outdated, so that even a person has to use force to write to it here. */
int drbd_leave(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;
	struct program outdate = drbd_outdate(d->device.minor);
	struct drbd_view view;

	if (drbd_device_look(&d->device, &view, err) < 0)
		return -1;
	if (!view.device)
		return drbd_device_down(&d->device, err);
	if ((view.role == DRBD_PRIMARY && drbd_device_disown(&d->device, err) < 0) ||
	    disconnect(d, err) < 0)
		return -1;
	if (view.data > DRBD_OUTDATED && program_run(&outdate, NULL, 0, err) < 0)
		return -1;
	/* What the other side takes for common must not be lost here any more. */
	if (drbd_device_sync(&d->device, err) < 0)
		return -1;
	return drbd_device_down(&d->device, err);
}

int drbd_arrived(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	cleanup_close(&d->reserved);
	d->reserved = -1;
	return disconnect(d, err);
}

int drbd_undo(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	cleanup_close(&d->reserved);
	d->reserved = -1;
	if (drbd_device_up(&d->device, err) < 0 || disconnect(d, err) < 0)
		return -1;
	return drbd_device_own(&d->device, err);
}

int drbd_abandon(void *disk, struct error **err)
{
	struct drbd_disk *d = disk;

	if (drbd_arrived(d, err) < 0)
		return -1;
	/* It may be whole by now, and be trusted to be. */
	if (access(d->device.meta, F_OK) == 0 && drbd_device_sync(&d->device, err) < 0)
		return -1;
	return drbd_device_down(&d->device, err);
}
