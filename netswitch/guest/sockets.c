/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/sockets.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <linux/mptcp.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

bool sockets_loopback(const struct ip_addr *addr)
{
	static const uint8_t v6[16] = {[15] = 1};

	return addr->family == AF_INET ? addr->bytes[0] == 127 : memcmp(addr->bytes, v6, 16) == 0;
}

bool sockets_read(const struct nlmsghdr *header, struct guest_socket *seen)
{
	const struct nlattr *attrs[INET_DIAG_MAX + 1], *ulp[INET_ULP_INFO_MAX + 1];
	const struct nlattr *in[MPTCP_SUBFLOW_ATTR_MAX + 1];
	const uint32_t negotiated = MPTCP_SUBFLOW_FLAG_MCAP_REM | MPTCP_SUBFLOW_FLAG_JOIN_REM |
				    MPTCP_SUBFLOW_FLAG_JOIN_LOC;

	seen->msg = nl_body(header, sizeof(*seen->msg));
	if (!seen->msg || header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    (seen->msg->idiag_family != AF_INET && seen->msg->idiag_family != AF_INET6))
		return false;
	seen->local = ip_from_bytes(seen->msg->idiag_family, seen->msg->id.idiag_src);
	seen->remote = ip_from_bytes(seen->msg->idiag_family, seen->msg->id.idiag_dst);
	nl_parse(header, sizeof(*seen->msg), attrs, INET_DIAG_MAX);
	nl_parse_nested(attrs[INET_DIAG_ULP_INFO], ulp, INET_ULP_INFO_MAX);
	nl_parse_nested(ulp[INET_ULP_INFO_MPTCP], in, MPTCP_SUBFLOW_ATTR_MAX);
	seen->flags = nl_u32(in[MPTCP_SUBFLOW_ATTR_FLAGS]);
	seen->token = nl_u32(in[MPTCP_SUBFLOW_ATTR_TOKEN_LOC]);
	/* A socket that asked for MPTCP and fell back to TCP has the attribute without a flag. */
	seen->mptcp = seen->flags & negotiated;
	return true;
}

bool sockets_usable(const struct guest_socket *seen)
{
	return !(seen->flags & MPTCP_SUBFLOW_FLAG_JOIN_LOC) ||
	       (seen->flags & MPTCP_SUBFLOW_FLAG_FULLY_ESTABLISHED);
}

static int dump(struct nl_socket *sock, uint8_t family, uint32_t states, nl_each each,
		void *context, struct error **err)
{
	struct inet_diag_req_v2 *request;
	struct nl_msg msg;

	request = nl_start(&msg, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(*request));
	request->sdiag_family = family;
	request->sdiag_protocol = IPPROTO_TCP;
	/* Without a wish for tcp_info the kernel leaves the tokens out too. */
	request->idiag_ext = 1 << (INET_DIAG_INFO - 1);
	request->idiag_states = states;
	if (nl_query(sock, &msg, each, context, err) < 0)
		return error_wrap(err, "list of TCP sockets (kernel module tcp_diag)");
	return 0;
}

int sockets_dump(uint32_t states, nl_each each, void *context, struct error **err)
{
	auto_nl sock = nl_open(NETLINK_SOCK_DIAG, err);

	if (!sock || dump(sock, AF_INET, states, each, context, err) < 0)
		return -1;
	return dump(sock, AF_INET6, states, each, context, err);
}

char *sockets_name(const struct ip_addr *addr, uint16_t port_be, char buf[SOCKET_NAME_SIZE])
{
	char text[IP_TEXT];

	snprintf(buf, SOCKET_NAME_SIZE, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u",
		 ip_format_host(addr, text), ntohs(port_be));
	return buf;
}
