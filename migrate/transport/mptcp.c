/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/mptcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/mptcp.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif

#define BUFFER_MOST  ((size_t)256 << 20)
#define WINDOW_LEAST ((size_t)8 << 20)

/* On success a stream socket, MPTCP where the kernel has it. */
static int stream_socket(int family, const char **why_not)
{
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	int fd = socket(family, type, IPPROTO_MPTCP);

	if (fd >= 0) {
		*why_not = NULL;
		return fd;
	}
	*why_not = errno == ENOPROTOOPT ? "MPTCP is switched off (net.mptcp.enabled=0)"
					: "this kernel has no MPTCP";
	return socket(family, type, IPPROTO_TCP);
}

bool mptcp_available(const char **why_not)
{
	auto_close fd = stream_socket(AF_INET, why_not);

	return fd >= 0 && !*why_not;
}

/* For a socket of the given family; for an IPv6 one, an IPv4 address is mapped. */
static socklen_t to_sockaddr(int family, const struct ip_addr *ip, uint16_t port,
			     struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip->bytes, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	if (ip->family == AF_INET) {
		in6->sin6_addr.s6_addr[10] = 0xff;
		in6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(in6->sin6_addr.s6_addr + 12, ip->bytes, 4);
	} else {
		memcpy(&in6->sin6_addr, ip->bytes, 16);
	}
	return sizeof(*in6);
}

/* IPv4-mapped addresses come back as IPv4, so that one address has one form. */
static uint16_t from_sockaddr(const struct sockaddr_storage *from, struct ip_addr *ip)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (from->ss_family == AF_INET) {
		memcpy(&in, from, sizeof(in));
		*ip = ip_from_bytes(AF_INET, &in.sin_addr);
		return ntohs(in.sin_port);
	}
	memcpy(&in6, from, sizeof(in6));
	*ip = ip_from_bytes(AF_INET6, &in6.sin6_addr);
	return ntohs(in6.sin6_port);
}

/* Room for `bytes` of payload, which the kernel doubles for its own bookkeeping. Never shrinks. */
static void grow_buffer(int fd, int option, int forced, size_t bytes)
{
	int now = 0, wanted = (int)(bytes < BUFFER_MOST ? bytes : BUFFER_MOST);
	socklen_t size = sizeof(now);

	if (getsockopt(fd, SOL_SOCKET, option, &now, &size) < 0 || now / 2 >= wanted)
		return;
	if (setsockopt(fd, SOL_SOCKET, forced, &wanted, sizeof(wanted)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof(wanted));
}

void mptcp_grow_buffers(int fd, size_t bytes)
{
	grow_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE, bytes);
	/* A window larger than needed costs nothing; of one that two subflows share, half is of use
	 * (relay_watch.c), and the queues on the way want some, too. */
	grow_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE,
		    bytes > WINDOW_LEAST / 2 ? 2 * bytes : WINDOW_LEAST);
}

static int bind_to(int fd, int family, const struct ip_addr *from, struct error **err)
{
	struct sockaddr_storage own;
	socklen_t size = to_sockaddr(family, from, 0, &own);
	char text[IP_TEXT];

	if (bind(fd, (struct sockaddr *)&own, size) < 0)
		return error_errno(err, "connecting from %s", ip_format_host(from, text));
	return 0;
}

/* *family: that of the socket; a kernel without IPv6 gives one of IPv4 for an IPv4 address. */
static int dial_socket(const struct ip_addr *address, int *family, const char **why_not)
{
	int fd = stream_socket(*family, why_not);

	if (fd >= 0 || errno != EAFNOSUPPORT || address->family != AF_INET)
		return fd;
	*family = AF_INET;
	return stream_socket(*family, why_not);
}

/* Until the connection is there or has failed. */
static int await_connection(int fd, int cancel_fd, int64_t deadline_ns, const char *whom,
			    struct error **err)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = cancel_fd, .events = POLLIN}};
	int problem = 0;
	socklen_t size = sizeof(problem);
	int n;

	do {
		int64_t left = deadline_ns - clock_ns();

		n = poll(p, 2, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(err, "poll");
	if (p[1].revents)
		return error_set(err, ECANCELED, "connection to %s: given up", whom);
	if (n == 0)
		return error_set(err, ETIMEDOUT, "connection to %s: no answer", whom);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0)
		problem = errno;
	if (!problem)
		return 0;
	errno = problem;
	return error_errno(err, "connection to %s", whom);
}

int mptcp_connect(const struct ip_addr *from, const struct ip_addr *address, uint16_t port,
		  size_t buffer, int64_t deadline_ns, struct error **err)
{
	return mptcp_dial(from, address, port, buffer, -1, deadline_ns, err);
}

int mptcp_dial(const struct ip_addr *from, const struct ip_addr *address, uint16_t port,
	       size_t buffer, int cancel_fd, int64_t deadline_ns, struct error **err)
{
	/* The kernel lets IPv6 subflows join only connections of an IPv6 socket, whatever they
	 * began on. */
	int family = AF_INET6;
	const char *why_not;
	auto_close fd = dial_socket(address, &family, &why_not);
	struct sockaddr_storage to;
	socklen_t to_size = to_sockaddr(family, address, port, &to);
	char text[IP_TEXT], whom[IP_TEXT + 16];

	ip_format_host(address, text);
	snprintf(whom, sizeof(whom), "%s port %u", text, port);
	if (fd < 0)
		return error_errno(err, "socket for %s", text);
	if (buffer)
		mptcp_grow_buffers(fd, buffer);
	if (from && bind_to(fd, family, from, err) < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&to, to_size) == 0)
		return steal_fd(&fd);
	if (errno != EINPROGRESS)
		return error_errno(err, "connection to %s", whom);
	return await_connection(fd, cancel_fd, deadline_ns, whom, err) < 0 ? -1 : steal_fd(&fd);
}

