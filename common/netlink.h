/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_NETLINK_H
#define COMMON_NETLINK_H

#include <stdint.h>

#include "common/error.h"
#include "common/netlink-msg.h"

/*
 * Netlink, synchronously: each call returns when the kernel has done what was asked, or says why
 * not, with the kernel's extended error text where it has one. A failure's code is the kernel's
 * errno, so that callers can take EEXIST or ENOENT for an answer.
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
