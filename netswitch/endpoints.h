/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_ENDPOINTS_H
#define NETSWITCH_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * MPTCP endpoints and limits of a host. They belong to its network namespace, so to every hop on
 * it: hops hold them, and what edgehop added goes when the last hop that holds any leaves, since
 * connections of all hops may go by it. Safe between processes; each call may wait for another's
 * to end, which takes milliseconds.
 */
enum endpoint_kind {
	ENDPOINT_SIGNAL,  /* announced to peers, which connect to it (the destination's paths) */
	ENDPOINT_SUBFLOW, /* connected from, by connections that this host opens */
};

/*
 * Holds addresses as endpoints for a hop (its UUID), on behalf of the calling process, and raises
 * the limits to the kernel's maximum; n may be 0 for the limits alone. What the hop holds already
 * stays. An endpoint that was there before is used and never removed. Fails, holding nothing more
 * than before, also when MPTCP is switched off, and says so.
 */
int endpoints_hold(const char *hop, const struct ip_addr *addrs, size_t n, enum endpoint_kind kind,
		   struct error **err);

/*
 * Gives back what a hop holds, whichever process held it. A hop that holds nothing is a success.
 * With the last holder the limits return to what they were, unless someone changed them since.
 */
int endpoints_release(const char *hop, struct error **err);

/*
 * Gives back what is held by processes that are no more, for hops that `known` denies (NULL: for
 * all). For what a host that lost its journals left behind; recovery of a hop releases it by name.
 */
int endpoints_purge(bool (*known)(const char *hop, void *context), void *context,
		    struct error **err);

#endif
