/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/places.h"
#include "netswitch/guest/connections.h"
#include "netswitch/guest/dhcp.h"
#include "netswitch/guest/nic.h"
#include "netswitch/mptcp_pm.h"
#include "netswitch/rtnl.h"
#include "netswitch/ip-json.h"

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
#define LEASE_MS	  500 /* the host asks again after a second */

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

/* The number of addresses in list; none only where DHCP is to give some. */
static int get_configs(const json_t *order, bool dhcp, struct ip_config list[NIC_ADDRESSES],
		       struct error **err)
{
	const json_t *array = json_object_get(order, "addresses"), *item;
	size_t i, n = json_array_size(array), least = dhcp ? 0 : 1;

	if ((array && !json_is_array(array)) || n < least || n >= NIC_ADDRESSES)
		return error_set(err, EPROTO, "field addresses: expected a list of %zu to %d",
				 least, NIC_ADDRESSES - 1);
	json_array_foreach (array, i, item) {
		if (get_config(item, &list[i], err) < 0)
			return error_wrap(err, "field addresses, entry %zu", i);
	}
	return (int)n;
}

/* "dhcp": [4] */
static int get_dhcp(const json_t *order, bool *dhcp, struct error **err)
{
	const json_t *families = json_object_get(order, "dhcp"), *family;
	size_t i;

	*dhcp = json_array_size(families) > 0;
	if (families && !json_is_array(families))
		return error_set(err, EPROTO, "field dhcp: expected a list");
	json_array_foreach (families, i, family) {
		if (json_integer_value(family) != 4)
			return error_set(err, EOPNOTSUPP,
					 "field dhcp: found something else, expected 4");
	}
	return 0;
}

/* What "addresses" and "gateways" of hello's vNICs say. */
static void describe_addresses(const struct rtnl_link *link, json_t *nic)
{
	struct ip_config list[NIC_ADDRESSES];
	size_t count = nic_list(link, list, NIC_ADDRESSES);
	json_t *addresses = json_array(), *gateways = json_array();

	for (size_t i = 0; i < count; i++) {
		char text[IP_TEXT];

		json_array_append_new(addresses, json_string(ip_format(&list[i].address, text)));
		json_array_append_new(gateways,
				      json_string(list[i].gateway.family
							  ? ip_format_host(&list[i].gateway, text)
							  : ""));
	}
	json_object_set_new(nic, "addresses", addresses);
	json_object_set_new(nic, "gateways", gateways);
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
			    json_pack("[s,s,s,s,s,s*]", "address", "announce", "joined", "retire",
				      "connections", dhcp_available() ? "dhcp" : NULL));
	json_object_set_new(reply, "mptcp", json_boolean(mptcp_pm_check(NULL) == 0));
	json_object_set_new(reply, "nics", nics);
	if (rtnl_link_list(&links, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count && json_array_size(nics) < HELLO_NICS; i++) {
		char mac[MAC_TEXT];
		json_t *nic;

		if (links[i].loopback || memcmp(links[i].mac, no_mac, MAC_SIZE) == 0)
			continue;
		nic = json_pack("{s:s,s:b}", "mac", mac_format(links[i].mac, mac), "up",
				links[i].up);
		describe_addresses(&links[i], nic);
		json_array_append_new(nics, nic);
	}
	return 0;
}

/* DHCP's address comes after those that were told. Waits for it only shortly: EAGAIN. */
static int add_lease(const uint8_t *mac, struct ip_config *list, int *n, struct error **err)
{
	struct rtnl_link link;

	if (rtnl_link_by_mac(mac, &link, err) < 0 || rtnl_link_up(link.name, err) < 0 ||
	    dhcp_start(link.name, err) < 0 ||
	    dhcp_lease(link.name, &list[*n], clock_ns() + LEASE_MS * NS_PER_MS, err) < 0)
		return -1;
	(*n)++;
	return 0;
}

/* The reply's "addresses": what the vNIC has got by the order. */
static void put_configs(json_t *reply, const struct ip_config *list, int n)
{
	json_object_set_new(reply, "addresses", ip_configs_to_json(list, (size_t)n));
}

/* set: what is done with vNIC and addresses. */
static int set_up_nic(const json_t *order, json_t *reply,
		      int (*set)(const uint8_t *mac, const struct ip_config *list, size_t n,
				 bool beside, struct error **err),
		      struct error **err)
{
	struct ip_config list[NIC_ADDRESSES];
	uint8_t mac[MAC_SIZE];
	bool dhcp;
	int n;

	if (get_mac(order, "nic", mac, err) < 0 || get_dhcp(order, &dhcp, err) < 0)
		return -1;
	n = get_configs(order, dhcp, list, err);
	if (n < 0 || (dhcp && add_lease(mac, list, &n, err) < 0) ||
	    set(mac, list, (size_t)n, json_is_true(json_object_get(order, "beside")), err) < 0)
		return -1;
	put_configs(reply, list, n);
	return 0;
}

static int run_address(const json_t *order, json_t *reply, struct error **err)
{
	return set_up_nic(order, reply, nic_address, err);
}

static int run_announce(const json_t *order, json_t *reply, struct error **err)
{
	return set_up_nic(order, reply, nic_announce, err);
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
	return nic_retire(old_mac, new_mac, json_is_true(json_object_get(order, "force")), err);
}

static int run_connections(const json_t *order, json_t *reply, struct error **err)
{
	struct connections found;
	json_t *list = json_array();

	(void)order;
	json_object_set_new(reply, "list", list);
	if (connections_list(&found, err) < 0)
		return -1;
	for (size_t i = 0; i < found.listed; i++) {
		const struct connection_entry *entry = &found.list[i];

		json_array_append_new(
			list, json_pack("{s:s,s:s,s:b,s:i,s:b,s:b}", "local", entry->local, "peer",
					entry->peer, "mptcp", entry->mptcp, "subflows",
					(int)entry->subflows, "opened_here", entry->opened_here,
					"peer_joined", entry->peer_joined));
	}
	json_object_set_new(reply, "mptcp", json_integer(found.mptcp));
	json_object_set_new(reply, "plain", json_integer(found.plain));
	return 0;
}

static const struct order orders[] = {
	{"hello", run_hello},	{"address", run_address}, {"announce", run_announce},
	{"joined", run_joined}, {"retire", run_retire},	  {"connections", run_connections},
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

/* Since the guest booted: a host that moved it just now sees whether it restarted since. */
static int64_t uptime_ms(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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
	reply = json_pack("{s:i,s:I,s:b,s:I}", "edgehop", VERSION_OF_ORDERS, "id", (json_int_t)id,
			  "ok", 1, "uptime_ms", (json_int_t)uptime_ms());
	if (!reply)
		return NULL;
	if (carry_out(order, reply, &err) < 0) {
		json_object_set_new(reply, "ok", json_false());
		json_object_set_new(reply, "error", json_string(error_text(err)));
		if (err->code == EAGAIN)
			json_object_set_new(reply, "again", json_true());
	}
	json_decref(agent->order);
	json_decref(agent->reply);
	agent->order = json_deep_copy(order);
	agent->reply = json_incref(reply);
	note(agent);
	return steal_ptr(reply);
}
