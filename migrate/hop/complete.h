/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_COMPLETE_H
#define HOP_COMPLETE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/hop/env.h"

/*
 * The destination after ACCEPTED, by its worker or by a recovery: nothing is undone any more.
 */

/* After the vNIC switch: tunnel and endpoints are given back, the old vNIC idles, DONE. */
int complete_finish(const struct hop_env *env, struct error **err);

/*
 * Recovery: brings an accepted hop to its end, whatever its worker had done of it. The VM is
 * resumed where it was loaded but not yet running. A VM that is gone (the host lost power) is left
 * to `start`. *held: connections still need the tunnel at deadline_ns; the hop stays open.
 */
int complete_recover(const struct hop_env *env, int64_t deadline_ns, bool *held,
		     struct error **err);

/*
 * The same for a hop that is held and has no worker, when the operator gives the old addresses up:
 * it is at its end then. *report (may be NULL) is vnic_report's, the caller's to decref.
 */
int complete_release(const struct hop_env *env, json_t **report, struct error **err);

/* The ownership of a VM whose old addresses are given up: it is at home where it is. */
int complete_settle_home(const struct hop_env *env, struct error **err);

#endif
