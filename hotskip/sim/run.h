/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_RUN_H
#define HOTSKIP_SIM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "hotskip/policy.h"
#include "hotskip/sim/model.h"
#include "hotskip/stop.h"

/*
 * One simulated pre-copy. The library's own heat, policy and stop rules decide; the simulator only
 * plays the link and the log. Each page has its own time of sending within a round, and what is
 * written before it is carried by it:
 *
 *	round begins          page sent                round ends
 *	    |---- write A --------|------- write B --------|
 *
 * Only B leaves the page dirty, as with KVM's log, of which bits are taken when pages are sent.
 *Xen's log is read and emptied for all pages at the round's start (log_at_start), so there A does
 *as well. `peek` looks at a page's bit before it is sent and leaves a page alone that was written
 *already.
 */
struct algorithm {
	const char *name;
	const char *help;
	enum policy_rule rule;
	enum policy_share_of share_of;
	bool log_at_start;
	bool peek;
	bool sliced;	/* heat is fed each second within a round, not only at its end */
	unsigned rules; /* stop rules other than the target */
	bool no_target; /* the target downtime is no reason to stop */
};

extern const struct algorithm algorithms[];
extern const unsigned algorithm_count;
const struct algorithm *algorithm_find(const char *name); /* NULL: none */

struct sim_config {
	const struct algorithm *algorithm;
	bool smart;	    /* smart stop, beside the algorithm's own rules */
	double bandwidth;   /* bit/s */
	double downtime;    /* s, the target */
	double limit_times; /* the time limit, as a multiple of the time for one pass */
	double share;	    /* of the share rule */
	double threshold;   /* writes/s */
};

struct sim_result {
	double seconds; /* pause included */
	double pause;	/* s */
	double bytes;
	unsigned rounds;
	enum stop_reason reason;
};

/* Fails for want of memory only. */
int sim_run(struct model *model, const struct sim_config *config, struct sim_result *result,
	    struct error **err);

#endif
