/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_VNIC_H
#define HOP_VNIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/hop/env.h"

/*
 * The vNIC switch (paper 1, phase 5), driven by the destination once the VM runs there: for each
 * leg of the hop that goes over to another vNIC the guest agent is told to announce the new
 * address, asked until every connection has joined, and told to retire the old one. Nothing is
 * killed: past the time to join the state is HELD, the asking goes on, and so does the tunnel.
 * Repeating it from the beginning does no harm.
 *
 * A VM without an agent gets no orders: HELD from the first step on, or DONE where no address of
 * it is in the tunnel.
 */
enum vnic_state {
	VNIC_ANNOUNCING, /* the agent has not answered yet */
	VNIC_JOINING,
	VNIC_HELD, /* too late for the time limit, or no agent: the tunnel stays */
	VNIC_DONE
};

struct vnic_switch;

/* env is borrowed. join_ns: how long until HELD. */
struct vnic_switch *vnic_start(const struct hop_env *env, int64_t join_ns, struct error **err);
void vnic_free(struct vnic_switch *vnic); /* takes NULL */

/*
 * One step: blocks for at most some 200 ms. A guest that does not answer is not an error, but
 * HELD; *err only where the host itself fails.
 */
int vnic_step(struct vnic_switch *vnic, enum vnic_state *state, struct error **err);

/*
 * The operator gives the old addresses up: the next step retires the old vNICs, whatever still
 * needs them, and is DONE also when no agent answers. The report names what was broken.
 */
void vnic_release(struct vnic_switch *vnic);

/*
 * For the report: connections, joined, plain, waiting, held, why, of all legs together; `networks`
 * has what each got. The caller's to decref.
 */
json_t *vnic_report(const struct vnic_switch *vnic);

#endif
