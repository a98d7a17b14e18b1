/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/netlink.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/genetlink.h>

#include "common/cleanup.h"
#include "common/clock.h"

/*
 * Theory of operation
 *
 * One request is under way on a socket at a time. Its answer is every message that bears its
 * sequence number, up to NLMSG_DONE or NLMSG_ERROR (which with error 0 is the acknowledgement);
 * others are left-overs of an earlier request whose reading stopped early, and skipped.
 *
 * The kernel marks a dump NLM_F_DUMP_INTR when the table changed under it, so that entries may be
 * missing. Such a dump is read to its end and asked again, at most DUMP_TRIES times.
 */
#define DUMP_TRIES    16
#define RECEIVE_ROOM  65536 /* the kernel fills at most 32 KiB at a time */
#define ANSWER_TIME_S 10    /* the kernel answers at once; a bug should not hang a hop */

struct nl_socket {
	int fd;
	uint32_t sequence;
	_Alignas(NLMSG_ALIGNTO) uint8_t room[RECEIVE_ROOM];
};

struct nl_socket *nl_open(int protocol, struct error **err)
{
	const struct sockaddr_nl local = {.nl_family = AF_NETLINK};
	const struct timeval limit = {.tv_sec = ANSWER_TIME_S};
	const int on = 1;
	struct nl_socket *sock = malloc(sizeof(*sock));

