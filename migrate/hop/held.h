/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_HELD_H
#define HOP_HELD_H

#include "common/error.h"
#include "migrate/hop/env.h"
#include "migrate/hop/facts.h"

/*
 * A hop that brought a VM here and is not at its end: its tunnel carries the VM's old addresses,
 * because connections need them, or because the VM has no agent and knows no others. Both hosts
 * have a worker that holds the VM's lock.
 *
 * A VM with an agent does not hop on before that is over. One without goes home only: the hop that
 * takes it there supersedes the held one, in these steps.
 *
 *	begin, before either side locks the VM   the held hop's worker ends; its tunnel stays
 *	undone					 the held hop is open as before, `recover` has it
 *	ACCEPTED, GONE				 tunnel and routes go, the held hop is DONE
 */

/* The facts of the held hop of that VM on this host, the caller's to free; NULL and no error: none.
 */
struct hop_facts *held_hop(const char *vm, struct error **err);

/*
 * Ends this host's worker of the hop that this one supersedes, if any. EBUSY: that hop is not one
 * that can be superseded here (any more).
 */
int held_take_over(const struct hop_facts *facts, struct error **err);

/* This hop is accepted: nothing is left here of the one that it supersedes, if any. */
int held_supersede(const struct hop_env *env, struct error **err);

/*
 * An open hop of this host that moved, or was to move, the same VM later than that one; it has to
 * be recovered first. The caller's to free; NULL and no error: none.
 */
struct hop_facts *held_later_hop(const struct hop_facts *facts, struct error **err);

#endif
