/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_SPARES_H
#define NETSWITCH_GUEST_SPARES_H

#include <stddef.h>

#include "common/error.h"

/*
 * Spare MPTCP endpoints: what keeps connections that this guest opened able to follow a guest that
 * returns to addresses it had before. Why, stands in spares.c.
 */

/* Before endpoints are added; needed: how many these will be. What is there stays. */
int spares_add(size_t needed, struct error **err);

/* After endpoints were deleted. */
int spares_remove(struct error **err);

#endif
