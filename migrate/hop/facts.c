/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/facts.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/jsonl.h"

/* The text fields: key, place, and what the text must be. */
static const struct {
	const char *key;
	size_t offset;
	bool (*read)(const char *text, void *into);
} fields[] = {
	{"hop", offsetof(struct hop_facts, hop), value_uuid},
	{"source", offsetof(struct hop_facts, source), value_name},
	{"destination", offsetof(struct hop_facts, destination), value_name},
	{"source-site", offsetof(struct hop_facts, source_site), value_name},
	{"destination-site", offsetof(struct hop_facts, destination_site), value_name},
	{"source-uuid", offsetof(struct hop_facts, source_uuid), value_uuid},
	{"destination-uuid", offsetof(struct hop_facts, destination_uuid), value_uuid},
	{"first-path", offsetof(struct hop_facts, first_path), value_name},
};

static const char *const side_names[] = {
	[HOP_SOURCE] = "source",
	[HOP_DESTINATION] = "destination",
};

const char *hop_side_name(enum hop_side side)
{
	return side_names[side];
}

/* Further ones, which may be missing: "" then. */
static const struct {
	const char *key;
	size_t offset;
	bool (*read)(const char *text, void *into);
} optional[] = {
	{"home", offsetof(struct hop_facts, home), value_name},
	{"supersedes", offsetof(struct hop_facts, supersedes), value_uuid},
};

static int add_legs(const struct hop_facts *facts, json_t *json)
{
	json_t *legs = json_array();

	for (size_t i = 0; i < facts->leg_count; i++)
		if (json_array_append_new(legs, leg_to_json(&facts->legs[i])) < 0) {
			json_decref(legs);
			return -1;
		}
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++) {
		const char *text = (const char *)facts + optional[i].offset;

		if (*text && json_object_set_new(json, optional[i].key, json_string(text)) < 0) {
			json_decref(legs);
			return -1;
		}
	}
	return json_object_set_new(json, "legs", legs);
}

json_t *hop_facts_to_json(const struct hop_facts *facts, enum hop_side side, struct error **err)
{
	json_t *json = json_pack("{s:s, s:I, s:s#}", "side", side_names[side], "epoch",
				 (json_int_t)facts->epoch, "vm", facts->vm->text,
				 (int)facts->vm->text_size);

	for (size_t i = 0; json && i < ARRAY_SIZE(fields); i++) {
		const char *text = (const char *)facts + fields[i].offset;

		if (json_object_set_new(json, fields[i].key, json_string(text)) < 0) {
			json_decref(json);
			json = NULL;
		}
	}
	if (json && add_legs(facts, json) < 0) {
		json_decref(json);
		json = NULL;
	}
	if (!json)
		error_set(err, ENOMEM, "the facts of hop %s can't be encoded", facts->hop);
	return json;
}

/* What only makes sense together. */
static int check(const struct hop_facts *facts, struct error **err)
{
	if (strcmp(facts->source, facts->destination) == 0)
		return error_set(err, EINVAL,
				 "source and destination are both %s, expected two "
				 "hosts",
				 facts->source);
	if (facts->leg_count == 0)
		return error_set(err, EINVAL, "field legs: found none, expected some");
	for (size_t i = 0; i < facts->leg_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(facts->legs[i].network, facts->legs[j].network) == 0)
				return error_set(err, EINVAL, "network %s: found it in two legs",
						 facts->legs[i].network);
	return 0;
}

static int read_legs(const json_t *legs, struct hop_facts *facts, struct error **err)
{
	if (json_array_size(legs) > ARRAY_SIZE(facts->legs))
		return error_set(err, EPROTO, "field legs: found %zu, expected at most %zu",
				 json_array_size(legs), ARRAY_SIZE(facts->legs));
	for (size_t i = 0; i < json_array_size(legs); i++, facts->leg_count++)
		if (leg_from_json(json_array_get(legs, i), facts->vm, &facts->legs[i], err) < 0)
			return error_wrap(err, "field legs, entry %zu", i);
	return 0;
}

/* A journal of the first version: one network, whose addresses stand in the VM's definition. */
static int read_first_version(const json_t *json, struct hop_facts *facts, struct error **err)
{
	const struct vm_site *from = vm_def_site(facts->vm, facts->source_site, err);
	const struct vm_site *to =
		from ? vm_def_site(facts->vm, facts->destination_site, err) : NULL;
	const char *old_nic = to ? json_get_string(json, "old-nic", err) : NULL;
	const char *new_nic = old_nic ? json_get_string(json, "new-nic", err) : NULL;
	struct leg *leg = &facts->legs[0];

	if (!new_nic)
		return -1;
	if (!value_name(old_nic, leg->old_nic) || !value_name(new_nic, leg->new_nic))
		return error_set(err, EPROTO,
				 "fields old-nic, new-nic: found \"%.64s\", \"%.64s\", expected "
				 "names",
				 old_nic, new_nic);
	strcpy(leg->network, DEFAULT_NETWORK);
	leg->kind = LEG_SWITCH;
	leg->old_count = vm_site_addresses(from, leg->network, leg->old);
	leg->new_count = vm_site_addresses(to, leg->network, leg->new);
	facts->leg_count = 1;
	return leg_check(leg, facts->vm, err);
}

