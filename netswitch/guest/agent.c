/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/places.h"
#include "netswitch/guest/nic.h"
#include "netswitch/mptcp_pm.h"
#include "netswitch/rtnl.h"

#define LOG_MODULE "agent"

/*
 * Theory of operation
 *
 * An order is carried out, its reply is noted in memory and in a file under /run, and then sent.
 * Killed before the note, the agent carries a repeated order out again, which all orders bear;
 * killed after it, the next agent gives the same answer. Same order means same id and same
 * arguments: another hop may begin its numbers anew.
 */
#define VERSION_OF_ORDERS 1
#define HELLO_NICS	  16

struct agent {
	json_t *order, *reply; /* answered last; NULL: none */
};

struct order {
	const char *name;
	/* Puts the order's results into reply, which says ok by then. */
	int (*run)(const json_t *order, json_t *reply, struct error **err);
};

static int get_mac(const json_t *order, const char *key, uint8_t mac[MAC_SIZE], struct error **err)
{
	const char *text = json_get_string(order, key, err);

	if (!text || mac_parse(text, mac, err) < 0)
		return error_wrap(err, "field %s", key);
	return 0;
}

static int get_config(const json_t *item, struct ip_config *config, struct error **err)
{
	const char *address = json_get_string(item, "address", err);
	const json_t *gateway = json_object_get(item, "gateway");

	*config = (struct ip_config){0};
	if (!address || ip_parse(address, &config->address, err) < 0)
		return -1;
	if (!gateway || json_is_null(gateway))
		return 0;
	if (!json_is_string(gateway))
		return error_set(err, EPROTO, "field gateway: expected a string");
	if (ip_parse(json_string_value(gateway), &config->gateway, err) < 0)
		return error_wrap(err, "field gateway");
	if (config->gateway.family != config->address.family)
		return error_set(err, EINVAL, "%s and its gateway %s are of different families",
				 address, json_string_value(gateway));
	return 0;
}

/* The number of addresses in list. */
static int get_configs(const json_t *order, struct ip_config list[NIC_ADDRESSES],
		       struct error **err)
{
	const json_t *array = json_object_get(order, "addresses"), *item;
	size_t i, n = json_array_size(array);

	if (!json_is_array(array) || n == 0 || n > NIC_ADDRESSES)
		return error_set(err, EPROTO, "field addresses: expected a list of 1 to %d",
				 NIC_ADDRESSES);
	json_array_foreach (array, i, item) {
		if (get_config(item, &list[i], err) < 0)
			return error_wrap(err, "field addresses, entry %zu", i);
	}
	return (int)n;
}

static json_t *describe_addresses(const char *dev)
{
	auto_free struct ip_addr *addrs = NULL;
	json_t *list = json_array();
	size_t count = 0;

	if (rtnl_addr_list(dev, &addrs, &count, NULL) < 0)
		return list;
	for (size_t i = 0; i < count && i < NIC_ADDRESSES; i++) {
		char text[IP_TEXT];

		json_array_append_new(list, json_string(ip_format(&addrs[i], text)));
	}
	return list;
}

