/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/netlink.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <linux/genetlink.h>

#include "common/cleanup.h"
#include "common/clock.h"

/*
 * Theory of operation
 *
 * One request is under way on a socket at a time. Its answer is every message that bears its
 * sequence number and the socket's port, up to NLMSG_DONE or NLMSG_ERROR (which with error 0 is
 * the acknowledgement); others are events of a joined group or left-overs of an earlier request
 * whose reading stopped early, and skipped.
 *
 * The kernel marks a dump NLM_F_DUMP_INTR when the table changed under it, so that entries may be
 * missing. Such a dump is read to its end and asked again, at most DUMP_TRIES times.
 *
 * Sockets, messages and attributes are libmnl's business, the walk through an answer is ours:
 * mnl_cb_run() drops the kernel's error text, and takes a foreign sequence number or an
 * interrupted dump for an error with the rest unread.
 */
#define DUMP_TRIES    16
#define RECEIVE_ROOM  65536 /* the kernel fills at most 32 KiB at a time */
#define ANSWER_TIME_S 10    /* the kernel answers at once; a bug should not hang a hop */

struct nl_socket {
	struct mnl_socket *mnl;
	uint32_t sequence;
	_Alignas(NLMSG_ALIGNTO) uint8_t room[RECEIVE_ROOM];
};

/* Comforts, absent from old kernels. */
static void set_options(const struct nl_socket *sock)
{
	static const int wanted[] = {
		NETLINK_EXT_ACK,	/* error texts */
		NETLINK_CAP_ACK,	/* errors without our request behind them */
		NETLINK_GET_STRICT_CHK, /* dumps filtered by the kernel */
	};
	int on = 1;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		mnl_socket_setsockopt(sock->mnl, wanted[i], &on, sizeof(on));
}

struct nl_socket *nl_open(int protocol, struct error **err)
{
	const struct timeval limit = {.tv_sec = ANSWER_TIME_S};
	struct nl_socket *sock = malloc(sizeof(*sock));

	if (!sock) {
		error_set(err, ENOMEM, "no memory for a netlink socket");
		return NULL;
	}
	sock->sequence = 0;
	sock->mnl = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!sock->mnl || mnl_socket_bind(sock->mnl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(sock->mnl), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)) < 0) {
		error_errno(err, "netlink socket of protocol %d", protocol);
		nl_close(sock);
		return NULL;
	}
	set_options(sock);
	return sock;
}

void nl_close(struct nl_socket *sock)
{
	if (!sock)
		return;
	if (sock->mnl)
		mnl_socket_close(sock->mnl);
	free(sock);
}

void *nl_start(struct nl_msg *msg, uint16_t type, uint16_t flags, size_t family_header)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(msg->data);

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	msg->overflow = false;
	return mnl_nlmsg_put_extra_header(header, family_header);
}

void genl_start(struct nl_msg *msg, uint16_t family, uint8_t command, uint8_t version,
		uint16_t flags)
{
	struct genlmsghdr *header = nl_start(msg, family, flags, GENL_HDRLEN);

	header->cmd = command;
	header->version = version;
}

struct nlattr *nl_nest(struct nl_msg *msg, uint16_t type)
{
	struct nlattr *nest = mnl_attr_nest_start_check(nl_header(msg), NL_MSG_ROOM, type);

	msg->overflow |= !nest;
	return nest;
}

void nl_nest_end(struct nl_msg *msg, struct nlattr *nest)
{
	if (!msg->overflow)
		mnl_attr_nest_end(nl_header(msg), nest);
}

const void *nl_body(const struct nlmsghdr *header, size_t family_header)
{
	if (header->nlmsg_len < mnl_nlmsg_size(family_header))
		return NULL;
	return mnl_nlmsg_get_payload(header);
}

struct table {
	const struct nlattr **attrs;
	uint16_t most;
};

