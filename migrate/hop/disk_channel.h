/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_DISK_CHANNEL_H
#define HOP_DISK_CHANNEL_H

#include <stdio.h>

#include "migrate/disk/disk.h"
#include "migrate/transport/channel.h"

/*
 * What both ends of a hop call the channel of a disk's stream: "d0"; a disk that has a second
 * stream has "d0m" beside it.
 */
#define DISK_CHANNEL 32

static inline char *disk_channel(size_t disk, size_t stream, char name[DISK_CHANNEL])
{
	snprintf(name, DISK_CHANNEL, "d%zu%s", disk, stream ? "m" : "");
	return name;
}

/* What only the two ends of the hop know, for the disk's own protocol. */
static inline int disk_channel_secret(const struct channel_key *key, size_t disk,
				      struct disk_link *link, struct error **err)
{
	char purpose[32];

	_Static_assert(CHANNEL_SECRET <= DISK_SECRET_TEXT, "a secret fits");
	snprintf(purpose, sizeof(purpose), "disk %zu", disk);
	return channel_key_secret(key, purpose, link->secret, err);
}

#endif
