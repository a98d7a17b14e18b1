/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_FENCE_H
#define HOP_FENCE_H

#include <stdint.h>

#include "common/error.h"
#include "migrate/config/fleet.h"

/*
 * When the other host can't be asked, and somebody has to decide. An operator who has made sure
 * that it is off ("fenced") takes the VM back with an ownership epoch above the one that the other
 * host may have accepted; so that host, when it is back, finds itself overruled as soon as it asks,
 * which it does at its boot before it starts anything.
 */

/*
 * The operator vouches that `host` is off: a hop of this host to it, RELEASED and undecided, is
 * undone; the VM runs on here, or can be started. What the VM may have done there is lost. 1: so it
 * was; 0: the hop does not wait for that host's decision; -1.
 */
int fence_take_back(const char *hop, const struct fleet *fleet, const char *host,
		    struct error **err);

/*
 * Asks for each VM that this host owns and that does not run the host that it came from, whether
 * it has taken the VM back since; if so, it belongs to that host, and that is written here.
 * A host that does not answer changes nothing, and costs 5 s once. *yielded: how many VMs. To be
 * called when the hops are recovered: that makes this host the owner of what it had accepted.
 */
int fence_challenge(const struct fleet *fleet, const char *rsh, unsigned *yielded,
		    struct error **err);

#endif
