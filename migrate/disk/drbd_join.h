/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_JOIN_H
#define DISK_DRBD_JOIN_H

#include <stdint.h>

#include "common/netlink.h"
#include "migrate/disk/disk.h"

/*
 * Tells DRBD to connect, as `drbdsetup connect` does; but that takes the secret by which the
 * two sides know each other as an argument, where every process of the host can read it.
 */
struct drbd_join {
	const char *resource;
	unsigned minor;
	uint64_t buffer;    /* bytes that may be on their way; 0: a default */
	const char *secret; /* 1 to DISK_SECRET_TEXT - 1 characters */
};

int drbd_join(const struct drbd_join *join, struct error **err);

/* The message for generic netlink's family of that number. */
void drbd_join_message(struct nl_msg *msg, uint16_t family, const struct drbd_join *join);

#endif
