/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_SOURCE_H
#define HOP_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"
#include "migrate/stream/scheduler.h"

/* What a hop does when it takes longer than it may. */
enum hop_on_timeout {
	HOP_ABORT,   /* it is undone */
	HOP_FORCE,   /* the VM is paused for as long as it takes */
	HOP_CONTINUE /* it is told, and goes on */
};

/* What a hop does when what is left of memory does not get less any more. */
enum hop_on_stuck {
	HOP_WAIT,     /* it is told, and goes on */
	HOP_PAUSE,    /* the VM is paused when the least is left, for longer than the target */
	HOP_THROTTLE, /* the VM is slowed, stepwise */
	HOP_GIVE_UP   /* it is undone */
};

/* A hop as its source's worker runs it. */
struct source_job {
	struct hop_facts *facts;
	const struct fleet *fleet;
	const char *rsh;     /* NULL: the built-in SSH client */
	int64_t downtime_ns; /* the pause to aim at */
	uint64_t rate_limit; /* of all channels together, bit/s; 0: none */
	int64_t timeout_ns;  /* from the start to the switchover; 0: none */
	enum hop_on_timeout on_timeout;
	bool hot_skip;			/* memory goes through the page scheduler, */
	struct scheduler_options pages; /* which goes by these; its downtime is the hop's */
	enum hop_on_stuck on_stuck;
	bool coding;		/* memory and mirrored disks go through the codec, */
	uint64_t coding_cache;	/* with so many bytes of contents at each end, for either */
	bool plain;		/* disks and memory go without encryption */
	bool compare_memory;	/* compare.h */
	int64_t resume_ns;	/* how long all paths may be lost; 0: no channel is resumed */
	uint64_t resume_window; /* bytes of a channel that are kept for that */
};

/* keeper_job.work: takes a struct source_job. Exit status 0 done, 1 undone, 3 needs recover. */
int source_work(void *job);

/* keeper_job.recover of the same. */
int source_recover(const char *hop, void *job, const char **outcome);

#endif
