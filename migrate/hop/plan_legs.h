/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_PLAN_LEGS_H
#define HOP_PLAN_LEGS_H

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"
#include "migrate/vm/owner.h"

/*
 * What the hop does to each of the VM's networks, from the VM's definition and ownership. Sites,
 * home and supersedes of the facts are known by then. Where an old address comes from DHCP, the
 * guest's agent is asked for it. Errors name the network and say what is missing.
 */
int hop_plan_legs(struct hop_facts *facts, const struct owner *owner, const struct fleet *fleet,
		  struct error **err);

#endif
