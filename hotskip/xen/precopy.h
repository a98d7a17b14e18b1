/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_XEN_PRECOPY_H
#define HOTSKIP_XEN_PRECOPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "hotskip/xen/params.h"

/*
 * What Xen's save loop asks, answered by heat, policy and stop rules: the glue between the patched
 * libxenguest (patches/) and libhotskip. It knows no Xen, file or clock; save_policy.c has those.
 *
 *	Xen's loop			   here
 *	clean the log ----------------> xen_precopy_begin(logged, pending): what to send
 *	send, leaving out what is
 *	dirty again
 *	peek at the log --------------> xen_precopy_end(counts): go on, pause or give up
 *	   ... until it says pause; suspend, send logged and held pages
 *	done -------------------------> xen_precopy_done(counts)
 *
 * Heat is fed with the log of a round when the next one begins. The first round has no log: all
 * pages are sent, but those that are dirty again before their turn. From the second on the policy
 * (policy.h, with its guard) says what is held back.
 *
 * Leaving out what is dirty again (Xen does it, here it is only asked for) can't lose anything, but
 * a round in which all is dirty again sends nothing, and takes no time, so the next would be the
 * same. So after a round that sent less than passes in the policy's shortest, the next one sends
 * what it has.
 *
 * The stop rules are asked at the end of each round with what really remains, logged or held. For
 * CloudNet's smart stop a round would have to be a pass over all that is dirty; hot-skip's rounds
 * are short, and dirty more than they send while they get on well. So with a rule that holds back
 * (any but none) the crossover is replaced. Smart stop is armed when one of these is so, and then
 * takes the first minimum of its window:
 *
 *  - four rounds in a row the plan (plan.h) finds no threshold that would meet the target, or lower
 *    what is dirty by a quarter: the hot set is larger than the target and written to about as fast
 *    as the link sends;
 *  - the remainder has not fallen by 1/32 for 8 rounds and for the longer of 2 s and 2 target
 *    downtimes.
 *
 * If no minimum comes for as long again, as with a remainder that is always the same, it takes what
 * there is.
 *
 * Cost: that of policy_step() and heat_add_round(), see policy.h; memory 2 bytes a page. Not for
 * two threads at a time.
 */
struct xen_precopy;

/* Totals since the start, and numbers of pages now, as Xen's loop has them. */
struct xen_counts {
	uint64_t written;   /* pages sent, holes included */
	uint64_t contents;  /* of those, with contents */
	double seconds;	    /* it took to read and write those, without holes and hypercalls */
	uint64_t redirtied; /* left out, as they were dirty again before their turn */
	uint64_t pending;   /* now: pages the destination lacks in their newest version */
	uint64_t logged;    /* now: pages written to since the round began */
};

enum xen_verdict {
	XEN_GO_ON,
	XEN_PAUSE,
	XEN_GIVE_UP /* the guest stays at the source */
};

/* A round, or the pause, for the statistics. */
struct xen_round {
	unsigned round;		 /* from 1 */
	uint64_t dirty;		 /* pages the destination lacked when it began */
	uint64_t held;		 /* of those, held back by the policy */
	uint64_t redirtied;	 /* and left out as dirty again */
	uint64_t sent, contents; /* pages, and those with contents */
	uint64_t dirtied;	 /* written to while it lasted */
	uint64_t remaining;	 /* the destination lacks at its end */
	double seconds;		 /* it took */
	double elapsed;		 /* since the first round began */
	double rate;		 /* bytes/s that the link carries, as far as is known */
	double pause; /* s that it would take to send what remains, fixed part included */
	enum stop_reason reason;
	enum xen_verdict verdict;
	char text[STOP_TEXT]; /* why it ends or goes on */
};

/* NULL: ENOMEM, or parameters that the policy does not take. */
struct xen_precopy *xen_precopy_create(const struct xen_params *params, struct error **err);
void xen_precopy_destroy(struct xen_precopy *precopy); /* takes NULL */

/*
 * Bounds that change while it runs: downtime, fixed, time, stop, unmet and rate are taken from
 * params, the rest stays.
 */
void xen_precopy_rebound(struct xen_precopy *precopy, const struct xen_params *params);

/*
 * A round begins, now (s, any monotonic clock). Bitmaps of so many pages, as heat.h says; dirty is
 * what was logged since the last round began, and is replaced by what to send, part of pending.
 * skip_redirtied: Xen is to leave out what is dirty again. The number of pages must not change
 * from round to round (EINVAL). -1 also for want of memory, in the first round.
 */
int xen_precopy_begin(struct xen_precopy *precopy, double now, uint64_t pages,
		      const uint64_t *pending, uint64_t *dirty, bool *skip_redirtied,
		      struct error **err);

/* The round is over. */
enum xen_verdict xen_precopy_end(struct xen_precopy *precopy, double now,
				 const struct xen_counts *counts, struct xen_round *round);

/* The guest will be suspended, from now on. */
void xen_precopy_suspend(struct xen_precopy *precopy, double now);

/* All memory is sent; counts.pending is what the last round, in the pause, began with. */
void xen_precopy_done(struct xen_precopy *precopy, double now, const struct xen_counts *counts,
		      struct xen_round *round);

/* A round (or the pause: event "pause") as a line of JSON, its newline included. Returns what
 * snprintf() does. */
int xen_round_line(const struct xen_round *round, const char *event, char *line, size_t size);
#define XEN_LINE 1024

/* Whether a round is under way: Xen asks its policy before and after each, in the same words. */
bool xen_precopy_in_round(const struct xen_precopy *precopy);

#endif
