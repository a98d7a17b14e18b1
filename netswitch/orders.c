/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "netswitch/ip-json.h"

#define LOG_MODULE "orders"

/*
 * Theory of operation
 *
 * One order is under way at a time. It has a number, and is sent with an empty line before it,
 * which ends whatever an earlier client left unfinished in the guest. Then lines are read until
 * one bears the number; others are late answers to earlier orders, and skipped, as is a line that
 * is no JSON object (the rest of one whose beginning an earlier client had). After RESEND_MS of
 * silence the same order goes out again; the agent knows it by its number. A closed socket, or a
 * line that has no end, makes us connect again.
 *
 * Numbers begin at random, so that another hop's orders are never taken for repetitions of ours.
 */
#define LINE_MOST    (64 * 1024)
#define RESEND_MS    2000
#define RECONNECT_MS 100

struct orders {
	char *path;
	int fd; /* -1: not connected */
	struct jsonl *lines;
	int64_t next_id;
	int64_t uptime_ms;  /* the guest's, by its last reply; -1: it did not say */
	json_t *unanswered; /* the last order, if its reply did not come in time; else NULL */
};

struct orders *orders_open(const char *path, struct error **err)
{
	struct orders *orders = calloc(1, sizeof(*orders));
	uint32_t start = 0;

	if (orders)
		orders->uptime_ms = -1;
	if (orders)
		orders->path = strdup(path);
	if (!orders || !orders->path) {
		free(orders);
		error_set(err, ENOMEM, "no memory for orders to the guest");
		return NULL;
	}
	orders->fd = -1;
	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		start = (uint32_t)clock_ns();
	orders->next_id = ((int64_t)start << 16) + 1; /* below 2^53: exact for every JSON reader */
	return orders;
}

static void disconnect(struct orders *orders)
{
	if (orders->fd >= 0)
		close(orders->fd);
	orders->fd = -1;
	jsonl_destroy(orders->lines);
	orders->lines = NULL;
}

int64_t orders_uptime_ns(const struct orders *orders)
{
	return orders->uptime_ms < 0 ? -1 : orders->uptime_ms * NS_PER_MS;
}

void orders_close(struct orders *orders)
{
	if (!orders)
		return;
	disconnect(orders);
	json_decref(orders->unanswered);
	free(orders->path);
	free(orders);
}

