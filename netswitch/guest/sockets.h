/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_SOCKETS_H
#define NETSWITCH_GUEST_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/inet_diag.h>
#include <netinet/tcp.h>

#include "common/error.h"
#include "common/netlink.h"
#include "netswitch/ip.h"

/* This guest's TCP sockets, as the kernel's dump has them. */

/* What one message of the dump says. */
struct guest_socket {
	const struct inet_diag_msg *msg;
	struct ip_addr local, remote;
	bool mptcp;
	uint32_t token, flags;
};

#define SOCKETS_OPEN	  (1 << TCP_ESTABLISHED)
#define SOCKETS_BEGINNING (1 << TCP_SYN_RECV)
#define SOCKETS_CLOSING                                                                            \
	(1 << TCP_FIN_WAIT1 | 1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING)

/*
 * Calls each for every message of two dumps, IPv4 and IPv6, since a server that listens on [::] has
 * its IPv4 connections as IPv6 sockets with mapped addresses. ENOENT: the kernel has no tcp_diag.
 */
int sockets_dump(uint32_t states, nl_each each, void *context, struct error **err);

/* Takes a message of the dump apart; mapped addresses are read as IPv4. false: none of ours. */
bool sockets_read(const struct nlmsghdr *header, struct guest_socket *seen);

/* Of a subflow: whether it can carry data yet. */
bool sockets_usable(const struct guest_socket *seen);
bool sockets_loopback(const struct ip_addr *addr);

/* "ADDRESS:PORT", IPv6 in brackets, of either end. Returns buf. */
#define SOCKET_NAME_SIZE 56
char *sockets_name(const struct ip_addr *addr, uint16_t port_be, char buf[SOCKET_NAME_SIZE]);

#endif
