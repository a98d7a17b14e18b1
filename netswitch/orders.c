/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/orders.h"

#include <errno.h>

#include "common/cleanup.h"
#include "netswitch/ip-json.h"
#include "netswitch/order-line.h"
#include "netswitch/replies.h"

static json_t *new_order(const char *name, struct error **err)
{
	json_t *order = json_pack("{s:s}", "order", name);

	if (!order)
		error_set(err, ENOMEM, "no memory for an order to the guest");
	return order;
}

static void put_mac(json_t *order, const char *key, const uint8_t *mac)
{
	char text[MAC_TEXT];

	json_object_set_new(order, key, json_string(mac_format(mac, text)));
}

static void recode(struct error **err, int code)
{
	if (err && *err)
		(*err)->code = code;
}

int orders_hello(struct orders *orders, struct guest_hello *hello, int64_t deadline_ns,
		 struct error **err)
{
	auto_json order = new_order("hello", err);
	auto_json reply = order ? order_give(orders, order, deadline_ns, err) : NULL;

	if (!reply)
		return error_wrap(err, "order hello");
	if (reply_hello(reply, hello, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to hello");
	}
	return 0;
}

static int give_addresses(struct orders *orders, const char *name, const uint8_t *mac,
			  const struct guest_wants *wants, struct guest_got *got,
			  int64_t deadline_ns, struct error **err)
{
	auto_json order = new_order(name, err);
	auto_json reply = NULL;
	struct guest_got unwanted;

	if (!order ||
	    json_object_set_new(order, "addresses", ip_configs_to_json(wants->list, wants->n)) < 0)
		return -1;
	if (wants->dhcp)
		json_object_set_new(order, "dhcp", json_pack("[i]", 4));
	if (wants->beside)
		json_object_set_new(order, "beside", json_true());
	put_mac(order, "nic", mac);
	reply = order_give(orders, order, deadline_ns, err);
	if (!reply)
		return error_wrap(err, "order %s", name);
	if (reply_got(reply, wants, got ? got : &unwanted, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to %s", name);
	}
	return 0;
}

int orders_address(struct orders *orders, const uint8_t mac[MAC_SIZE],
		   const struct guest_wants *wants, struct guest_got *got, int64_t deadline_ns,
		   struct error **err)
{
	return give_addresses(orders, "address", mac, wants, got, deadline_ns, err);
}

int orders_announce(struct orders *orders, const uint8_t mac[MAC_SIZE],
		    const struct guest_wants *wants, struct guest_got *got, int64_t deadline_ns,
		    struct error **err)
{
	return give_addresses(orders, "announce", mac, wants, got, deadline_ns, err);
}

int orders_joined(struct orders *orders, const uint8_t new_mac[MAC_SIZE],
		  const uint8_t old_mac[MAC_SIZE], struct join_state *state, int64_t deadline_ns,
		  struct error **err)
{
	auto_json order = new_order("joined", err);
	auto_json reply = NULL;

	if (!order)
		return -1;
	put_mac(order, "nic", new_mac);
	put_mac(order, "old", old_mac);
	reply = order_give(orders, order, deadline_ns, err);
	if (!reply)
		return error_wrap(err, "order joined");
	if (reply_joined(reply, state, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to joined");
	}
	return 0;
}

int orders_connections(struct orders *orders, struct guest_connections *connections,
		       int64_t deadline_ns, struct error **err)
{
	auto_json order = new_order("connections", err);
	auto_json reply = order ? order_give(orders, order, deadline_ns, err) : NULL;

	if (!reply)
		return error_wrap(err, "order connections");
	if (reply_connections(reply, connections, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to connections");
	}
	return 0;
}

int orders_retire(struct orders *orders, const uint8_t old_mac[MAC_SIZE],
		  const uint8_t new_mac[MAC_SIZE], bool force, int64_t deadline_ns,
		  struct error **err)
{
	auto_json order = new_order("retire", err);
	auto_json reply = NULL;

	if (!order)
		return -1;
	put_mac(order, "nic", old_mac);
	put_mac(order, "new", new_mac);
	if (force)
		json_object_set_new(order, "force", json_true());
	reply = order_give(orders, order, deadline_ns, err);
	return reply ? 0 : error_wrap(err, "order retire");
}
