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

#define GUEST_NICS	16
#define GUEST_ADDRESSES 16
#define GUEST_WAITING	16
#define GUEST_TEXT	112

struct guest_nic {
	uint8_t mac[MAC_SIZE];
	bool up;
	size_t address_count;
	struct ip_addr addresses[GUEST_ADDRESSES];
};

struct guest_hello {
	char version[32];
	bool mptcp; /* its kernel has MPTCP and it is switched on */
	bool can_address, can_announce, can_joined, can_retire; /* orders that it knows */
	size_t nic_count;
	struct guest_nic nics[GUEST_NICS];
};

int orders_hello(struct orders *orders, struct guest_hello *hello, int64_t deadline_ns,
		 struct error **err);

/* The vNIC with that MAC gets addresses and routes. n: 1 to GUEST_ADDRESSES. */
int orders_address(struct orders *orders, const uint8_t mac[MAC_SIZE], const struct ip_config *list,
		   size_t n, int64_t deadline_ns, struct error **err);

/* The same; and the addresses are announced to all MPTCP peers. */
int orders_announce(struct orders *orders, const uint8_t mac[MAC_SIZE],
		    const struct ip_config *list, size_t n, int64_t deadline_ns,
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

/* Refused by the guest (EREMOTEIO) while a connection has not joined. Takes it up to a second. */
int orders_retire(struct orders *orders, const uint8_t old_mac[MAC_SIZE],
		  const uint8_t new_mac[MAC_SIZE], int64_t deadline_ns, struct error **err);

#endif
