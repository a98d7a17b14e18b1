/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_POLICY_H
#define HOTSKIP_POLICY_H

#include <stdint.h>

#include "common/error.h"
#include "hotskip/heat.h"

/*
 * What to send next: one step a round. In: the dirty bitmap (all pages that the destination lacks
 *in their newest version: those skipped before, too) and the pages' heat. Out: the bitmap of those
 *to send. Skipped is dirty & ~send; nothing is ever both, or lost:
 *
 *	send | skipped == dirty,	send & skipped == 0
 *
 * A rule says how many it would like to skip; those are always the hottest, and of one class of
 *heat those that come first. Every rule is held to the same guard:
 *
 * Convergence (the paper demands that the number of skipped pages falls monotonically; 3.3.2). From
 * the first step that skips anything,
 *
 *  (1) a step skips no more pages than the step before: cap;
 *  (2) if the number of dirty pages is not lower than the lowest so far by at least 1/32, and by a
 *      page, cap falls by 1/16, and by a page;
 *  (3) a step sends at least one dirty page if there is one, and as many as pass within
 *round_least.
 *
 * (1) is monotony. By (2) each step lowers the lowest number of dirty pages or cap, both whole
 * numbers that never rise, by a fixed part: after ln(N)/ln(32/31) + ln(N)/ln(16/15) steps at the
 *most (N pages; 64 GiB: 800, 100 times that: 1,050) cap is 0 and what runs is plain pre-copy,
 *whatever the guest does. So skipping can delay the end by that many rounds, and never prevents it:
 *what stops plain pre-copy (stop.h) stops this. A hot set that fits the target downtime is skipped
 *to the end, since the remainder meets the target while it falls. By (3) no round is empty, and
 *none is so short that asking costs more than sending.
 *
 * Cost of a step: two passes over the dirty pages, the second only if any are skipped, and for the
 * expected rule a sample of all (1 to 2 million pages) and the plan: with 64 GiB of 4 KiB pages
 *less than 50 ms on one core, heat_add_round() included. Memory: the caller's bitmaps (2 x N/8
 *bytes) and nothing a page. At 100 times the size: 100 times the time, 5 s, against a round of
 *hours.
 */
enum policy_rule {
	POLICY_NONE, /* everything is sent: plain pre-copy */
	/* The paper's: the top share of pages by long-term write frequency is hot. */
	POLICY_SHARE,
	/* Pages of the fixed rate's class of heat, or of a higher one, are hot. */
	POLICY_THRESHOLD,
	/* Ours: what it costs to send a page now against later; see plan.h. */
	POLICY_EXPECTED,
	POLICY_RULES
};

/* The share is one of: */
enum policy_share_of {
	POLICY_OF_MEMORY, /* all the guest's pages */
	POLICY_OF_DIRTY	  /* those that are dirty at the step */
};

struct policy_config {
	enum policy_rule rule;
	double share; /* 0 .. 1; the paper's is 0.1 */
	enum policy_share_of share_of;
	double threshold;   /* writes/s */
	double round_least; /* s; 0: 0.1 */
};

/* What the link can do at the moment. */
struct policy_link {
	double rate;   /* pages/s */
	double target; /* pages that may remain when the guest is paused; see stop_target_pages() */
};

struct policy_counts {
	uint64_t dirty, send, skip; /* pages; dirty = send + skip */
	uint64_t wanted;	    /* the rule would have skipped so many */
	double seconds;		    /* that the round will take */
	/*
	 * The fewest pages that the rule expects to be left after any round from here on. Only
	 * the expected rule foresees; for others it is 0.
	 */
	double reachable;
};

/* State of the guard; the heat is the caller's. */
struct policy {
	struct policy_config config;
	int armed;	 /* something was skipped in an earlier step */
	uint64_t cap;	 /* no more than this from now on */
	uint64_t lowest; /* fewest dirty pages at a step so far */
};

/* EINVAL when a figure of the configuration is out of range. */
int policy_init(struct policy *policy, const struct policy_config *config, struct error **err);

/*
 * One step. dirty and send are bitmaps of heat->pages bits, in words as heat.h says; they may be
 * the same. Never fails. A rate that is not positive skips nothing.
 */
void policy_step(struct policy *policy, const struct heat *heat, const uint64_t *dirty,
		 const struct policy_link *link, uint64_t *send, struct policy_counts *counts);

const char *policy_rule_name(enum policy_rule rule); /* "none", "share", ... */

#endif
