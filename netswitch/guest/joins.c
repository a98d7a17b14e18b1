/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/joins.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/mptcp.h>
#include <netinet/tcp.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/guest/sockets.h"
#include "netswitch/rtnl.h"

/*
 * Theory of operation
 *
 * The kernel's socket dump lists TCP sockets; one that is a subflow of an MPTCP connection carries
 * that connection's token. Two dumps, IPv4 and IPv6, since a server that listens on [::] has its
 * IPv4 connections as IPv6 sockets with mapped addresses; those are read as IPv4.
 *
 * Subflows are gathered by token in a hash table. A connection counts when it has a subflow on an
 * old address, or a joined one on a new address: the latter had begun elsewhere, maybe on the old
 * address, and has lost that subflow since. One begun on the new address has no part in the hop. A
 * connection that has lost its last subflow is not seen, and could not be saved: an announcement
 * needs a subflow to travel on.
 *
 * Joined means usable. A subflow made by the peer is ESTABLISHED only after its HMAC was right.
 * One that this guest makes is so already when it can't be used yet; the kernel's flag FULLY says
 * when the peer has confirmed.
 *
 * Closing sockets are ignored, with one exception: a plain TCP one that still has bytes to
 * deliver, for as long as it has. Connections of the guest with itself don't leave it.
 *
 * A connection that is just being made on an old address, with a peer that may hold it for made
 * already, is one that has not joined. A dump is no snapshot: one that is accepted while it runs
 * may be missed; so who removes an address has newcomers turned away first (newcomers.h), and
 * counts again.
 */
struct connection {
	struct inet_diag_sockid old_id; /* of a subflow on an old address */
	uint32_t token;
	uint8_t family;
	bool used; /* the slot */
	bool on_old, on_new, joined;
};

struct census {
	const struct joins_between *between;
	const struct ip_addr *own; /* all addresses of this guest */
	size_t own_count;
	struct connection *slots; /* open addressing; NULL: nothing yet */
	size_t size, count;	  /* size is a power of 2 */
	bool failed;
	struct joins
		plain; /* of `joins`, what is known without the table; beginning: connections */
};

static bool is_among(const struct ip_addr *addr, const struct ip_addr *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ip_same(addr, &list[i]))
			return true;
	}
	return false;
}

/* Makes room for another connection. */
static bool grow(struct census *census)
{
	size_t size = census->size ? census->size * 2 : 64, mask = size - 1;
	struct connection *slots;

	if (census->count * 4 < census->size * 3)
		return true;
	slots = calloc(size, sizeof(*slots));
	if (!slots) {
		census->failed = true;
		return false;
	}
	for (size_t i = 0; i < census->size; i++) {
		size_t at = census->slots[i].token & mask;

		if (!census->slots[i].used)
			continue;
		while (slots[at].used)
			at = (at + 1) & mask;
		slots[at] = census->slots[i];
	}
	free(census->slots);
	census->slots = slots;
	census->size = size;
	return true;
}

/* The connection of that token, a new one if need be; NULL without memory. */
static struct connection *connection_of(struct census *census, uint32_t token)
{
	size_t at;

	if (census->failed || !grow(census))
		return NULL;
	at = token & (census->size - 1); /* tokens are hashes */
	while (census->slots[at].used && census->slots[at].token != token)
		at = (at + 1) & (census->size - 1);
	if (!census->slots[at].used) {
		census->slots[at] = (struct connection){.used = true, .token = token};
		census->count++;
	}
	return &census->slots[at];
}

static void add_name(struct joins *joins, int family, const struct inet_diag_sockid *id)
{
	struct ip_addr local = ip_from_bytes(family, id->idiag_src);
	struct ip_addr remote = ip_from_bytes(family, id->idiag_dst);
	const char *form = local.family == AF_INET6 ? "[%s]:%u [%s]:%u" : "%s:%u %s:%u";
	char a[IP_TEXT], b[IP_TEXT];

	if (joins->named == JOINS_NAMED)
		return;
	snprintf(joins->waiting[joins->named++], JOINS_NAME_SIZE, form, ip_format_host(&local, a),
		 ntohs(id->idiag_sport), ip_format_host(&remote, b), ntohs(id->idiag_dport));
}

