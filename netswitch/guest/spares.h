/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_SPARES_H
#define NETSWITCH_GUEST_SPARES_H

#include <stddef.h>

#include "common/error.h"

/*
 * Spare MPTCP endpoints: what keeps connections that this guest opened able to follow a guest that
 * returns to addresses it had before. Why, stands in spares.c.
 */

/* Before spares_add: as many of them go as endpoints are needed that would find no room. */
int spares_make_room(size_t needed, struct error **err);

/* Before endpoints are added; needed: how many these will be. What is there stays. */
int spares_add(size_t needed, struct error **err);

/* After endpoints were deleted. */
int spares_remove(struct error **err);

#endif