int mptcp_listen(uint16_t *port, size_t buffer, struct error **err)
{
	const char *why_not;
	auto_close fd = stream_socket(AF_INET6, &why_not);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
	socklen_t size = sizeof(any);
	int off = 0, on = 1;

	if (fd < 0)
		return error_errno(err, "listening socket");
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Before listen(): the window scale is agreed in the first packets. */
	if (buffer)
		mptcp_grow_buffers(fd, buffer);
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 32) < 0 ||
	    getsockname(fd, (struct sockaddr *)&any, &size) < 0)
		return error_errno(err, "listening on port %u", *port);
	*port = ntohs(any.sin6_port);
	return steal_fd(&fd);
}

static void fill_subflow(struct subflow *out, const struct tcp_info *info)
{
	out->bytes_sent = info->tcpi_bytes_sent;
	out->bytes_acked = info->tcpi_bytes_acked;
	out->bytes_received = info->tcpi_bytes_received;
	out->bytes_retransmitted = info->tcpi_bytes_retrans;
	out->delivery_rate = info->tcpi_delivery_rate;
	out->rtt_us = info->tcpi_rtt;
	out->min_rtt_us = info->tcpi_min_rtt;
	out->send_window = info->tcpi_snd_wnd;
	out->mtu = info->tcpi_pmtu;
}

static int plain_tcp_state(int fd, struct mptcp_state *state, struct error **err)
{
	struct subflow *only = &state->subflows[0];
	struct tcp_info info = {0};
	struct sockaddr_storage name = {0};
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return error_errno(err, "TCP_INFO");
	fill_subflow(only, &info);
	size = sizeof(name);
	if (getsockname(fd, (struct sockaddr *)&name, &size) == 0)
		only->local_port = from_sockaddr(&name, &only->local);
	size = sizeof(name);
	if (getpeername(fd, (struct sockaddr *)&name, &size) == 0)
		only->remote_port = from_sockaddr(&name, &only->remote);
	state->n_subflows = 1;
	return 0;
}

/* The kernel's answer: a header, then one element a subflow, of the size that we name. */
struct tcp_infos {
	struct mptcp_subflow_data head;
	struct tcp_info each[MPTCP_MAX_SUBFLOWS];
};

struct addr_pairs {
	struct mptcp_subflow_data head;
	struct mptcp_subflow_addrs each[MPTCP_MAX_SUBFLOWS];
};

static int all_subflows(int fd, struct mptcp_state *state, struct error **err)
{
	struct tcp_infos infos = {.head = {.size_subflow_data = sizeof(infos.head),
					   .size_user = sizeof(infos.each[0])}};
	struct addr_pairs pairs = {.head = {.size_subflow_data = sizeof(pairs.head),
					    .size_user = sizeof(pairs.each[0])}};
	socklen_t infos_size = sizeof(infos), pairs_size = sizeof(pairs);
	size_t n;

	if (getsockopt(fd, SOL_MPTCP, MPTCP_TCPINFO, &infos, &infos_size) < 0)
		return error_errno(err, "MPTCP_TCPINFO");
	if (getsockopt(fd, SOL_MPTCP, MPTCP_SUBFLOW_ADDRS, &pairs, &pairs_size) < 0)
		return error_errno(err, "MPTCP_SUBFLOW_ADDRS");
	n = infos.head.num_subflows;
	if (n > pairs.head.num_subflows)
		n = pairs.head.num_subflows; /* one came or went between the two questions */
	if (n > MPTCP_MAX_SUBFLOWS)
		n = MPTCP_MAX_SUBFLOWS;
	for (size_t i = 0; i < n; i++) {
		struct subflow *s = &state->subflows[i];
		struct sockaddr_storage name;

		fill_subflow(s, &infos.each[i]);
		memcpy(&name, &pairs.each[i].ss_local, sizeof(name));
		s->local_port = from_sockaddr(&name, &s->local);
		memcpy(&name, &pairs.each[i].ss_remote, sizeof(name));
		s->remote_port = from_sockaddr(&name, &s->remote);
	}
	state->n_subflows = n;
	return 0;
}

int mptcp_state(int fd, struct mptcp_state *state, struct error **err)
{
	struct mptcp_info info = {0};
	socklen_t size = sizeof(info);
	int protocol = 0;
	socklen_t protocol_size = sizeof(protocol);

	memset(state, 0, sizeof(*state));
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_size) == 0 &&
	    protocol != IPPROTO_MPTCP) {
		/* Also what accept() gives on an MPTCP listener when the peer spoke TCP. */
		if (mptcp_available(&state->why_not))
			state->why_not = "the peer spoke plain TCP";
		return plain_tcp_state(fd, state, err);
	}
	if (getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &info, &size) < 0 ||
	    (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK)) {
		state->why_not = "the peer or something on the way took the MPTCP options out";
		return plain_tcp_state(fd, state, err);
	}
	state->negotiated = true;
	return all_subflows(fd, state, err);
}

size_t mptcp_buffer_for(uint64_t sum_of_rates, uint64_t highest_rtt_us)
{
	double bytes = 2.0 * (double)sum_of_rates / 8 * (double)highest_rtt_us / 1e6;

	return bytes > (double)BUFFER_MOST ? BUFFER_MOST : (size_t)bytes;
}
