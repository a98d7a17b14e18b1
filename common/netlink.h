/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_NETLINK_H
#define COMMON_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "common/error.h"

/*
 * Netlink by libmnl, synchronously: each call returns when the kernel has done what was asked, or
 * says why not, with the kernel's extended error text where it has one. A failure's code is the
 * kernel's errno, so that callers can take EEXIST or ENOENT for an answer.
 *
 * A socket belongs to the network namespace it was opened in and to one thread at a time.
 */
struct nl_socket;

/* protocol: NETLINK_ROUTE, NETLINK_GENERIC, NETLINK_SOCK_DIAG, ... */
struct nl_socket *nl_open(int protocol, struct error **err);
void nl_close(struct nl_socket *sock); /* takes NULL */

static inline void cleanup_nl(struct nl_socket **sock)
{
	nl_close(*sock);
}
#define auto_nl __attribute__((cleanup(cleanup_nl))) struct nl_socket *

/* --- building a request --- */

#define NL_MSG_ROOM 1024

struct nl_msg {
	_Alignas(NLMSG_ALIGNTO) uint8_t data[NL_MSG_ROOM];
	bool overflow; /* something did not fit: nl_request() and nl_query() refuse it */
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
static inline void nl_put(struct nl_msg *msg, uint16_t type, const void *data, size_t size)
{
	msg->overflow |= !mnl_attr_put_check(nl_header(msg), NL_MSG_ROOM, type, size, data);
}

static inline void nl_put_u8(struct nl_msg *msg, uint16_t type, uint8_t value)
{
	msg->overflow |= !mnl_attr_put_u8_check(nl_header(msg), NL_MSG_ROOM, type, value);
}

static inline void nl_put_u16(struct nl_msg *msg, uint16_t type, uint16_t value)
{
	msg->overflow |= !mnl_attr_put_u16_check(nl_header(msg), NL_MSG_ROOM, type, value);
}

static inline void nl_put_u32(struct nl_msg *msg, uint16_t type, uint32_t value)
{
	msg->overflow |= !mnl_attr_put_u32_check(nl_header(msg), NL_MSG_ROOM, type, value);
}

static inline void nl_put_string(struct nl_msg *msg, uint16_t type, const char *text)
{
	msg->overflow |= !mnl_attr_put_strz_check(nl_header(msg), NL_MSG_ROOM, type, text);
}

/* A nested attribute: everything put between the two is inside. */
struct nlattr *nl_nest(struct nl_msg *msg, uint16_t type);
void nl_nest_end(struct nl_msg *msg, struct nlattr *nest);

/* --- taking a reply apart --- */

/* The family header of a reply; NULL when the message is too short to have it. */
const void *nl_body(const struct nlmsghdr *header, size_t family_header);

/*
 * Sorts the attributes of a message, after its family header, into attrs[type]; entries 0 to
 * `most` that are absent become NULL, types above are skipped. nl_parse_nested does the same for
 * the inside of one, which may be NULL.
 */
void nl_parse(const struct nlmsghdr *header, size_t family_header, const struct nlattr **attrs,
	      uint16_t most);
void nl_parse_nested(const struct nlattr *nest, const struct nlattr **attrs, uint16_t most);

/* Values; what is absent (NULL) or not of that type's size reads as 0 or "". */
static inline uint8_t nl_u8(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U8) == 0 ? mnl_attr_get_u8(attr) : 0;
}

static inline uint16_t nl_u16(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U16) == 0 ? mnl_attr_get_u16(attr) : 0;
}

static inline uint32_t nl_u32(const struct nlattr *attr)
{
	return attr && mnl_attr_validate(attr, MNL_TYPE_U32) == 0 ? mnl_attr_get_u32(attr) : 0;
}

static inline const char *nl_string(const struct nlattr *attr)
{
	bool valid = attr && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0;

	return valid ? mnl_attr_get_str(attr) : "";
}

/* --- talking to the kernel --- */

/*
 * Sees each message of a reply, which is valid during the call only. A NULL header says that
 * reading begins, or begins again because the table changed meanwhile: forget what was collected.
 */
typedef void (*nl_each)(const struct nlmsghdr *header, void *context);

/* Sends a request and waits for its acknowledgement. Adds NLM_F_ACK. */
int nl_request(struct nl_socket *sock, struct nl_msg *msg, struct error **err);

/* Sends a request that is answered with messages (NLM_F_DUMP is the caller's to set). */
int nl_query(struct nl_socket *sock, struct nl_msg *msg, nl_each each, void *context,
	     struct error **err);

/*
 * The number of a generic netlink family; ENOENT where the kernel has none of that name.
 * group: name of one of its multicast groups whose number goes to *group_id, or NULL.
 */
int genl_family(struct nl_socket *sock, const char *name, const char *group, uint32_t *group_id,
		struct error **err);

/* Joins a multicast group: its messages come to nl_receive(). */
int nl_join(struct nl_socket *sock, uint32_t group, struct error **err);

/*
 * Waits for messages of joined groups until deadline_ns (clock_ns() time) and passes what one
 * read brought to each. ETIMEDOUT: none came. ENOBUFS: some were lost, look at the state itself.
 */
int nl_receive(struct nl_socket *sock, int64_t deadline_ns, nl_each each, void *context,
	       struct error **err);

#endif
