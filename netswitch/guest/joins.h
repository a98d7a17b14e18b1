/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_JOINS_H
#define NETSWITCH_GUEST_JOINS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "netswitch/ip.h"

/* Which TCP connections of this guest live on an old address, and which have joined a new one. */
#define JOINS_NAMED	16
#define JOINS_NAME_SIZE 112 /* "ADDRESS:PORT ADDRESS:PORT", IPv6 in brackets */

struct joins {
	unsigned int connections; /* MPTCP ones that are on an old address, or came from one */
	unsigned int joined;	  /* of these, with a usable subflow on a new address */
	unsigned int plain;	  /* on an old address without MPTCP: they can't join */
	size_t named;		  /* some that have not joined, and then plain ones */
	char waiting[JOINS_NAMED][JOINS_NAME_SIZE];
};

/* The addresses of the two vNICs. */
struct joins_between {
	const struct ip_addr *old_addrs, *new_addrs;
	size_t old_count, new_count;
};

/* Linear in sockets, and so is the memory it uses meanwhile. ENOENT: the kernel has no tcp_diag. */
int joins_count(const struct joins_between *between, struct joins *joins, struct error **err);

/*
 * Waits until no TCP socket on these addresses has anything left to say: peers of closed subflows
 * have acknowledged that. At most until deadline_ns; true: it is so.
 */
bool joins_await_silence(const struct ip_addr *addrs, size_t count, int64_t deadline_ns);

#endif