	if (!sock) {
		error_set(err, ENOMEM, "no memory for a netlink socket");
		return NULL;
	}
	sock->sequence = 0;
	sock->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (sock->fd < 0 || bind(sock->fd, (const struct sockaddr *)&local, sizeof(local)) < 0 ||
	    setsockopt(sock->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0) {
		error_errno(err, "netlink socket of protocol %d", protocol);
		nl_close(sock);
		return NULL;
	}
	/* Comforts, absent from old kernels: error texts, errors without our request behind them,
	 * dumps filtered by the kernel. */
	setsockopt(sock->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(sock->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(sock->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return sock;
}

void nl_close(struct nl_socket *sock)
{
	if (!sock)
		return;
	if (sock->fd >= 0)
		close(sock->fd);
	free(sock);
}

static int nl_send(struct nl_socket *sock, struct nl_msg *msg, struct error **err)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr *header = nl_header(msg);
	ssize_t n;

	if (msg->overflow)
		return error_set(err, EMSGSIZE, "a netlink request of more than %d bytes",
				 NL_MSG_ROOM);
	header->nlmsg_seq = ++sock->sequence;
	header->nlmsg_pid = 0;
	do {
		n = sendto(sock->fd, msg->data, header->nlmsg_len, 0,
			   (const struct sockaddr *)&kernel, sizeof(kernel));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? error_errno(err, "netlink request") : 0;
}

/* One read: the number of bytes in sock->room. Only the kernel is listened to. */
static ssize_t nl_read(struct nl_socket *sock, struct error **err)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		struct iovec room = {sock->room, sizeof(sock->room)};
		struct msghdr m = {
			.msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &room,
			.msg_iovlen = 1,
		};
		ssize_t n = recvmsg(sock->fd, &m, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return error_set(err, ETIMEDOUT, "the kernel did not answer within %d s",
					 ANSWER_TIME_S);
		if (n < 0)
			return error_errno(err, "netlink answer");
		if (m.msg_flags & MSG_TRUNC)
			return error_set(err, EMSGSIZE, "a netlink answer of more than %d bytes",
					 RECEIVE_ROOM);
		if (from.nl_pid == 0)
			return n;
	}
}

/* The result that an NLMSG_ERROR or NLMSG_DONE carries: 0, or -1 with the kernel's own words. */
static int nl_result(const struct nlmsghdr *header, struct error **err)
{
	/* NLMSG_ERROR: an int, then the header of our request; NLMSG_DONE: the int alone. */
	size_t body = header->nlmsg_type == NLMSG_ERROR ? sizeof(struct nlmsgerr) : sizeof(int);
	const int *code = nl_body(header, body);
	const struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1];

	if (!code)
		return header->nlmsg_type == NLMSG_DONE
			       ? 0
			       : error_set(err, EPROTO, "a netlink error was cut short");
	if (*code == 0)
		return 0;
	memset(attrs, 0, sizeof(attrs));
	if (header->nlmsg_flags & NLM_F_ACK_TLVS)
		nl_parse(header, body, attrs, NLMSGERR_ATTR_MAX);
	if (attrs[NLMSGERR_ATTR_MSG])
		return error_set(err, -*code, "%s (%s)", strerror(-*code),
				 nl_string(attrs[NLMSGERR_ATTR_MSG]));
	return error_set(err, -*code, "%s", strerror(-*code));
}

/* Reads the answer to the request just sent. Returns 1 when it was interrupted: ask again. */
static int nl_answer(struct nl_socket *sock, bool multipart, nl_each each, void *context,
		     struct error **err)
{
	bool interrupted = false;

	for (;;) {
		ssize_t n = nl_read(sock, err);
		unsigned int left = (unsigned int)n;

		if (n < 0)
			return -1;
		for (struct nlmsghdr *header = (struct nlmsghdr *)sock->room;
		     NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
			if (header->nlmsg_seq != sock->sequence)
				continue;
			interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
				if (nl_result(header, err) < 0)
					return -1;
				return interrupted ? 1 : 0;
			}
			if (each)
				each(header, context);
			/* A single message ends the answer by itself when no ACK was asked for. */
			if (!multipart && !(header->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
}

int nl_request(struct nl_socket *sock, struct nl_msg *msg, struct error **err)
{
	nl_header(msg)->nlmsg_flags |= NLM_F_ACK;
	if (nl_send(sock, msg, err) < 0)
		return -1;
	return nl_answer(sock, true, NULL, NULL, err) < 0 ? -1 : 0;
}

int nl_query(struct nl_socket *sock, struct nl_msg *msg, nl_each each, void *context,
	     struct error **err)
{
	bool multipart = nl_header(msg)->nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK);

	for (int tries = 0; tries < DUMP_TRIES; tries++) {
		int rc;

		each(NULL, context);
		if (nl_send(sock, msg, err) < 0)
			return -1;
		rc = nl_answer(sock, multipart, each, context, err);
		if (rc <= 0)
			return rc;
	}
	return error_set(err, EAGAIN, "the table changed while it was read, %d times in a row",
			 DUMP_TRIES);
}

struct family_search {
	uint16_t id;
	const char *group;
	uint32_t group_id;
};

static void see_family(const struct nlmsghdr *header, void *context)
{
	const struct nlattr *attrs[CTRL_ATTR_MAX + 1], *group[CTRL_ATTR_MCAST_GRP_MAX + 1];
	const struct nlattr *nest, *attr;
	struct family_search *search = context;
	size_t left;

	if (!header)
		return;
	nl_parse(header, GENL_HDRLEN, attrs, CTRL_ATTR_MAX);
	search->id = nl_u16(attrs[CTRL_ATTR_FAMILY_ID]);
	nest = attrs[CTRL_ATTR_MCAST_GROUPS];
	if (!nest || !search->group)
		return;
	left = nl_size(nest);
	for (attr = nl_first(nl_data(nest), left); attr; attr = nl_next(attr, &left)) {
		nl_parse_nested(attr, group, CTRL_ATTR_MCAST_GRP_MAX);
		if (strcmp(nl_string(group[CTRL_ATTR_MCAST_GRP_NAME]), search->group) == 0)
			search->group_id = nl_u32(group[CTRL_ATTR_MCAST_GRP_ID]);
	}
}

int genl_family(struct nl_socket *sock, const char *name, const char *group, uint32_t *group_id,
		struct error **err)
{
	struct family_search search = {.group = group};
	struct nl_msg msg;

	genl_start(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 0);
	nl_put_string(&msg, CTRL_ATTR_FAMILY_NAME, name);
	if (nl_query(sock, &msg, see_family, &search, err) < 0)
		return error_wrap(err, "generic netlink family %s", name);
	if (group && !search.group_id)
		return error_set(err, ENOENT, "generic netlink family %s has no group %s", name,
				 group);
	if (group)
		*group_id = search.group_id;
	return search.id;
}

int nl_join(struct nl_socket *sock, uint32_t group, struct error **err)
{
	if (setsockopt(sock->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return error_errno(err, "join of netlink group %" PRIu32, group);
	return 0;
}

int nl_receive(struct nl_socket *sock, int64_t deadline_ns, nl_each each, void *context,
	       struct error **err)
{
	struct pollfd p = {.fd = sock->fd, .events = POLLIN};
	unsigned int left;
	ssize_t n;
	int ready;

	do {
		int64_t wait_ms = (deadline_ns - clock_ns()) / NS_PER_MS;

		ready = poll(&p, 1, wait_ms < 0 ? 0 : wait_ms > 3600000 ? 3600000 : (int)wait_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return error_errno(err, "poll of a netlink socket");
	if (ready == 0)
		return error_set(err, ETIMEDOUT, "no netlink event in time");
	n = nl_read(sock, err);
	if (n < 0)
		return -1;
	left = (unsigned int)n;
	for (struct nlmsghdr *header = (struct nlmsghdr *)sock->room; NLMSG_OK(header, left);
	     header = NLMSG_NEXT(header, left))
		each(header, context);
	return 0;
}
