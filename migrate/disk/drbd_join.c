/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_join.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/disk/drbd_command.h"

/*
 * The kernel's side of it is include/linux/drbd_genl.h of DRBD 8.4, which is not among the
 * headers for programs. What is not said has the kernel's default: split brain and conflicts
 * of roles disconnect, two Primaries are not allowed.
 */
#define FAMILY	  "drbd"
#define VERSION	  1
#define CONNECT	  10
#define NO_MINOR  UINT32_MAX
#define CODE_DONE 1   /* of a change of state, with 2 for one that was not needed; */
#define CODE_OK	  101 /* and of everything else */

/* What follows generic netlink's own header, both ways */
struct family_header {
	uint32_t minor;
	int32_t code; /* flags in a request */
};

enum part {
	PART_REPLY = 1,
	PART_CONTEXT = 2,
	PART_NET = 5
};

enum reply {
	REPLY_TEXT = 1,
	REPLIES
};

enum context {
	CONTEXT_RESOURCE = 2,
	CONTEXT_OWN,
	CONTEXT_PEER
};

enum net {
	NET_SECRET = 1,
	NET_SECRET_SUM,
	NET_BLOCK_SUM = 5,
	NET_PROTOCOL,
	NET_CONNECT_INT,
	NET_TIMEOUT,
	NET_PING_INT,
	NET_PING_TIMEOUT,
	NET_KO_COUNT = 13,
	NET_MAX_BUFFERS,
	NET_SOCKET_CHECK = 34
};

#define SUM	   "sha256"
#define PROTOCOL_A 1

/* In pages of 4 KiB. DRBD asks for up to half of them ahead. */
#define BUFFERS_LEAST	2048
#define BUFFERS_MOST	131072
#define BUFFERS_DEFAULT 8192

static uint32_t buffers_for(uint64_t bytes)
{
	uint64_t pages = bytes ? 2 * (bytes / 4096) : BUFFERS_DEFAULT;

	if (pages < BUFFERS_LEAST)
		return BUFFERS_LEAST;
	return pages > BUFFERS_MOST ? BUFFERS_MOST : (uint32_t)pages;
}

static void put_place(struct nl_msg *msg, uint16_t type, unsigned minor, uint16_t port)
{
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
	char text[DRBD_ADDRESS];

	inet_pton(AF_INET, drbd_address(minor, text), &place.sin_addr);
	nl_put(msg, type, &place, sizeof(place));
}

/*
 * Protocol A: a write is done when it is on its way. Whether the far side is still there the
 * relays watch, so DRBD's own stopwatch is off (NET_KO_COUNT), and an answer may take half a
 * minute over a line that is full; four times as long DRBD waits for the first packets of the
 * other side. A new pair of sockets must hold for half a second. A block that the other side
 * has already is told from its sum and does not travel: holes of a new disk, and what a third
 * site still has of an earlier stay.
 */
static const struct {
	uint16_t type;
	uint32_t value;
} numbers[] = {
	{NET_PROTOCOL, PROTOCOL_A}, {NET_CONNECT_INT, 1},  /* s */
	{NET_TIMEOUT, 600},				   /* tenths of a second */
	{NET_PING_INT, 10},				   /* s */
	{NET_PING_TIMEOUT, 300},			   /* tenths of a second */
	{NET_KO_COUNT, 0},	    {NET_SOCKET_CHECK, 5}, /* tenths of a second */
};

void drbd_join_message(struct nl_msg *msg, uint16_t family, const struct drbd_join *join)
{
	struct family_header *header;
	struct nlattr *part;

	genl_start(msg, family, CONNECT, VERSION, 0);
	header = mnl_nlmsg_put_extra_header(nl_header(msg), sizeof(*header));
	*header = (struct family_header){.minor = NO_MINOR};
	part = nl_nest(msg, PART_CONTEXT);
	nl_put_string(msg, CONTEXT_RESOURCE, join->resource);
	put_place(msg, CONTEXT_OWN, join->minor, DRBD_PORT_OWN);
	put_place(msg, CONTEXT_PEER, join->minor, DRBD_PORT_PEER);
	nl_nest_end(msg, part);
	part = nl_nest(msg, PART_NET);
	nl_put_string(msg, NET_SECRET, join->secret);
	nl_put_string(msg, NET_SECRET_SUM, SUM);
	nl_put_string(msg, NET_BLOCK_SUM, SUM);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		nl_put_u32(msg, numbers[i].type, numbers[i].value);
	nl_put_u32(msg, NET_MAX_BUFFERS, buffers_for(join->buffer));
	nl_nest_end(msg, part);
}

struct outcome {
	int32_t code;
	char text[128];
};

static void see_reply(const struct nlmsghdr *message, void *context)
{
	const struct nlattr *parts[PART_NET + 1], *reply[REPLIES];
	const struct family_header *header;
	struct outcome *outcome = context;

	if (!message)
		return;
	header = nl_body(message, GENL_HDRLEN + sizeof(*header));
	if (!header)
		return;
	header = (const void *)((const char *)header + GENL_HDRLEN);
	outcome->code = header->code;
	nl_parse(message, GENL_HDRLEN + sizeof(*header), parts, PART_NET);
	nl_parse_nested(parts[PART_REPLY], reply, REPLIES - 1);
	snprintf(outcome->text, sizeof(outcome->text), "%s", nl_string(reply[REPLY_TEXT]));
	outcome->text[strcspn(outcome->text, "\n")] = '\0';
}

int drbd_join(const struct drbd_join *join, struct error **err)
{
	auto_nl sock = nl_open(NETLINK_GENERIC, err);
	struct outcome outcome = {0};
	struct nl_msg msg;
	int family, result;

	if (!join->secret[0] || strlen(join->secret) >= DISK_SECRET_TEXT)
		return error_set(err, EINVAL, "DRBD's secret: expected 1 to %d characters",
				 DISK_SECRET_TEXT - 1);
	family = sock ? genl_family(sock, FAMILY, NULL, NULL, err) : -1;
	if (family < 0)
		return -1;
	drbd_join_message(&msg, (uint16_t)family, join);
	result = nl_query(sock, &msg, see_reply, &outcome, err);
	explicit_bzero(&msg, sizeof(msg));
	if (result < 0)
		return error_wrap(err, "DRBD's connection");
	if (outcome.code == CODE_DONE || outcome.code == CODE_DONE + 1 || outcome.code == CODE_OK)
		return 0;
	return error_set(err, EIO, "DRBD refuses to connect %s: code %d%s%s", join->resource,
			 (int)outcome.code, outcome.text[0] ? ", " : "", outcome.text);
}
