/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_RECOVER_LATER_H
#define HOP_RECOVER_LATER_H

#include "common/error.h"
#include "migrate/config/fleet.h"

/*
 * Goes on with the recovery of a hop in the background, as a keeper would: for a host's boot, which
 * has no time to wait until the other host can be asked, or is done. Ten minutes; what is open then
 * is the operator's. What it says goes to the hop's log.
 */
int recover_later(const char *hop, const struct fleet *fleet, const char *rsh, struct error **err);

#endif
