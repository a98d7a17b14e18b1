/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/connections.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/mptcp.h>

#include "common/cleanup.h"
#include "netswitch/rtnl.h"

/*
 * Theory of operation
 *
 * Subflows are gathered by token. A connection began on the local address of the subflow that is
 * no join; that one may be gone, as it is after a hop. A join that the peer made is to an address
 * that was announced when it is not to that first one. (A client with two addresses of its own may
 * join the first one again, which says nothing.)
 *
 * Beyond the listed ones MPTCP connections are counted by their first subflow, so one whose first
 * subflow is gone is not counted there.
 */
struct tally {
	const struct ip_addr *own;
	size_t own_count;
	struct connections *out;
	/* of the listed ones */
	struct ip_addr began_on[CONNECTIONS_LISTED]; /* family 0: that subflow is gone */
	struct ip_addr joined_to[CONNECTIONS_LISTED];
};

static bool is_own(const struct tally *tally, const struct ip_addr *addr)
{
	for (size_t i = 0; i < tally->own_count; i++)
		if (ip_same(addr, &tally->own[i]))
			return true;
	return false;
}

/* The entry of that connection, a new one where there is room; its index, or -1. */
static int entry_of(struct tally *tally, const struct guest_socket *seen)
{
	struct connections *out = tally->out;
	struct connection_entry *entry;

	for (size_t i = 0; seen->mptcp && i < out->listed; i++)
		if (out->list[i].mptcp && out->list[i].token == seen->token)
			return (int)i;
	if (out->listed == CONNECTIONS_LISTED)
		return -1;
	entry = &out->list[out->listed];
	entry->mptcp = seen->mptcp;
	entry->token = seen->mptcp ? seen->token : 0;
	sockets_name(&seen->local, seen->msg->id.idiag_sport, entry->local);
	sockets_name(&seen->remote, seen->msg->id.idiag_dport, entry->peer);
	return (int)out->listed++;
}

static void see_subflow(struct tally *tally, const struct guest_socket *seen, int at)
{
	const uint32_t join = MPTCP_SUBFLOW_FLAG_JOIN_REM | MPTCP_SUBFLOW_FLAG_JOIN_LOC;
	struct connection_entry *entry;
	bool is_join = seen->flags & join;

	/* Listed ones are counted when all is seen. */
	if (at < 0) {
		tally->out->mptcp += !is_join;
		return;
	}
	entry = &tally->out->list[at];
	entry->subflows++;
	if (!is_join) {
		tally->began_on[at] = seen->local;
		entry->opened_here = seen->flags & MPTCP_SUBFLOW_FLAG_MCAP_LOC;
	} else if (seen->flags & MPTCP_SUBFLOW_FLAG_JOIN_LOC) {
		entry->opened_here = true; /* only the side that opened it joins, in this kernel */
	} else if (sockets_usable(seen)) {
		tally->joined_to[at] = seen->local;
	}
}

static void see(const struct nlmsghdr *header, void *context)
{
	struct tally *tally = context;
	struct guest_socket seen;
	int at;

	if (!header || !sockets_read(header, &seen) || sockets_loopback(&seen.remote) ||
	    !is_own(tally, &seen.local) || is_own(tally, &seen.remote))
		return;
	at = entry_of(tally, &seen);
	if (seen.mptcp) {
		see_subflow(tally, &seen, at);
		return;
	}
	tally->out->plain++;
	if (at >= 0)
		tally->out->list[at].subflows = 1;
}

static void conclude(struct tally *tally)
{
	for (size_t i = 0; i < tally->out->listed; i++) {
		const struct ip_addr *began = &tally->began_on[i], *joined = &tally->joined_to[i];

		tally->out->mptcp += tally->out->list[i].mptcp;
		tally->out->list[i].peer_joined =
			joined->family && (!began->family || !ip_same(began, joined));
	}
}

int connections_list(struct connections *connections, struct error **err)
{
	auto_free struct tally *tally = calloc(1, sizeof(*tally));
	auto_free struct ip_addr *own = NULL;

	memset(connections, 0, sizeof(*connections));
	if (!tally)
		return error_set(err, ENOMEM, "no memory for a list of connections");
	if (rtnl_addr_list(NULL, &own, &tally->own_count, err) < 0)
		return -1;
	tally->own = own;
	tally->out = connections;
	if (sockets_dump(SOCKETS_OPEN, see, tally, err) < 0)
		return -1;
	conclude(tally);
	return 0;
}
