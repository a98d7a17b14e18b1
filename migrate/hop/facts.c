/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/facts.h"

#include <errno.h>
#include <stddef.h>
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
	{"old-nic", offsetof(struct hop_facts, old_nic), value_name},
	{"new-nic", offsetof(struct hop_facts, new_nic), value_name},
	{"first-path", offsetof(struct hop_facts, first_path), value_name},
};

static const char *const side_names[] = {
	[HOP_SOURCE] = "source",
	[HOP_DESTINATION] = "destination",
};

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
	if (vm_def_nic(facts->vm, facts->old_nic, err) < 0 ||
	    vm_def_nic(facts->vm, facts->new_nic, err) < 0 ||
	    !vm_def_site(facts->vm, facts->source_site, err) ||
	    !vm_def_site(facts->vm, facts->destination_site, err))
		return -1;
	if (strcmp(facts->old_nic, facts->new_nic) == 0)
		return error_set(err, EINVAL, "old and new vNIC are both %s, expected two",
				 facts->old_nic);
	return 0;
}

struct hop_facts *hop_facts_from_json(const json_t *json, enum hop_side *side, struct error **err)
{
	auto_facts facts = calloc(1, sizeof(*facts));
	const char *text = json_get_string(json, "vm", err);
	int64_t epoch;

	if (!facts || !text)
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
	if (!text || check(facts, err) < 0)
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

const struct vm_site *hop_old_site(const struct hop_facts *facts)
{
	return vm_def_site(facts->vm, facts->source_site, NULL);
}

const struct vm_site *hop_new_site(const struct hop_facts *facts)
{
	return vm_def_site(facts->vm, facts->destination_site, NULL);
}

unsigned hop_old_nic(const struct hop_facts *facts)
{
	return (unsigned)vm_def_nic(facts->vm, facts->old_nic, NULL);
}

unsigned hop_new_nic(const struct hop_facts *facts)
{
	return (unsigned)vm_def_nic(facts->vm, facts->new_nic, NULL);
}

static struct owner ownership(const struct hop_facts *facts, uint64_t epoch, enum hop_side side)
{
	struct owner owner = {.epoch = epoch};
	bool here = side == HOP_SOURCE;

	memcpy(owner.vm, facts->vm->uuid, sizeof(owner.vm));
	memcpy(owner.host, here ? facts->source_uuid : facts->destination_uuid, UUID_SIZE);
	memcpy(owner.nic, here ? facts->old_nic : facts->new_nic, NAME_SIZE);
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
