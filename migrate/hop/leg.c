/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/leg.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/jsonl.h"
#include "netswitch/ip-json.h"

static const char *const kind_names[LEG_KINDS] = {
	[LEG_SWITCH] = "switch",
	[LEG_FIXED] = "fixed",
	[LEG_TUNNEL] = "tunnel",
};

json_t *leg_to_json(const struct leg *leg)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "network", leg->network, "kind",
				 kind_names[leg->kind], "old-nic", leg->old_nic, "new-nic",
				 leg->new_nic, "old", ip_configs_to_json(leg->old, leg->old_count),
				 "new", ip_configs_to_json(leg->new, leg->new_count));

	if (json && leg->new_dhcp)
		json_object_set_new(json, "dhcp", json_pack("[i]", 4));
	return json;
}

static int read_name(const json_t *json, const char *key, char name[NAME_SIZE], struct error **err)
{
	const char *text = json_get_string(json, key, err);

	if (!text)
		return -1;
	if (!value_name(text, name))
		return error_set(err, EPROTO, "field %s: found \"%.64s\", expected a name", key,
				 text);
	return 0;
}

static int read_addresses(const json_t *json, const char *key,
			  struct ip_config list[LEG_ADDRESSES_MOST], size_t *count,
			  struct error **err)
{
	const json_t *array = json_object_get(json, key), *item;
	size_t i;

	if (!json_is_array(array) || json_array_size(array) > LEG_ADDRESSES_MOST)
		return error_set(err, EPROTO, "field %s: expected a list of at most %d addresses",
				 key, LEG_ADDRESSES_MOST);
	json_array_foreach (array, i, item) {
		const char *address = json_get_string(item, "address", err);
		const char *gateway = json_string_value(json_object_get(item, "gateway"));

		if (!address || ip_parse(address, &list[i].address, err) < 0 ||
		    (gateway && ip_parse(gateway, &list[i].gateway, err) < 0))
			return error_wrap(err, "field %s", key);
		if (gateway && list[i].gateway.family != list[i].address.family)
			return error_set(err, EPROTO,
					 "field %s: found gateway %.64s of %.64s, expected one "
					 "of the address's family",
					 key, gateway, address);
		(*count)++;
	}
	return 0;
}

static int read_kind(const json_t *json, enum leg_kind *kind, struct error **err)
{
	const char *text = json_get_string(json, "kind", err);

	if (!text)
		return -1;
	for (*kind = 0; *kind < LEG_KINDS; (*kind)++)
		if (strcmp(text, kind_names[*kind]) == 0)
			return 0;
	return error_set(err, EPROTO,
			 "field kind: found \"%.32s\", expected switch, fixed or tunnel", text);
}

int leg_from_json(const json_t *json, const struct vm_def *vm, struct leg *leg, struct error **err)
{
	memset(leg, 0, sizeof(*leg));
	if (read_name(json, "network", leg->network, err) < 0 ||
	    read_kind(json, &leg->kind, err) < 0 ||
	    read_name(json, "old-nic", leg->old_nic, err) < 0 ||
	    read_name(json, "new-nic", leg->new_nic, err) < 0 ||
	    read_addresses(json, "old", leg->old, &leg->old_count, err) < 0 ||
	    read_addresses(json, "new", leg->new, &leg->new_count, err) < 0)
		return -1;
	leg->new_dhcp = json_array_size(json_object_get(json, "dhcp")) > 0;
	return leg_check(leg, vm, err);
}

static int check_nic(const struct leg *leg, const char *name, const struct vm_def *vm,
		     struct error **err)
{
	int nic = vm_def_nic(vm, name, err);

	if (nic < 0)
		return -1;
	if (strcmp(vm->nics[nic].network, leg->network) != 0)
		return error_set(err, EINVAL, "vNIC %s: found it on network %s, expected it on %s",
				 name, vm->nics[nic].network, leg->network);
	return 0;
}

int leg_check(const struct leg *leg, const struct vm_def *vm, struct error **err)
{
	bool same = strcmp(leg->old_nic, leg->new_nic) == 0;

	if (check_nic(leg, leg->old_nic, vm, err) < 0 || check_nic(leg, leg->new_nic, vm, err) < 0)
		return -1;
	if (leg->kind == LEG_SWITCH && same)
		return error_set(err, EINVAL, "old and new vNIC are both %s, expected two",
				 leg->old_nic);
	if (leg->kind != LEG_SWITCH && !same)
		return error_set(err, EINVAL, "old and new vNIC are %s and %s, expected one",
				 leg->old_nic, leg->new_nic);
	if (leg->kind == LEG_SWITCH && leg->new_count == 0 && !leg->new_dhcp)
		return error_set(err, EINVAL,
				 "network %s: found no new address, expected one for vNIC %s",
				 leg->network, leg->new_nic);
	return 0;
}
