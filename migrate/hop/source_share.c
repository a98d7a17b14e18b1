/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "source"

/*
 * Theory of operation
 *
 * Memory and disks share the link as equals. In memory's last rounds, from the second one on, every
 * byte that it waits for makes the guest write to more pages meanwhile, while what the guest writes
 * to a mirrored disk can wait: it is in the bitmap of its mirror, and what is written there once
 * more is sent once. So mirrored disks have an eighth of the link then, and with a rate limit an
 * eighth of that. Never nothing.
 *
 * But what they have left is to be sent while the VM is paused, so it must not grow. They yield as
 * long as it is less than a quarter of what the pause carries, and begin anew when it is less than
 * half of that.
 *
 * The link's rate is what all channels had together at the end of memory's first round, in which
 * there was always something to be sent.
 */
#define DISK_SHARE  (1.0 / 8)
#define SHARE_LEAST (64u << 10) /* bytes/s */
#define PAUSE_SHARE (1.0 / 4)
#define LEFT_LEAST  (1u << 20) /* bytes, of that quarter */
#define LOOK_EVERY  (200 * NS_PER_MS)

static uint64_t disk_rate(const struct source *s)
{
	double rate = s->share.rate, limit = (double)pacer_rate(s->pacer);
	double host = (double)pair_limit_rate(s->pair);

	if (limit > 0 && limit < rate)
		rate = limit;
	if (host > 0 && host < rate)
		rate = host;
	rate *= DISK_SHARE;
	return rate > SHARE_LEAST ? (uint64_t)rate : SHARE_LEAST;
}

static void yield(struct source *s)
{
	if (!s->share.since_ns) {
		s->share.since_ns = clock_ns();
		log_info("mirrored disks yield to memory");
	}
	pacer_set_rate(s->disk_pacer, disk_rate(s)); /* the limits may have changed */
}

void source_share_evenly(struct source *s)
{
	if (!s->share.since_ns)
		return;
	pacer_set_rate(s->disk_pacer, 0);
	s->share.spent_ns += clock_ns() - s->share.since_ns;
	s->share.since_ns = 0;
	log_info("mirrored disks share the link with memory");
	report_set(s->report, "disks_yielded_seconds",
		   json_real((double)s->share.spent_ns / NS_PER_SEC));
}

/* What disks may have left, and yield. */
static double left_most(const struct source *s)
{
	double pause = s->share.rate * (double)s->downtime_ns / NS_PER_SEC * PAUSE_SHARE;

	return pause > LEFT_LEAST ? pause : LEFT_LEAST;
}

int source_share_look(struct source *s, unsigned round, struct error **err)
{
	int64_t now = clock_ns();
	uint64_t left;

	if (round < 2) {
		s->share.rate = s->progress.rate;
		return 0;
	}
	if (s->share.rate <= 0 || now < s->share.look_ns || !hv_copies_disks(s->env.vm))
		return 0;
	s->share.look_ns = now + LOOK_EVERY;
	if (source_mirrors_left(s, &left, err) < 0)
		return -1;
	if ((double)left > left_most(s))
		source_share_evenly(s);
	else if (s->share.since_ns || (double)left < left_most(s) / 2)
		yield(s);
	return 0;
}
