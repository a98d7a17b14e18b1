/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/rtnl-send.h"

#include <stdlib.h>
#include <string.h>

int rtnl_send(struct nl_msg *msg, int forgiven, struct error **err)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, err);
	struct error *why = NULL;

	if (!sock)
		return -1;
	if (nl_request(sock, msg, &why) == 0)
		return 0;
	if (forgiven && why->code == forgiven) {
		error_free(why);
		return 0;
	}
	return error_propagate(err, why);
}

int rtnl_ask(struct nl_msg *msg, nl_each each, void *context, struct error **err)
{
	auto_nl sock = nl_open(NETLINK_ROUTE, err);

	return sock ? nl_query(sock, msg, each, context, err) : -1;
}

void rtnl_put_ip(struct nl_msg *msg, uint16_t type, const struct ip_addr *addr)
{
	nl_put(msg, type, addr->bytes, ip_size(addr));
}

void rtnl_list_add(struct rtnl_list *list, const void *item)
{
	if (list->failed)
		return;
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 16;
		void *items = reallocarray(list->items, room, list->item_size);

		if (!items) {
			list->failed = true;
			return;
		}
		list->items = items;
		list->room = room;
	}
	memcpy((char *)list->items + list->count * list->item_size, item, list->item_size);
	list->count++;
}
