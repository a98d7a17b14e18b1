/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_RTNL_SEND_H
#define NETSWITCH_RTNL_SEND_H

#include "common/netlink.h"
#include "netswitch/ip.h"

/* What the two rtnl-*.c files share. */

/* One request on a socket of its own. A failure with code `forgiven` (0: none) is a success. */
int rtnl_send(struct nl_msg *msg, int forgiven, struct error **err);

/* One query on a socket of its own. */
int rtnl_ask(struct nl_msg *msg, nl_each each, void *context, struct error **err);

void rtnl_put_ip(struct nl_msg *msg, uint16_t type, const struct ip_addr *addr);

/*
 * A list that grows while a reply is read. Out of memory is noted and the rest ignored; whoever
 * asked looks at `failed` in the end.
 */
struct rtnl_list {
	void *items;
	size_t count, room, item_size;
	bool failed;
};

void rtnl_list_add(struct rtnl_list *list, const void *item);

#endif
