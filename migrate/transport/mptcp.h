/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_MPTCP_H
#define TRANSPORT_MPTCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * MPTCP sockets: made, sized and asked how they are. A kernel or peer without MPTCP gets TCP, and
 * mptcp_state() says so and why: a hop is slower over one path, but it is not refused.
 */
#define MPTCP_MAX_SUBFLOWS 16

struct subflow {
	struct ip_addr local, remote;
	uint16_t local_port, remote_port;
	uint64_t bytes_sent; /* with retransmissions */
	uint64_t bytes_acked;
	uint64_t bytes_received;
	uint64_t bytes_retransmitted;
	uint64_t delivery_rate; /* bytes/s, the kernel's latest estimate */
	uint32_t rtt_us;	/* smoothed */
	uint32_t min_rtt_us;	/* without the queues that we fill ourselves */
	uint32_t send_window;	/* that the peer last announced on it, bytes */
	uint32_t mtu;		/* of its way, as the kernel knows it by now; bytes */
};

struct mptcp_state {
	bool negotiated;     /* the connection is MPTCP; else plain TCP */
	const char *why_not; /* static text where it is not */
	size_t n_subflows;   /* 1 for plain TCP */
	struct subflow subflows[MPTCP_MAX_SUBFLOWS];
};

/* Whether this kernel makes MPTCP sockets; *why_not is static text when it does not. */
bool mptcp_available(const char **why_not);

/*
 * Connects to address:port, waiting until deadline_ns. from: the address to begin on; NULL leaves
 * it to the routes. buffer: socket buffers, bytes; 0 leaves them to the kernel. Returns a
 * non-blocking descriptor, the caller's to close.
 */
int mptcp_connect(const struct ip_addr *from, const struct ip_addr *address, uint16_t port,
		  size_t buffer, int64_t deadline_ns, struct error **err);

/* The same, given up (ECANCELED) as soon as cancel_fd is readable; -1: nothing cancels it. */
int mptcp_dial(const struct ip_addr *from, const struct ip_addr *address, uint16_t port,
	       size_t buffer, int cancel_fd, int64_t deadline_ns, struct error **err);

/*
 * Listens on every address of the host (a listener bound to one address refuses the joins to the
 * others). *port: wanted, 0 for any; receives the one it got. Non-blocking.
 */
int mptcp_listen(uint16_t *port, size_t buffer, struct error **err);

/* Makes room for so much payload each way, past the sysctl limits where the process may. */
void mptcp_grow_buffers(int fd, size_t bytes);

/* How the connection is now. A subflow that ended is not listed any more. */
int mptcp_state(int fd, struct mptcp_state *state, struct error **err);

/*
 * Buffers that keep every path of a connection full while one of them repairs a loss: twice the
 * sum of the bandwidths times the highest round-trip time (paper 1, section 3.4).
 * rates in bit/s, rtt in microseconds; 0 when nothing is known. At most 256 MiB.
 */
size_t mptcp_buffer_for(uint64_t sum_of_rates, uint64_t highest_rtt_us);

#endif
