/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_HEAT_H
#define HOTSKIP_HEAT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Page heat: how often each page of a guest is written, estimated from all rounds seen so far (the
 * edge paper's "long-term write frequency", 3.3.2). Two bytes a page.
 *
 * Each page has 16 bits, one for each of up to 16 windows of time that follow one another: was it
 * written in that window? Windows are rounds. When there are more than 16, the two neighbours that
 * are shortest for their age become one (bits ORed, lengths added), so that all of the past is
 * kept, the older the coarser. A window's length is the same for all pages, so what a pattern of
 * bits means is worked out once a round for all patterns, and any question about a page is one
 * look into a table:
 *
 *	page --> seen[page] --> class[pattern], rate[pattern]
 *
 * The estimate. Writes to a page are taken as Poisson with rate r, of which a window of length t
 * tells only whether there were any: with chance 1 - exp(-r t). For windows of one length t, a
 * share f of which was dirty, the likeliest rate is -ln(1 - f) / t: a page that was written many
 * times in a window counts once, and this corrects for it. Windows differ in length, so the rate
 * is the one of greatest likelihood over all of them,
 *
 *	sum over dirty windows of ln(1 - exp(-r t))  -  sum over clean windows of r t
 *
 * which is concave in r and so has one maximum. Half a dirty and half a clean window of mean length
 * are added (for equal windows: f = (dirty + 1/2) / (windows + 1)), so that a page found dirty each
 * time has a finite rate that grows with the evidence. The maximum is looked for on HEAT_CLASSES -
 *1 rates in geometric progression, and refined by a parabola through three of them.
 *
 * A page never seen dirty has rate 0 and class 0: cold.
 *
 * Cost: heat_note() and all questions O(1); a round's end 2^16 patterns x 32 classes at the most
 * (1 to 2 ms), and one pass over the two bytes of each page when windows are joined. Memory: 2
 *bytes a page + 0.4 MB. A guest 100 times as large as 64 GiB needs 3.4 GB and 100 times the time
 *for what is a pass over all pages; nothing grows faster than its pages.
 *
 * Not for two threads at a time.
 */
#define HEAT_WINDOWS 16
#define HEAT_CLASSES 32

/* Rate of class 1, writes/s, and the ratio of one class to the next: 2^-17 to 2^5.5, 45/s. */
#define HEAT_RATE_LEAST (1.0 / 131072)
#define HEAT_RATE_STEP	1.681792830507429 /* 2^0.75 */

/* When the pages that are fed in a round were written. */
enum heat_feed {
	/*
	 * In that same round: a dirty bitmap is read at its end (Xen's log, a simulator). What was
	 * noted becomes knowledge at the round's end.
	 */
	HEAT_LOG,
	/*
	 * In the round before: a hypervisor syncs its log, then emits the pages that it found
	 * (QEMU's stream). In the first round all pages are emitted and none has returned: its
	 * notes are dropped. From the second on a note is knowledge at once (a page not yet noted
	 * in this round is not held to be clean in it). The module keeps the lengths of rounds and
	 * pages apart by itself: give heat_end_round() the length of the round that has just ended.
	 */
	HEAT_STREAM
};

struct heat_window {
	uint16_t bit;
	double seconds;
};

/* Only for the inline functions below and heat.c. */
struct heat {
	uint64_t pages;
	uint16_t *seen; /* a pattern a page */
	uint16_t now;	/* the bit of the round under way; 0 while notes are dropped */
	uint16_t known; /* bits that count in questions */
	bool first;
	enum heat_feed feed;
	double before;	/* HEAT_STREAM: length of the round before the one under way, s */
	unsigned count; /* windows that are closed, oldest first */
	struct heat_window windows[HEAT_WINDOWS];
	float (*likely)[256][HEAT_CLASSES]; /* log likelihoods of the lower and the upper 8 bits */
	uint8_t *class_of;		    /* a pattern's class */
	float *rate_of;			    /* and rate, writes/s */
};

/* A guest of so many pages, none ever written. NULL with ENOMEM or EINVAL (0 pages). */
struct heat *heat_create(uint64_t pages, enum heat_feed feed, struct error **err);
void heat_destroy(struct heat *heat); /* takes NULL */

/* Page (< pages) is seen dirty in the round under way. Any number of times a round. */
static inline void heat_note(struct heat *heat, uint64_t page)
{
	heat->seen[page] |= heat->now;
}

/*
 * The round under way ends after so many seconds. A round of no time (<= 0, or not a number) is
 * no evidence: what was noted in it counts with the next one.
 */
void heat_end_round(struct heat *heat, double seconds);

/*
 * A whole round at once, HEAT_LOG only: bit p of dirty (word p / 64, bit p % 64, least significant
 * first; bits beyond the last page must be 0) says that page p was written in a round of so many
 * seconds. Pages that were left out of an earlier round but not written again are not dirty here.
 * The same as heat_note() for each and heat_end_round(), a hundred times as fast.
 */
void heat_add_round(struct heat *heat, const uint64_t *dirty, double seconds);

/* Windows that the estimate rests on, at most HEAT_WINDOWS, and their time together, s. */
static inline unsigned heat_windows(const struct heat *heat)
{
	return heat->count;
}
double heat_seconds(const struct heat *heat);

/* 0: never seen dirty. 1 .. HEAT_CLASSES - 1: coldest to hottest, by the logarithm of the rate. */
static inline unsigned heat_class(const struct heat *heat, uint64_t page)
{
	return heat->class_of[heat->seen[page] & heat->known];
}

/* Writes/s. */
static inline double heat_rate(const struct heat *heat, uint64_t page)
{
	return heat->rate_of[heat->seen[page] & heat->known];
}

/* The rate at the middle of a class, writes/s; 0 for class 0. */
static inline double heat_class_rate(unsigned class)
{
	return class ? HEAT_RATE_LEAST * pow(HEAT_RATE_STEP, class - 1) : 0;
}

/* The chance that the page is written (again) within so many seconds from now. */
static inline double heat_chance(const struct heat *heat, uint64_t page, double seconds)
{
	return -expm1(-heat_rate(heat, page) * seconds);
}

/* For policies that look at many pages at once. */
static inline const uint8_t *heat_classes(const struct heat *heat)
{
	return heat->class_of;
}

#endif
