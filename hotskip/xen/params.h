/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_XEN_PARAMS_H
#define HOTSKIP_XEN_PARAMS_H

#include <stdbool.h>

#include "common/error.h"
#include "hotskip/policy.h"
#include "hotskip/stop.h"

/*
 * Parameters of the save helper: KEY=VALUE, separated by commas or white space; # begins a comment
 * that ends with the line. A key that comes twice has its last value.
 *
 *	downtime=S	the guest may be paused for so long, s; 0.3
 *	fixed=S		of which are not for memory: devices, switching, s; 0
 *	time=S		pre-copy lasts no longer, s; 0: no limit
 *	stop=RULE+...	when pre-copy ends: target, smart, time, few, rounds; target+smart, and
 *			time where a time is given
 *	rounds=N	for the rule rounds, and
 *	pages=N		for the rule few: as many as stop.h says if not given (Xen's 5 and 50)
 *	window=N	for the rule smart
 *	unmet=WHAT	when another rule than target and few ends it: pause (the guest, however
 *			long it takes; this is what Xen does) or abort (the guest stays)
 *	rule=RULE	what is held back: none, share, threshold, expected (policy.h); expected
 *	share=F		for the rule share, 0 to 1; 0.1
 *	of=WHAT		memory or dirty: of which the share is
 *	threshold=F	for the rule threshold, writes/s; 1
 *	redirtied=WHAT	skip or send: pages that are dirty again before their turn; skip
 *	rate=N		bytes/s that the link carries; 0: what is measured
 */
struct xen_params {
	struct policy_config policy;
	struct stop_config stop;
	bool skip_redirtied;
	bool abort_unmet;
	double rate; /* bytes/s, 0: measured */
};

/* EINVAL: a key or value that is none; params is then as before. */
int xen_params_parse(const char *text, struct xen_params *params, struct error **err);

#endif