static int sort_attr(const struct nlattr *attr, void *context)
{
	const struct table *table = context;

	if (mnl_attr_type_valid(attr, table->most) > 0)
		table->attrs[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static void clear_table(const struct table *table)
{
	for (size_t type = 0; type <= table->most; type++)
		table->attrs[type] = NULL;
}

void nl_parse(const struct nlmsghdr *header, size_t family_header, const struct nlattr **attrs,
	      uint16_t most)
{
	size_t start = mnl_nlmsg_size(MNL_ALIGN(family_header));
	struct table table = {attrs, most};

	clear_table(&table);
	/* Not mnl_attr_parse(): that rounds the end of the message up. */
	if (header->nlmsg_len > start)
		mnl_attr_parse_payload((const uint8_t *)header + start, header->nlmsg_len - start,
				       sort_attr, &table);
}

void nl_parse_nested(const struct nlattr *nest, const struct nlattr **attrs, uint16_t most)
{
	struct table table = {attrs, most};

	clear_table(&table);
	if (nest)
		mnl_attr_parse_nested(nest, sort_attr, &table);
}

static int nl_send(struct nl_socket *sock, struct nl_msg *msg, struct error **err)
{
	struct nlmsghdr *header = nl_header(msg);
	ssize_t n;

	if (msg->overflow)
		return error_set(err, EMSGSIZE, "a netlink request of more than %d bytes",
				 NL_MSG_ROOM);
	header->nlmsg_seq = ++sock->sequence;
	do {
		n = mnl_socket_sendto(sock->mnl, header, header->nlmsg_len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? error_errno(err, "netlink request") : 0;
}

/*
 * One read: the number of bytes in sock->room. Whoever may write to our port besides the kernel
 * has CAP_NET_ADMIN here, and needs no forged answers.
 */
static int nl_read(struct nl_socket *sock, struct error **err)
{
	ssize_t n;

	do {
		n = mnl_socket_recvfrom(sock->mnl, sock->room, sizeof(sock->room));
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return error_set(err, ETIMEDOUT, "the kernel did not answer within %d s",
				 ANSWER_TIME_S);
	if (n < 0 && errno == ENOSPC)
		return error_set(err, EMSGSIZE, "a netlink answer of more than %d bytes",
				 RECEIVE_ROOM);
	return n < 0 ? error_errno(err, "netlink answer") : (int)n;
}

/* The result that an NLMSG_ERROR or NLMSG_DONE carries: 0, or -1 with the kernel's own words. */
static int nl_result(const struct nlmsghdr *header, struct error **err)
{
	/* NLMSG_ERROR: an int, then the header of our request; NLMSG_DONE: the int alone. */
	size_t body = header->nlmsg_type == NLMSG_ERROR ? sizeof(struct nlmsgerr) : sizeof(int);
	const int *code = nl_body(header, body);
	const struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1] = {NULL};

	if (!code)
		return header->nlmsg_type == NLMSG_DONE
			       ? 0
			       : error_set(err, EPROTO, "a netlink error was cut short");
	if (*code == 0)
		return 0;
	if (header->nlmsg_flags & NLM_F_ACK_TLVS)
		nl_parse(header, body, attrs, NLMSGERR_ATTR_MAX);
	if (attrs[NLMSGERR_ATTR_MSG])
		return error_set(err, -*code, "%s (%s)", strerror(-*code),
				 nl_string(attrs[NLMSGERR_ATTR_MSG]));
	return error_set(err, -*code, "%s", strerror(-*code));
}

struct answer {
	nl_each each; /* NULL: nobody wants to see the messages */
	void *context;
	bool multipart;	  /* ends with NLMSG_DONE or an acknowledgement */
	bool interrupted; /* a dump whose table changed: ask again */
};

/* mnl_nlmsg_seq_ok() would let the 0 of an event pass. */
static bool is_answer(const struct nl_socket *sock, const struct nlmsghdr *header)
{
	return header->nlmsg_seq == sock->sequence &&
	       mnl_nlmsg_portid_ok(header, mnl_socket_get_portid(sock->mnl));
}

/* Takes one message of the answer. Returns 1 when more belong to it, 0 when it was the last. */
static int take(const struct nlmsghdr *header, struct answer *answer, struct error **err)
{
	answer->interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
	if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE)
		return nl_result(header, err);
	if (answer->each)
		answer->each(header, answer->context);
	/* A single message ends the answer by itself when no ACK was asked for. */
	return answer->multipart || (header->nlmsg_flags & NLM_F_MULTI);
}

/* Reads the answer to the request just sent. */
static int nl_answer(struct nl_socket *sock, struct answer *answer, struct error **err)
{
	for (;;) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)sock->room;
		int left = nl_read(sock, err);

		if (left < 0)
			return -1;
		for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
			int rc = is_answer(sock, header) ? take(header, answer, err) : 1;

			if (rc <= 0)
				return rc;
		}
	}
}

int nl_request(struct nl_socket *sock, struct nl_msg *msg, struct error **err)
{
	struct answer answer = {.multipart = true};

	nl_header(msg)->nlmsg_flags |= NLM_F_ACK;
	if (nl_send(sock, msg, err) < 0)
		return -1;
	return nl_answer(sock, &answer, err);
}

int nl_query(struct nl_socket *sock, struct nl_msg *msg, nl_each each, void *context,
	     struct error **err)
{
	bool multipart = nl_header(msg)->nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK);

	for (int tries = 0; tries < DUMP_TRIES; tries++) {
		struct answer answer = {each, context, multipart, false};

		each(NULL, context);
		if (nl_send(sock, msg, err) < 0 || nl_answer(sock, &answer, err) < 0)
			return -1;
		if (!answer.interrupted)
			return 0;
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
	struct family_search *search = context;
	const struct nlattr *groups, *attr;

	if (!header)
		return;
	nl_parse(header, GENL_HDRLEN, attrs, CTRL_ATTR_MAX);
	search->id = nl_u16(attrs[CTRL_ATTR_FAMILY_ID]);
	groups = attrs[CTRL_ATTR_MCAST_GROUPS];
	if (!groups || !search->group)
		return;
	mnl_attr_for_each_nested (attr, groups) {
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
	if (mnl_socket_setsockopt(sock->mnl, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return error_errno(err, "join of netlink group %" PRIu32, group);
	return 0;
}

/* Waits until the socket has something to read; ETIMEDOUT when the deadline is there first. */
static int nl_wait(const struct nl_socket *sock, int64_t deadline_ns, struct error **err)
{
	struct pollfd p = {.fd = mnl_socket_get_fd(sock->mnl), .events = POLLIN};
	int ready;

	do {
		int64_t wait_ms = (deadline_ns - clock_ns()) / NS_PER_MS;

		ready = poll(&p, 1, wait_ms < 0 ? 0 : wait_ms > 3600000 ? 3600000 : (int)wait_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return error_errno(err, "poll of a netlink socket");
	if (ready == 0)
		return error_set(err, ETIMEDOUT, "no netlink event in time");
	return 0;
}

int nl_receive(struct nl_socket *sock, int64_t deadline_ns, nl_each each, void *context,
	       struct error **err)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)sock->room;
	int left;

	if (nl_wait(sock, deadline_ns, err) < 0)
		return -1;
	left = nl_read(sock, err);
	if (left < 0)
		return -1;
	for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left))
		each(header, context);
	return 0;
}
