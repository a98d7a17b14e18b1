/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_PLAN_H
#define HOTSKIP_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "hotskip/heat.h"

/*
 * How hot a page may be and still be sent: looked for by playing the rest of the pre-copy through.
 *
 * Why not a rule for each page by itself. Sending a page takes 1/R, in which the guest dirties
 * others; that is of use only if the page is not written again before the end. How much is dirtied
 * meanwhile, and how far the end is, depend on what else is sent: the length of the round is the
 * number of pages sent over R. So a threshold is judged as a whole. With N_j pages of class j (rate
 * r_j), x_j of them dirty, and classes up to c sent, a round takes
 *
 *	t = (x_1 + ... + x_c) / R
 *
 * and leaves
 *
 *	x_j' = N_j (1 - exp(-r_j t))			for j <= c: sent, then written again
 *	x_j' = x_j + (N_j - x_j) (1 - exp(-r_j t))	for j > c: skipped
 *
 * Rounds are repeated until sum x_j <= target. The threshold that gets there in the least time, the
 * final pause included, is taken; of equals the one that skips least. If none gets there, the one
 * with the smallest remainder, which is the shortest pause that this guest allows.
 *
 * Classes are not known well at first: pages that were all dirty in the one long round so far look
 *the same. A round that sent all of them would be long, and tell as little. So the policy
 *(policy.c) also bounds a round: it sends no more than a quarter of what is dirty, or what the
 *target holds if that is more. Short rounds are what tells hot pages from warm ones; they cost
 *nothing, since what is not sent in one is sent in the next.
 *
 * In the limit of short rounds this is the marginal rule: page i is worth sending iff the pages/s
 * that it keeps dirty once clean, r_i, are fewer than the R that the link clears; and of those
 *pages that need not be sent at all because they fit the target, it leaves the hottest.
 *
 * Cost: at most 32 thresholds x 48 rounds x 31 classes, about a millisecond, whatever the guest's
 *size.
 */
struct plan_state {
	const uint64_t *all;   /* pages of each of HEAT_CLASSES classes */
	const uint64_t *dirty; /* of those, the ones to be sent */
	double rate;	       /* R, pages/s, > 0 */
	double target;	       /* pages that may remain when the guest is paused */
};

struct plan {
	unsigned limit; /* classes up to this one are sent; HEAT_CLASSES - 1: all */
	bool converges; /* the target can be met */
	double seconds; /* until the guest runs again, as foreseen; to the smallest remainder if not
			 */
	double remainder; /* pages left for the pause */
};

struct plan plan_make(const struct plan_state *state);

#endif
