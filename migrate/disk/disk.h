/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_DISK_H
#define MIGRATE_DISK_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"

/*
 * One disk of a VM on this host, and how it gets to another one. What carries it is a driver,
 * a table of operations: "drbd" for a disk that was prepared (docs/design/drbd.md); "mirror"
 * for a bare one, which the hypervisor copies by itself (hv_mirror_*): it has no operations
 * here yet. An operation that a driver lacks fails with ENOTSUP. One thread at a time.
 * Deadlines are clock_ns() times.
 *
 * Order of a hop:
 *
 *     source                                     destination
 *                                                disk_receive
 *     disk_plan
 *     disk_send_open                             disk_receive_open
 *     disk_progress until converged
 *     disk_synchronous
 *     (VM paused from here on)
 *     disk_finish                                disk_settle
 *     RELEASED                                   ACCEPTED
 *                                                disk_own, the VM runs
 *     hv_kill
 *     disk_leave                                 disk_arrived
 *
 *     at any point before RELEASED, or after REFUSED:
 *     disk_undo: the VM may write again          disk_abandon
 *
 * Each side's operations ask the kernel what there is, not the handle, so that a recovery can
 * call those after a crash with a new handle. All of disk_up, disk_own, disk_down, disk_undo,
 * disk_abandon, disk_leave and disk_arrived may be repeated.
 */
struct disk;

/* def is borrowed and must outlive the handle. Nothing is touched yet. */
struct disk *disk_open(const struct vm_def *def, size_t index, struct error **err);
void disk_close(struct disk *disk); /* the disk itself is left alone; takes NULL */

/* The handle for a disk that a host is to receive from a host that has it under that driver. */
struct disk *disk_open_as(const char *driver, const struct vm_def *def, size_t index,
			  struct error **err);

const char *disk_driver(const struct disk *disk); /* "drbd", "mirror" */

/* Whether this host can have disks under that driver: its programs and the kernel's part. */
int disk_driver_check(const char *driver, struct error **err);

bool disk_is_bare(const struct disk *disk); /* its file, as it is */

/* What the hypervisor is to open: the device, or the bare disk's file. */
int disk_guest_path(const struct disk *disk, char path[PATH_MAX], struct error **err);

/* ---- On this host ---- */

/* The device is there, as after a boot; nobody can write to it before disk_own. */
int disk_up(struct disk *disk, struct error **err);

/*
 * Whoever opens the device can write to it from now on. The caller has made sure by owner.json
 * that the VM is this host's. EUCLEAN: what is there is not a whole disk (a copy that did not
 * get to its end).
 */
int disk_own(struct disk *disk, struct error **err);

/* The device is gone, data and knowledge of changes stay. EBUSY: somebody has it open. */
int disk_down(struct disk *disk, struct error **err);

struct disk_status {
	bool up;
	char device[128], role[16], data[16], link[16], copying[16], peer_data[16];
	uint64_t size, out_of_sync; /* bytes */
};
int disk_status(struct disk *disk, struct disk_status *status, struct error **err);

/* ---- Of a hop ---- */

enum disk_side {
	DISK_SOURCE,
	DISK_TARGET
};

enum disk_copy {
	DISK_COPY_NOTHING,
	DISK_COPY_CHANGES, /* since the disk was there last */
	DISK_COPY_ALL
};

/* How many streams a disk has between the two sides; each wants a channel of its own. */
#define DISK_STREAMS_MOST 2
size_t disk_streams(const struct disk *disk);

/*
 * Destination: gets ready to receive a disk of that size; what an earlier stay left is kept as
 * base where it is one. state: what the source's disk_plan is to be told.
 */
#define DISK_STATE_TEXT 160
int disk_receive(struct disk *disk, uint64_t bytes, char state[DISK_STATE_TEXT],
		 struct error **err);

/*
 * Source: what will be copied. Fails, and nothing is connected, where a copy would destroy what
 * only the other side has (EEXIST): the error says what each side has, and what can be done.
 */
int disk_plan(struct disk *disk, const char *state, enum disk_copy *copy, struct error **err);

/*
 * Both: the local ends of the streams, connected stream sockets that the caller relays to
 * those of the other side and closes. The source opens first, then the destination.
 */
#define DISK_SECRET_TEXT 64

struct disk_link {
	size_t buffer; /* bytes that may be on their way; 0: a default */
	/* The same on both sides, and nobody else's: any process of a host could connect, too. */
	char secret[DISK_SECRET_TEXT];
};

int disk_send_open(struct disk *disk, const struct disk_link *link, int fds[DISK_STREAMS_MOST],
		   int64_t deadline_ns, struct error **err);
int disk_receive_open(struct disk *disk, const struct disk_link *link, int fds[DISK_STREAMS_MOST],
		      int64_t deadline_ns, struct error **err);

struct disk_progress {
	uint64_t done, total; /* bytes; total grows while the guest writes */
	bool converged;	      /* both sides have the same, and each write goes to both */
};

/* Source: fails when the copying has failed, with the reason. */
int disk_progress(struct disk *disk, struct disk_progress *progress, struct error **err);

/* Source: from now on a write is done when it is done on both sides. */
int disk_synchronous(struct disk *disk, struct error **err);

/*
 * Source, while the VM is paused: waits until the other side has everything, then gives up
 * writing. 0 means that both disks are equal. The hypervisor may hold what disk_guest_path()
 * says.
 */
int disk_finish(struct disk *disk, int64_t deadline_ns, struct error **err);

/* Destination, after the source's disk_finish: what was received is on the media. */
int disk_settle(struct disk *disk, struct error **err);

/* Source, once the VM runs elsewhere: the disk is kept as the base for its return, and gone. */
int disk_leave(struct disk *disk, struct error **err);

/* Destination, when the VM runs here: the source is let go; changes from now on are kept track of.
 */
int disk_arrived(struct disk *disk, struct error **err);

/* Source: the VM may write again, alone. */
int disk_undo(struct disk *disk, struct error **err);

/* Destination: no connection, no device; what was received is kept as base for another try. */
int disk_abandon(struct disk *disk, struct error **err);

/* ---- Once ---- */

/*
 * Puts disks of a VM (index, or DISK_ALL) on DRBD. The caller holds the VM's lock. dry:
 * nothing is done, but what would be is printed. Prepared already is success.
 */
#define DISK_ALL SIZE_MAX
int disk_prepare(const struct vm_def *def, size_t index, bool dry, struct error **err);

/* Takes that back: the data stay as they are, what is known of other hosts' copies goes. */
int disk_release(const struct vm_def *def, size_t index, bool dry, struct error **err);

static inline void disk_cleanup(struct disk **disk)
{
	disk_close(*disk);
}
#define auto_disk __attribute__((cleanup(disk_cleanup))) struct disk *

#endif