static int run_hello(const json_t *order, json_t *reply, struct error **err)
{
	static const uint8_t no_mac[MAC_SIZE];
	auto_free struct rtnl_link *links = NULL;
	json_t *nics = json_array();
	size_t count;

	(void)order;
	json_object_set_new(reply, "version", json_string(EDGEHOP_VERSION));
	json_object_set_new(reply, "features",
			    json_pack("[s,s,s,s]", "address", "announce", "joined", "retire"));
	json_object_set_new(reply, "mptcp", json_boolean(mptcp_pm_check(NULL) == 0));
	json_object_set_new(reply, "nics", nics);
	if (rtnl_link_list(&links, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count && json_array_size(nics) < HELLO_NICS; i++) {
		char mac[MAC_TEXT];

		if (links[i].loopback || memcmp(links[i].mac, no_mac, MAC_SIZE) == 0)
			continue;
		json_array_append_new(nics,
				      json_pack("{s:s,s:b,s:o}", "mac",
						mac_format(links[i].mac, mac), "up", links[i].up,
						"addresses", describe_addresses(links[i].name)));
	}
	return 0;
}

static int run_address(const json_t *order, json_t *reply, struct error **err)
{
	struct ip_config list[NIC_ADDRESSES];
	uint8_t mac[MAC_SIZE];
	int n;

	(void)reply;
	if (get_mac(order, "nic", mac, err) < 0)
		return -1;
	n = get_configs(order, list, err);
	return n < 0 ? -1 : nic_address(mac, list, (size_t)n, err);
}

static int run_announce(const json_t *order, json_t *reply, struct error **err)
{
	struct ip_config list[NIC_ADDRESSES];
	uint8_t mac[MAC_SIZE];
	int n;

	(void)reply;
	if (get_mac(order, "nic", mac, err) < 0)
		return -1;
	n = get_configs(order, list, err);
	return n < 0 ? -1 : nic_announce(mac, list, (size_t)n, err);
}

static int run_joined(const json_t *order, json_t *reply, struct error **err)
{
	uint8_t new_mac[MAC_SIZE], old_mac[MAC_SIZE];
	struct joins joins;
	json_t *waiting;

	if (get_mac(order, "nic", new_mac, err) < 0 || get_mac(order, "old", old_mac, err) < 0 ||
	    nic_joined(new_mac, old_mac, &joins, err) < 0)
		return -1;
	waiting = json_array();
	for (size_t i = 0; i < joins.named; i++)
		json_array_append_new(waiting, json_string(joins.waiting[i]));
	json_object_set_new(reply, "connections", json_integer(joins.connections));
	json_object_set_new(reply, "joined", json_integer(joins.joined));
	json_object_set_new(reply, "plain", json_integer(joins.plain));
	json_object_set_new(reply, "waiting", waiting);
	return 0;
}

static int run_retire(const json_t *order, json_t *reply, struct error **err)
{
	uint8_t old_mac[MAC_SIZE], new_mac[MAC_SIZE];

	(void)reply;
	if (get_mac(order, "nic", old_mac, err) < 0 || get_mac(order, "new", new_mac, err) < 0)
		return -1;
	return nic_retire(old_mac, new_mac, err);
}

static const struct order orders[] = {
	{"hello", run_hello},	{"address", run_address}, {"announce", run_announce},
	{"joined", run_joined}, {"retire", run_retire},
};

static int carry_out(const json_t *order, json_t *reply, struct error **err)
{
	const char *name = json_get_string(order, "order", err);
	int64_t version;

	if (!name || json_get_int(order, "edgehop", 1, INT32_MAX, &version, err) < 0)
		return -1;
	if (version != VERSION_OF_ORDERS)
		return error_set(err, EPROTONOSUPPORT,
				 "orders of version %d are understood, not of version %d",
				 VERSION_OF_ORDERS, (int)version);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		if (strcmp(orders[i].name, name) == 0)
			return orders[i].run(order, reply, err);
	}
	return error_set(err, EOPNOTSUPP, "there is no order \"%.32s\"", name);
}

/* The file that outlives this process, not the guest's boot. */
static int note_path(char path[PATH_MAX], struct error **err)
{
	return place(path, err, PLACE_RUN "/agent.json");
}

static void note(const struct agent *agent)
{
	auto_json both = json_pack("{s:O,s:O}", "order", agent->order, "reply", agent->reply);
	auto_free char *text = both ? json_dumps(both, JSON_COMPACT) : NULL;
	auto_error err = NULL;
	char path[PATH_MAX];

	/* Without the note a repeated order is carried out again: harmless, so go on. */
	if (!text || note_path(path, &err) < 0 ||
	    write_file_durably(path, text, strlen(text), &err) < 0)
		log_warn("the reply could not be noted: %s", error_text(err));
}

struct agent *agent_create(struct error **err)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	auto_free char *text = NULL;
	auto_json both = NULL;
	char path[PATH_MAX];

	if (!agent) {
		error_set(err, ENOMEM, "no memory for the agent");
		return NULL;
	}
	if (place(path, err, PLACE_RUN) < 0 || make_dirs(path, err) < 0 ||
	    note_path(path, err) < 0) {
		free(agent);
		return NULL;
	}
	text = read_file(path, (size_t)AGENT_LINE_MOST * 4, NULL, NULL);
	both = text ? json_loads(text, 0, NULL) : NULL;
	if (json_is_object(json_object_get(both, "order")) &&
	    json_is_object(json_object_get(both, "reply"))) {
		agent->order = json_incref(json_object_get(both, "order"));
		agent->reply = json_incref(json_object_get(both, "reply"));
	}
	return agent;
}

void agent_destroy(struct agent *agent)
{
	if (!agent)
		return;
	json_decref(agent->order);
	json_decref(agent->reply);
	free(agent);
}

json_t *agent_answer(struct agent *agent, const json_t *order)
{
	auto_json reply = NULL;
	auto_error err = NULL;
	int64_t id;

	if (json_get_int(order, "id", 0, INT64_MAX, &id, &err) < 0) {
		log_warn("an order without an id is ignored");
		return NULL;
	}
	if (agent->order && json_equal(agent->order, order))
		return json_incref(agent->reply);
	reply = json_pack("{s:i,s:I,s:b}", "edgehop", VERSION_OF_ORDERS, "id", (json_int_t)id, "ok",
			  1);
	if (!reply)
		return NULL;
	if (carry_out(order, reply, &err) < 0) {
		json_object_set_new(reply, "ok", json_false());
		json_object_set_new(reply, "error", json_string(error_text(err)));
	}
	json_decref(agent->order);
	json_decref(agent->reply);
	agent->order = json_deep_copy(order);
	agent->reply = json_incref(reply);
	note(agent);
	return steal_ptr(reply);
}
