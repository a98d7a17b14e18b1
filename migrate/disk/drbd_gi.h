/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_GI_H
#define DISK_DRBD_GI_H

#include <stdbool.h>
#include <stdint.h>

/*
 * DRBD's generation identifiers, as `drbdsetup get-gi` prints them, and what two sides' tell
 * of a copy from one to the other. Arithmetic only.
 *
 * Each disk carries the identifier of the data that it has (current), of the data that its
 * bitmap is a difference to (bitmap, 0: none), and two older ones. The lowest bit says
 * "Primary" and does not count.
 */
#define DRBD_GI_TEXT 160 /* of a line of get-gi, with its NUL */

struct drbd_gi {
	uint64_t current, bitmap, history[2];
	bool consistent, up_to_date, primary, connected, full_sync, peer_outdated, crashed_primary;
};

/* text: hostile. False when it is no such line. */
bool drbd_gi_parse(const char *text, struct drbd_gi *gi);

/* What would happen if the two were connected, seen from a source that is to overwrite a target. */
enum drbd_copy {
	DRBD_COPY_NONE,	   /* both have the same data */
	DRBD_COPY_CHANGES, /* the source's bitmap has what the target lacks */
	DRBD_COPY_FULL,
	/* and what must not be connected: */
	DRBD_COPY_NO_DATA,   /* the source never had any */
	DRBD_COPY_BACKWARDS, /* the target has newer data: DRBD would copy them to the source */
	DRBD_COPY_SPLIT,     /* split brain: both were written since they last had the same data */
	DRBD_COPY_STRANGERS, /* they never had the same data */
	DRBD_COPIES
};

/*
 * DRBD 8.4's own rules (drbd_uuid_compare in its receiver) with the direction added: only
 * copies from the source to the target are good.
 */
enum drbd_copy drbd_gi_judge(const struct drbd_gi *source, const struct drbd_gi *target);

/* "changes only", for people */
const char *drbd_copy_name(enum drbd_copy copy);

static inline bool drbd_copy_good(enum drbd_copy copy)
{
	return copy <= DRBD_COPY_FULL;
}

#endif
