/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_ORDERS_H
#define NETSWITCH_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * Orders to the agent in a VM, through the VM's agent.sock. Each call sends one order and waits for
 * its reply until deadline_ns (clock_ns() time), asking again after silence and connecting again
 * when the socket was closed, since the agent or the hypervisor may be restarting. All orders may
 * be repeated; a call that timed out (ETIMEDOUT) may have had its effect.
 *
 * The guest is not trusted: what it says is bounded and typed, and its texts hold printable ASCII
 * only. When it answers that it could not do it, the code is EREMOTEIO and the message has its
 * words; when it answers nonsense, EPROTO.
 *
 * An object is used by one thread at a time. A VM's socket serves one client at a time.
 */
struct orders;

/* path: the socket. It is connected to when the first order is sent. NULL without memory. */
struct orders *orders_open(const char *path, struct error **err);
void orders_close(struct orders *orders); /* takes NULL */

/* How long the guest had run when it replied last, by its own clock; -1: not known. */
int64_t orders_uptime_ns(const struct orders *orders);

#define GUEST_NICS	16
#define GUEST_ADDRESSES 16
#define GUEST_WAITING	16
#define GUEST_TEXT	112

struct guest_nic {
	uint8_t mac[MAC_SIZE];
	bool up;
	size_t address_count;
	struct ip_config addresses[GUEST_ADDRESSES]; /* gateway: family 0 where it tells none */
};

struct guest_hello {
	char version[32];
	bool mptcp; /* its kernel has MPTCP and it is switched on */
	bool can_address, can_announce, can_joined, can_retire; /* orders that it knows */
	bool can_connections;
	bool can_dhcp; /* has a DHCP client to run */
	size_t nic_count;
	struct guest_nic nics[GUEST_NICS];
};

int orders_hello(struct orders *orders, struct guest_hello *hello, int64_t deadline_ns,
		 struct error **err);

/* What a vNIC is to get: addresses that are told, or that the guest's DHCP client asks for. */
struct guest_wants {
	const struct ip_config *list;
	size_t n;    /* up to GUEST_ADDRESSES; 0 only with dhcp */
	bool dhcp;   /* the client goes on renewing until the vNIC is retired */
	bool beside; /* the guest's default route stays another vNIC's, if that has one */
};

/* What it has then, as far as the guest tells. */
struct guest_got {
	size_t count;
	struct ip_config list[GUEST_ADDRESSES];
};

/*
 * The vNIC with that MAC gets addresses and routes. got may be NULL. EAGAIN: the DHCP server has
 * not answered yet, the client goes on asking: order it again.
 */
int orders_address(struct orders *orders, const uint8_t mac[MAC_SIZE],
		   const struct guest_wants *wants, struct guest_got *got, int64_t deadline_ns,
		   struct error **err);

/* The same; and the addresses are announced to all MPTCP peers. */
int orders_announce(struct orders *orders, const uint8_t mac[MAC_SIZE],
		    const struct guest_wants *wants, struct guest_got *got, int64_t deadline_ns,
		    struct error **err);

struct join_state {
	unsigned int connections; /* MPTCP ones that live on the old vNIC, or came from it */
	unsigned int joined;	  /* of these, with a usable subflow on the new one */
	unsigned int plain;	  /* others on the old vNIC: without MPTCP they can't follow */
	size_t waiting_count;	  /* some of both that have not joined, "A:PORT B:PORT" */
	char waiting[GUEST_WAITING][GUEST_TEXT];
};

int orders_joined(struct orders *orders, const uint8_t new_mac[MAC_SIZE],
		  const uint8_t old_mac[MAC_SIZE], struct join_state *state, int64_t deadline_ns,
		  struct error **err);

#define GUEST_CONNECTIONS 64

struct guest_connection {
	char local[GUEST_TEXT / 2], peer[GUEST_TEXT / 2]; /* "ADDRESS:PORT" */
	bool mptcp;
	unsigned int subflows;
	bool opened_here; /* by the guest: it joins by itself */
	bool peer_joined; /* the peer has joined an announced address before */
};

struct guest_connections {
	unsigned int mptcp, plain; /* all of them */
	size_t count;
	struct guest_connection list[GUEST_CONNECTIONS];
};

/* The guest's open connections. Not every agent knows this order: see can_connections. */
int orders_connections(struct orders *orders, struct guest_connections *connections,
		       int64_t deadline_ns, struct error **err);

/*
 * Refused by the guest (EREMOTEIO) while a connection has not joined. Takes it up to a second.
 * force: it retires the vNIC all the same; connections that need it are broken.
 */
int orders_retire(struct orders *orders, const uint8_t old_mac[MAC_SIZE],
		  const uint8_t new_mac[MAC_SIZE], bool force, int64_t deadline_ns,
		  struct error **err);

#endif
