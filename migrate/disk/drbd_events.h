/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_EVENTS_H
#define DISK_DRBD_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Reader of `drbdsetup events2 [--now] --statistics`: what DRBD says of one resource that has
 * one volume and at most one connection, as edgehop's have. Lines of other resources, kinds
 * and words that are not known are passed over; a state that is not known counts as none of
 * the good ones.
 */
enum drbd_role {
	DRBD_ROLE_UNKNOWN,
	DRBD_SECONDARY,
	DRBD_PRIMARY
};

enum drbd_link {
	DRBD_LINK_UNKNOWN, /* on its way from one state to another */
	DRBD_STANDALONE,   /* none: the side is alone, and does not try */
	DRBD_CONNECTING,
	DRBD_CONNECTED
};

enum drbd_data {
	DRBD_DATA_UNKNOWN,
	DRBD_DISKLESS,
	DRBD_INCONSISTENT, /* half of it is another's: worth nothing by itself */
	DRBD_OUTDATED,	   /* whole, but known to be old */
	DRBD_CONSISTENT,
	DRBD_UP_TO_DATE
};

enum drbd_replication {
	DRBD_REPLICATION_OFF,
	DRBD_ESTABLISHED, /* each write goes to the other side; nothing else is to be copied */
	DRBD_SYNC_SOURCE,
	DRBD_SYNC_TARGET,
	DRBD_REPLICATION_OTHER /* bitmaps are being exchanged, paused, verifying, ... */
};

struct drbd_view {
	bool resource, device, connection, peer; /* each was seen, and is there */
	bool complete;				 /* all that there is has been told once */
	enum drbd_role role, peer_role;
	enum drbd_link link;
	enum drbd_data data, peer_data;
	enum drbd_replication replication;
	uint64_t size;		   /* bytes */
	uint64_t out_of_sync;	   /* bytes that the other side lacks */
	uint64_t sent, received;   /* bytes over the connection, since it was made */
	uint64_t pending, unacked; /* requests that the other side, or this one, has not answered */
	uint64_t lower_pending;	   /* requests that the disk below has not answered */
};

#define DRBD_EVENTS_LINE 1024 /* the longest line taken */

/*
 * Takes lines into *view (zeroed at first). A line that is cut off at the end of the text, or
 * longer than DRBD_EVENTS_LINE, is an error (EPROTO).
 */
int drbd_events_read(struct drbd_view *view, const char *resource, const char *text, size_t size,
		     struct error **err);

const char *drbd_role_name(enum drbd_role role);
const char *drbd_link_name(enum drbd_link link);
const char *drbd_data_name(enum drbd_data data);
const char *drbd_replication_name(enum drbd_replication replication);

#endif