static int connect_once(struct orders *orders, struct error **err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_close fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(orders->path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "%s: longer than a socket's path may be",
				 orders->path);
	memcpy(address.sun_path, orders->path, strlen(orders->path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, "%s", orders->path);
	orders->lines = jsonl_create(LINE_MOST);
	if (!orders->lines)
		return error_set(err, ENOMEM, "no memory for a line of %d bytes", LINE_MOST);
	orders->fd = steal_fd(&fd);
	return 0;
}

/* Connected in the end, or ETIMEDOUT with the last reason. */
static int ensure_connected(struct orders *orders, int64_t deadline_ns, struct error **err)
{
	while (orders->fd < 0) {
		auto_error why = NULL;

		if (connect_once(orders, &why) == 0)
			break;
		if (clock_ns() + RECONNECT_MS * NS_PER_MS >= deadline_ns)
			return error_set(err, ETIMEDOUT, "no connection to the guest: %s",
					 error_text(why));
		clock_sleep_ms(RECONNECT_MS);
	}
	return 0;
}

static int send_order(struct orders *orders, const json_t *order, int64_t deadline_ns,
		      struct error **err)
{
	ssize_t n = send(orders->fd, "\n", 1, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		return error_errno(err, "sending to the guest");
	return jsonl_write(orders->fd, order, deadline_ns, err);
}

/* The reply with that number; ETIMEDOUT after silence. */
static json_t *read_reply(struct orders *orders, int64_t id, int64_t deadline_ns,
			  struct error **err)
{
	while (clock_ns() < deadline_ns) {
		struct error *why = NULL;
		json_t *reply = jsonl_read(orders->lines, orders->fd, deadline_ns, &why);

		if (reply && json_is_integer(json_object_get(reply, "id")) &&
		    json_integer_value(json_object_get(reply, "id")) == id)
			return reply;
		json_decref(reply);
		if (!reply && why->code != EPROTO) {
			error_propagate(err, why);
			return NULL;
		}
		error_free(why);
	}
	error_set(err, ETIMEDOUT, "no answer in time");
	return NULL;
}

/* Makes text of the guest fit for logs and terminals: printable ASCII, bounded. */
static void take_text(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[i] = '\0';
}

/*
 * The order's number. One that is given again because its reply was late keeps the number that it
 * had: so the reply is still welcome, and the guest need not carry it out twice.
 */
static int64_t number(struct orders *orders, json_t *order)
{
	auto_json before = orders->unanswered;
	int64_t id = before ? json_integer_value(json_object_get(before, "id")) : 0;

	orders->unanswered = NULL;
	json_object_set_new(order, "edgehop", json_integer(1));
	if (before) {
		json_object_set_new(order, "id", json_integer(id));
		if (json_equal(before, order))
			return id;
	}
	id = orders->next_id++;
	json_object_set_new(order, "id", json_integer(id));
	return id;
}

/* Sends an order until its reply comes. The reply says ok; the caller's to decref. */
static json_t *give(struct orders *orders, json_t *order, int64_t deadline_ns, struct error **err)
{
	int64_t id = number(orders, order);
	json_t *reply = NULL;

	while (!reply) {
		struct error *why = NULL;
		int64_t until = clock_ns() + RESEND_MS * NS_PER_MS;

		if (ensure_connected(orders, deadline_ns, err) < 0)
			return NULL;
		if (until > deadline_ns)
			until = deadline_ns;
		if (send_order(orders, order, until, &why) == 0)
			reply = read_reply(orders, id, until, &why);
		if (reply)
			break;
		if (clock_ns() >= deadline_ns) {
			error_set(err, ETIMEDOUT, "the guest's agent does not answer (%s)",
				  error_text(why));
			error_free(why);
			orders->unanswered = json_incref(order);
			return NULL;
		}
		log_debug("order %lld again: %s", (long long)id, error_text(why));
		if (why->code != ETIMEDOUT) {
			disconnect(orders);
			clock_sleep_ms(RECONNECT_MS);
		}
		error_free(why);
	}
	if (json_get_int(reply, "uptime_ms", 0, INT64_MAX / NS_PER_MS, &orders->uptime_ms, NULL) <
	    0)
		orders->uptime_ms = -1;
	if (!json_is_true(json_object_get(reply, "ok"))) {
		const char *text = json_string_value(json_object_get(reply, "error"));
		char clean[256];

		take_text(clean, sizeof(clean), text ? text : "it does not say why");
		if (json_is_true(json_object_get(reply, "again")))
			error_set(err, EAGAIN, "the guest's agent: %s", clean);
		else
			error_set(err, EREMOTEIO, "the guest's agent refuses: %s", clean);
		json_decref(reply);
		return NULL;
	}
	return reply;
}

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

/* text may be NULL. */
static int take_address(const char *text, struct ip_addr *addr, struct error **err)
{
	char clean[IP_TEXT];

	take_text(clean, sizeof(clean), text ? text : "");
	return ip_parse(clean, addr, err);
}

static int take_gateway(const char *text, struct ip_config *config, struct error **err)
{
	if (!text || !*text)
		return 0;
	if (take_address(text, &config->gateway, err) < 0)
		return -1;
	if (config->gateway.family != config->address.family)
		return error_set(err, EPROTO, "an address and its gateway are of two families");
	return 0;
}

/* "addresses" are texts; "gateways", where they are told, the same number of texts, some empty. */
static int take_nic(const json_t *item, struct guest_nic *nic, struct error **err)
{
	const json_t *addresses = json_object_get(item, "addresses");
	const json_t *gateways = json_object_get(item, "gateways");
	const char *mac = json_get_string(item, "mac", err);
	char clean[IP_TEXT];

	*nic = (struct guest_nic){.up = json_is_true(json_object_get(item, "up"))};
	if (!mac)
		return -1;
	take_text(clean, sizeof(clean), mac);
	if (mac_parse(clean, nic->mac, err) < 0)
		return -1;
	if (!json_is_array(addresses) || json_array_size(addresses) > GUEST_ADDRESSES)
		return error_set(err, EPROTO, "field addresses: expected a list of at most %d",
				 GUEST_ADDRESSES);
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		struct ip_config *config = &nic->addresses[i];

		if (take_address(json_string_value(json_array_get(addresses, i)), &config->address,
				 err) < 0 ||
		    take_gateway(json_string_value(json_array_get(gateways, i)), config, err) < 0)
			return -1;
		nic->address_count++;
	}
	return 0;
}

static int take_hello(const json_t *reply, struct guest_hello *hello, struct error **err)
{
	const json_t *features = json_object_get(reply, "features"), *feature;
	const json_t *nics = json_object_get(reply, "nics");
	const char *version = json_get_string(reply, "version", err);
	const struct {
		const char *name;
		bool *can;
	} known[] = {
		{"address", &hello->can_address},	  {"announce", &hello->can_announce},
		{"joined", &hello->can_joined},		  {"retire", &hello->can_retire},
		{"connections", &hello->can_connections}, {"dhcp", &hello->can_dhcp},
	};
	size_t i;

	memset(hello, 0, sizeof(*hello));
	if (!version)
		return -1;
	take_text(hello->version, sizeof(hello->version), version);
	hello->mptcp = json_is_true(json_object_get(reply, "mptcp"));
	json_array_foreach (features, i, feature) {
		for (size_t k = 0; json_is_string(feature) && k < ARRAY_SIZE(known); k++)
			*known[k].can |= strcmp(known[k].name, json_string_value(feature)) == 0;
	}
	if (!json_is_array(nics) || json_array_size(nics) > GUEST_NICS)
		return error_set(err, EPROTO, "field nics: expected a list of at most %d",
				 GUEST_NICS);
	for (i = 0; i < json_array_size(nics); i++) {
		if (take_nic(json_array_get(nics, i), &hello->nics[i], err) < 0)
			return error_wrap(err, "field nics, entry %zu", i);
		hello->nic_count++;
	}
	return 0;
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
	auto_json reply = order ? give(orders, order, deadline_ns, err) : NULL;

	if (!reply)
		return error_wrap(err, "order hello");
	if (take_hello(reply, hello, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to hello");
	}
	return 0;
}

/* An agent that does not tell what the vNIC got has done what it was told. */
static int take_got(const json_t *reply, const struct guest_wants *wants, struct guest_got *got,
		    struct error **err)
{
	const json_t *addresses = json_object_get(reply, "addresses"), *item;
	size_t i;

	memset(got, 0, sizeof(*got));
	if (!addresses) {
		for (; got->count < wants->n && got->count < GUEST_ADDRESSES; got->count++)
			got->list[got->count] = wants->list[got->count];
		return 0;
	}
	if (!json_is_array(addresses) || json_array_size(addresses) > GUEST_ADDRESSES)
		return error_set(err, EPROTO, "field addresses: expected a list of at most %d",
				 GUEST_ADDRESSES);
	json_array_foreach (addresses, i, item) {
		const char *address = json_string_value(json_object_get(item, "address"));
		const char *gateway = json_string_value(json_object_get(item, "gateway"));

		if (take_address(address, &got->list[i].address, err) < 0 ||
		    take_gateway(gateway, &got->list[i], err) < 0)
			return error_wrap(err, "field addresses, entry %zu", i);
		got->count++;
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
	reply = give(orders, order, deadline_ns, err);
	if (!reply)
		return error_wrap(err, "order %s", name);
	if (take_got(reply, wants, got ? got : &unwanted, err) < 0) {
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

static int take_joined(const json_t *reply, struct join_state *state, struct error **err)
{
	const json_t *waiting = json_object_get(reply, "waiting"), *item;
	int64_t connections, joined, plain;
	size_t i;

	memset(state, 0, sizeof(*state));
	if (json_get_int(reply, "connections", 0, UINT32_MAX, &connections, err) < 0 ||
	    json_get_int(reply, "joined", 0, connections, &joined, err) < 0 ||
	    json_get_int(reply, "plain", 0, UINT32_MAX, &plain, err) < 0)
		return -1;
	state->connections = (unsigned int)connections;
	state->joined = (unsigned int)joined;
	state->plain = (unsigned int)plain;
	json_array_foreach (waiting, i, item) {
		if (i < GUEST_WAITING && json_is_string(item))
			take_text(state->waiting[state->waiting_count++], GUEST_TEXT,
				  json_string_value(item));
	}
	return 0;
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
	reply = give(orders, order, deadline_ns, err);
	if (!reply)
		return error_wrap(err, "order joined");
	if (take_joined(reply, state, err) < 0) {
		recode(err, EPROTO);
		return error_wrap(err, "the guest's answer to joined");
	}
	return 0;
}

static int take_connection(const json_t *item, struct guest_connection *connection,
			   struct error **err)
{
	const char *local = json_get_string(item, "local", err);
	const char *peer = local ? json_get_string(item, "peer", err) : NULL;
	int64_t subflows;

	if (!peer || json_get_int(item, "subflows", 0, UINT16_MAX, &subflows, err) < 0)
		return -1;
	take_text(connection->local, sizeof(connection->local), local);
	take_text(connection->peer, sizeof(connection->peer), peer);
	connection->subflows = (unsigned int)subflows;
	connection->mptcp = json_is_true(json_object_get(item, "mptcp"));
	connection->opened_here = json_is_true(json_object_get(item, "opened_here"));
	connection->peer_joined = json_is_true(json_object_get(item, "peer_joined"));
	return 0;
}

static int take_connections(const json_t *reply, struct guest_connections *connections,
			    struct error **err)
{
	const json_t *list = json_object_get(reply, "list"), *item;
	int64_t mptcp, plain;
	size_t i;

	memset(connections, 0, sizeof(*connections));
	if (json_get_int(reply, "mptcp", 0, UINT32_MAX, &mptcp, err) < 0 ||
	    json_get_int(reply, "plain", 0, UINT32_MAX, &plain, err) < 0)
		return -1;
	connections->mptcp = (unsigned int)mptcp;
	connections->plain = (unsigned int)plain;
	json_array_foreach (list, i, item) {
		if (i == GUEST_CONNECTIONS)
			break;
		if (take_connection(item, &connections->list[i], err) < 0)
			return error_wrap(err, "field list, entry %zu", i);
		connections->count++;
	}
	return 0;
}

int orders_connections(struct orders *orders, struct guest_connections *connections,
		       int64_t deadline_ns, struct error **err)
{
	auto_json order = new_order("connections", err);
	auto_json reply = order ? give(orders, order, deadline_ns, err) : NULL;

	if (!reply)
		return error_wrap(err, "order connections");
	if (take_connections(reply, connections, err) < 0) {
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
	reply = give(orders, order, deadline_ns, err);
	return reply ? 0 : error_wrap(err, "order retire");
}