static void count_subflow(struct census *census, const struct guest_socket *seen, bool on_old)
{
	bool is_join = seen->flags & (MPTCP_SUBFLOW_FLAG_JOIN_REM | MPTCP_SUBFLOW_FLAG_JOIN_LOC);
	struct connection *connection = connection_of(census, seen->token);

	if (!connection)
		return;
	if (on_old) {
		connection->on_old = true;
		connection->old_id = seen->msg->id;
		connection->family = seen->msg->idiag_family;
	} else if (sockets_usable(seen)) {
		connection->on_new = true;
		connection->joined |= is_join;
	}
}

static void add_beginning(struct census *census, const struct guest_socket *seen)
{
	census->plain.connections++;
	add_name(&census->plain, seen->msg->idiag_family, &seen->msg->id);
}

static void see_socket(const struct nlmsghdr *header, void *context)
{
	struct census *census = context;
	const struct joins_between *between = census->between;
	bool on_old, on_new, closing;
	struct guest_socket seen;

	if (!header || !sockets_read(header, &seen))
		return;
	on_old = is_among(&seen.local, between->old_addrs, between->old_count);
	on_new = is_among(&seen.local, between->new_addrs, between->new_count);
	if ((!on_old && !on_new) || sockets_loopback(&seen.remote) ||
	    is_among(&seen.remote, census->own, census->own_count))
		return;
	if (seen.msg->idiag_state == TCP_SYN_RECV) {
		/* One that had no answer within a second is nobody's, or will ask again. */
		if (on_old && seen.msg->idiag_retrans == 0)
			add_beginning(census, &seen);
		return;
	}
	closing = seen.msg->idiag_state != TCP_ESTABLISHED;
	if (seen.mptcp && !closing) {
		count_subflow(census, &seen, on_old);
	} else if (!seen.mptcp && on_old && (!closing || seen.msg->idiag_wqueue > 1)) {
		/* The queue of a socket that waits for the ACK of its FIN is 1. */
		census->plain.plain++;
		add_name(&census->plain, seen.msg->idiag_family, &seen.msg->id);
	}
}

static void sum_up(const struct census *census, struct joins *joins)
{
	memset(joins, 0, sizeof(*joins));
	for (size_t i = 0; i < census->size; i++) {
		const struct connection *connection = &census->slots[i];

		if (!connection->used || (!connection->on_old && !connection->joined))
			continue;
		joins->connections++;
		if (connection->on_new)
			joins->joined++;
		else
			add_name(joins, connection->family, &connection->old_id);
	}
	joins->plain = census->plain.plain;
	joins->connections += census->plain.connections;
	for (size_t i = 0; i < census->plain.named && joins->named < JOINS_NAMED; i++)
		memcpy(joins->waiting[joins->named++], census->plain.waiting[i], JOINS_NAME_SIZE);
}

int joins_count(const struct joins_between *between, struct joins *joins, struct error **err)
{
	struct census census = {.between = between};
	auto_free struct ip_addr *own = NULL;
	int rc;

	if (rtnl_addr_list(NULL, &own, &census.own_count, err) < 0)
		return -1;
	census.own = own;
	rc = sockets_dump(SOCKETS_BEGINNING | SOCKETS_OPEN | SOCKETS_CLOSING, see_socket, &census,
			  err);
	if (rc == 0 && census.failed)
		rc = error_set(err, ENOMEM, "no memory for %zu connections", census.count);
	if (rc == 0)
		sum_up(&census, joins);
	free(census.slots);
	return rc;
}

struct silence {
	const struct ip_addr *addrs;
	size_t count;
	bool broken;
};

static void see_talker(const struct nlmsghdr *header, void *context)
{
	struct silence *silence = context;
	struct guest_socket seen;

	if (header && sockets_read(header, &seen) &&
	    is_among(&seen.local, silence->addrs, silence->count))
		silence->broken = true;
}

bool joins_await_silence(const struct ip_addr *addrs, size_t count, int64_t deadline_ns)
{
	struct silence silence = {.addrs = addrs, .count = count};

	for (int64_t pause_ms = 1;; pause_ms = pause_ms < 20 ? pause_ms * 2 : pause_ms) {
		silence.broken = false;
		if (sockets_dump(SOCKETS_OPEN | SOCKETS_CLOSING, see_talker, &silence, NULL) < 0)
			return false;
		if (!silence.broken)
			return true;
		if (clock_ns() >= deadline_ns)
			return false;
		clock_sleep_ms(pause_ms);
	}
}
