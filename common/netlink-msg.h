/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_NETLINK_MSG_H
#define COMMON_NETLINK_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/netlink.h>

/*
 * Netlink messages as bytes: building a request, taking a reply apart. No I/O here; netlink.h
 * sends them.
 *
 * Why not libmnl: the guest agent is a static program, so that it runs in a guest of any
 * distribution, and distributions ship libmnl as a shared library only. What remains of it is
 * this file.
 */
#define NL_MSG_ROOM 1024

struct nl_msg {
	_Alignas(NLMSG_ALIGNTO) uint8_t data[NL_MSG_ROOM];
	bool overflow; /* something did not fit: nl_request() and nl_dump() refuse it */
};

static inline struct nlmsghdr *nl_header(struct nl_msg *msg)
{
	return (struct nlmsghdr *)msg->data;
}

/*
 * Begins a message of the given type: family_header bytes, zeroed, follow the netlink header, and
 * are returned to be filled in. NLM_F_REQUEST is implied.
 */
void *nl_start(struct nl_msg *msg, uint16_t type, uint16_t flags, size_t family_header);

/* As nl_start, for generic netlink. */
void genl_start(struct nl_msg *msg, uint16_t family, uint8_t command, uint8_t version,
		uint16_t flags);

/* Attributes. Integers in host order, as netlink has them unless an attribute says otherwise. */
void nl_put(struct nl_msg *msg, uint16_t type, const void *data, size_t size);
void nl_put_u8(struct nl_msg *msg, uint16_t type, uint8_t value);
void nl_put_u16(struct nl_msg *msg, uint16_t type, uint16_t value);
void nl_put_u32(struct nl_msg *msg, uint16_t type, uint32_t value);
void nl_put_string(struct nl_msg *msg, uint16_t type, const char *text);

/* A nested attribute: everything put between the two is inside. */
size_t nl_nest(struct nl_msg *msg, uint16_t type);
void nl_nest_end(struct nl_msg *msg, size_t nest);

/*
 * Sorts the attributes of a message, after its family header, into table[type]; entries 0 to
 * `most` that are absent become NULL, types above are skipped. nl_parse_nested does the same for
 * the inside of one, which may be NULL.
 */
void nl_parse(const struct nlmsghdr *header, size_t family_header, const struct nlattr **table,
	      uint16_t most);
void nl_parse_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t most);

/* The family header of a reply; NULL when the message is too short to have it. */
const void *nl_body(const struct nlmsghdr *header, size_t family_header);

static inline const void *nl_data(const struct nlattr *attr)
{
	return (const uint8_t *)attr + NLA_HDRLEN;
}

static inline size_t nl_size(const struct nlattr *attr)
{
	return attr->nla_len - NLA_HDRLEN;
}

/* Values; what is absent (NULL) or too short reads as 0 or "". */
uint8_t nl_u8(const struct nlattr *attr);
uint16_t nl_u16(const struct nlattr *attr);
uint32_t nl_u32(const struct nlattr *attr);
const char *nl_string(const struct nlattr *attr);

/* Steps through a run of attributes of which `left` bytes remain; NULL at its end. */
const struct nlattr *nl_first(const void *data, size_t left);
const struct nlattr *nl_next(const struct nlattr *attr, size_t *left);

#endif
