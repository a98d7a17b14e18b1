/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/replies.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/jsonl.h"
#include "netswitch/ip.h"

void reply_text(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	to[i] = '\0';
}

/* text may be NULL. */
static int take_address(const char *text, struct ip_addr *addr, struct error **err)
{
	char clean[IP_TEXT];

	reply_text(clean, sizeof(clean), text ? text : "");
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
	reply_text(clean, sizeof(clean), mac);
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

int reply_hello(const json_t *reply, struct guest_hello *hello, struct error **err)
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
	reply_text(hello->version, sizeof(hello->version), version);
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

int reply_got(const json_t *reply, const struct guest_wants *wants, struct guest_got *got,
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

int reply_joined(const json_t *reply, struct join_state *state, struct error **err)
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
			reply_text(state->waiting[state->waiting_count++], GUEST_TEXT,
				   json_string_value(item));
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
	reply_text(connection->local, sizeof(connection->local), local);
	reply_text(connection->peer, sizeof(connection->peer), peer);
	connection->subflows = (unsigned int)subflows;
	connection->mptcp = json_is_true(json_object_get(item, "mptcp"));
	connection->opened_here = json_is_true(json_object_get(item, "opened_here"));
	connection->peer_joined = json_is_true(json_object_get(item, "peer_joined"));
	return 0;
}

int reply_connections(const json_t *reply, struct guest_connections *connections,
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
