/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_DESTINATION_H
#define HOP_DESTINATION_H

#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"
#include "migrate/transport/channel.h"

/* A hop as its destination's worker runs it. */
struct destination_job {
	struct hop_facts *facts;
	const struct fleet *fleet;
	struct channel_key key;
	size_t buffer;	   /* of each channel's sockets, bytes */
	bool plain;	   /* the operator wants disks and memory to go without encryption */
	int64_t resume_ns; /* as struct source_job's */
	uint64_t resume_window;
};

/*
 * keeper_job.work: takes a struct destination_job. The first snapshot that it publishes is
 * {"event":"listening","port":N}. Exit status 0 done, 1 refused and undone, 3 needs recover.
 */
int destination_work(void *job);

/* keeper_job.recover of the same. */
int destination_recover(const char *hop, void *job, const char **outcome);

#endif
