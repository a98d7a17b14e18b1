/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_RESOLVE_H
#define HOP_RESOLVE_H

#include <stdint.h>

#include "common/error.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/env.h"

/*
 * The source after RELEASED, when it does not know what became of it: asks the destination's
 * journal over SSH, which answers ACCEPTED or REFUSED, once and for good. ACCEPTED: what the source
 * still holds is given back, the tunnel when the vNIC switch is over. REFUSED: the VM is taken
 * back.
 */
enum resolved {
	RESOLVED_GONE,
	RESOLVED_DOWN, /* as GONE; but the VM does not run there, and has to be started */
	RESOLVED_RETAKEN,
	RESOLVED_UNKNOWN /* *err says why; nothing was changed */
};

/* Asks again every two seconds until deadline_ns. ctl (may be NULL): an abort ends the asking. */
enum resolved resolve_source(const struct hop_env *env, const char *rsh, int64_t deadline_ns,
			     struct ctl *ctl, struct error **err);

/* Destination: whether the ownership says that it accepted, whatever the journal has. */
bool resolve_accepted_here(const struct hop_env *env);

/*
 * Recovers one hop of this host from its journal, whichever side this is, ending a worker of it
 * that still lives: ask first. Returns an exit status: 0 in order (also when connections still
 * hold the tunnel, the hop then stays open), 1 failed, 3 UNKNOWN. For the keeper and for `recover`.
 */
int recover_hop(const char *hop, const struct fleet *fleet, const char *rsh, int64_t deadline_ns,
		struct error **err);

/*
 * For `release`, where the hop has no worker (any more): a held hop of this host, its destination,
 * is at its end, whatever needs the old addresses. *report: complete_release's.
 */
int release_hop(const char *hop, const struct fleet *fleet, json_t **report, struct error **err);

#endif