static int read_optional(const json_t *json, struct hop_facts *facts, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++) {
		const json_t *value = json_object_get(json, optional[i].key);

		if (value && (!json_is_string(value) ||
			      !optional[i].read(json_string_value(value),
						(char *)facts + optional[i].offset)))
			return error_set(err, EPROTO, "field %s: expected a %s", optional[i].key,
					 optional[i].read == value_uuid ? "UUID" : "name");
	}
	return 0;
}

struct hop_facts *hop_facts_from_json(const json_t *json, enum hop_side *side, struct error **err)
{
	auto_facts facts = calloc(1, sizeof(*facts));
	const char *text;
	int64_t epoch;

	if (!facts) {
		error_set(err, ENOMEM, "no memory for a hop");
		return NULL;
	}
	text = json_get_string(json, "vm", err);
	if (!text)
		return NULL;
	facts->vm = vm_def_parse("the hop's vm.yaml", text, strlen(text), err);
	if (!facts->vm || json_get_int(json, "epoch", 1, INT64_MAX / 2, &epoch, err) < 0)
		return NULL;
	facts->epoch = (uint64_t)epoch;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		text = json_get_string(json, fields[i].key, err);
		if (!text)
			return NULL;
		if (!fields[i].read(text, (char *)facts + fields[i].offset)) {
			error_set(err, EPROTO, "field %s: found \"%.64s\", expected a %s",
				  fields[i].key, text,
				  fields[i].read == value_uuid ? "UUID" : "name");
			return NULL;
		}
	}
	text = json_get_string(json, "side", err);
	if (!text || read_optional(json, facts, err) < 0)
		return NULL;
	if ((json_object_get(json, "legs") ? read_legs(json_object_get(json, "legs"), facts, err)
					   : read_first_version(json, facts, err)) < 0 ||
	    check(facts, err) < 0)
		return NULL;
	if (side)
		*side = strcmp(text, side_names[HOP_DESTINATION]) == 0 ? HOP_DESTINATION
								       : HOP_SOURCE;
	return steal_ptr(facts);
}

void hop_facts_free(struct hop_facts *facts)
{
	if (!facts)
		return;
	vm_def_free(facts->vm);
	free(facts);
}

bool hop_has_tunnel(const struct hop_facts *facts)
{
	for (size_t i = 0; i < facts->leg_count; i++)
		if (leg_in_tunnel(&facts->legs[i]))
			return true;
	return false;
}

/* Where the addresses of a VM without an agent are from, as its owner at that side has it. */
static const char *home_at(const struct hop_facts *facts, enum hop_side side)
{
	const char *home = facts->home[0] ? facts->home : facts->source_site;

	if (facts->vm->agent)
		return "";
	if (side == HOP_SOURCE)
		return facts->home;
	return strcmp(home, facts->destination_site) == 0 ? "" : home;
}

static struct owner ownership(const struct hop_facts *facts, uint64_t epoch, enum hop_side side)
{
	struct owner owner = {.epoch = epoch};
	bool here = side == HOP_SOURCE;

	memcpy(owner.vm, facts->vm->uuid, sizeof(owner.vm));
	memcpy(owner.host, here ? facts->source_uuid : facts->destination_uuid, UUID_SIZE);
	memcpy(owner.host_name, here ? facts->source : facts->destination, NAME_SIZE);
	for (size_t i = 0; i < facts->leg_count; i++)
		owner_set_nic(&owner, facts->legs[i].network,
			      here ? facts->legs[i].old_nic : facts->legs[i].new_nic);
	snprintf(owner.home, sizeof(owner.home), "%s", home_at(facts, side));
	memcpy(owner.site, here ? facts->source_site : facts->destination_site, NAME_SIZE);
	return owner;
}

struct owner hop_owner_source(const struct hop_facts *facts)
{
	return ownership(facts, facts->epoch, HOP_SOURCE);
}

struct owner hop_owner_accepted(const struct hop_facts *facts)
{
	return ownership(facts, facts->epoch + 1, HOP_DESTINATION);
}

struct owner hop_owner_retaken(const struct hop_facts *facts)
{
	return ownership(facts, facts->epoch + 2, HOP_SOURCE);
}
