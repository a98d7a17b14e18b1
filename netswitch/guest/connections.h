/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_CONNECTIONS_H
#define NETSWITCH_GUEST_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "netswitch/guest/sockets.h"

/* This guest's open TCP connections to others. */
#define CONNECTIONS_LISTED 64

struct connection_entry {
	char local[SOCKET_NAME_SIZE], peer[SOCKET_NAME_SIZE]; /* of one of its subflows */
	uint32_t token;					      /* 0: plain TCP */
	unsigned int subflows;				      /* 1 for plain TCP */
	bool mptcp;
	bool opened_here; /* this guest opened it */
	bool peer_joined; /* the peer has joined an address that was announced to it */
};

struct connections {
	unsigned int mptcp, plain; /* how many there are */
	size_t listed;
	struct connection_entry list[CONNECTIONS_LISTED];
};

/*
 * peer_joined is what a server can know of a client's add_addr_accepted: a subflow that the peer
 * made to another address than that on which the connection began. While nothing was announced
 * there is no such subflow, and so nothing to be known: the limit itself is in the peer's kernel.
 * Linear in sockets times CONNECTIONS_LISTED.
 */
int connections_list(struct connections *connections, struct error **err);

#endif
