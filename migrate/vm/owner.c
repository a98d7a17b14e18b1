/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/vm/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/jsonl.h"
#include "common/seal.h"
#include "migrate/vm/vm_store.h"

#define OWNER_VERSION	2
#define OWNER_OLDEST	1
#define OWNER_TEXT_MOST 4096

/* One string field through the check that its kind of value has. */
static int get_checked(const json_t *object, const char *key,
		       bool (*check)(const char *text, void *into), void *into, struct error **err)
{
	const char *text = json_get_string(object, key, err);

	if (!text)
		return -1;
	if (!check(text, into))
		return error_set(err, EINVAL, "field %s: found \"%.64s\", expected a %s", key, text,
				 check == value_uuid ? "UUID" : "name");
	return 0;
}

const char *owner_nic(const struct owner *owner, const char *network)
{
	for (size_t i = 0; i < owner->nic_count; i++)
		if (strcmp(owner->nics[i].network, network) == 0)
			return owner->nics[i].nic;
	return NULL;
}

void owner_set_nic(struct owner *owner, const char *network, const char *nic)
{
	size_t i = 0;

	while (i < owner->nic_count && strcmp(owner->nics[i].network, network) != 0)
		i++;
	if (i == OWNER_NICS_MOST)
		return;
	snprintf(owner->nics[i].network, NAME_SIZE, "%s", network);
	snprintf(owner->nics[i].nic, NAME_SIZE, "%s", nic);
	if (i == owner->nic_count)
		owner->nic_count++;
}

static int parse_nics(const json_t *object, struct owner *owner, struct error **err)
{
	json_t *map = json_object_get(object, "nics"), *value;
	char network[NAME_SIZE], nic[NAME_SIZE];
	const char *key;

	if (!json_is_object(map) || json_object_size(map) > OWNER_NICS_MOST)
		return error_set(err, EINVAL,
				 "field nics: expected a map from network to vNIC, of at most %d",
				 OWNER_NICS_MOST);
	json_object_foreach (map, key, value) {
		const char *text = json_string_value(value);

		if (!value_name(key, network) || !text || !value_name(text, nic))
			return error_set(err, EINVAL,
					 "field nics: found \"%.64s\" of \"%.64s\", expected names",
					 text ? text : "no string", key);
		owner_set_nic(owner, network, nic);
	}
	return 0;
}

static int parse_first_version(const json_t *object, struct owner *owner, struct error **err)
{
	char nic[NAME_SIZE];

	if (get_checked(object, "nic", value_name, nic, err) < 0)
		return -1;
	owner_set_nic(owner, DEFAULT_NETWORK, nic);
	return 0;
}

static int parse(const char *text, size_t size, struct owner *owner, struct error **err)
{
	json_error_t why;
	auto_json object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	struct owner o = {0};
	int64_t version, epoch;

	if (!json_is_object(object))
		return error_set(err, EINVAL, "found %s, expected a JSON object",
				 object ? "another type" : why.text);
	/* The first version had no sum. */
	if (json_get_int(object, "edgehop-owner", OWNER_OLDEST, OWNER_VERSION, &version, err) < 0 ||
	    seal_check(object, version > OWNER_OLDEST, err) < 0 ||
	    json_get_int(object, "epoch", 1, INT64_MAX, &epoch, err) < 0 ||
	    get_checked(object, "vm", value_uuid, o.vm, err) < 0 ||
	    get_checked(object, "owner", value_uuid, o.host, err) < 0 ||
	    get_checked(object, "site", value_name, o.site, err) < 0 ||
	    (version == 1 ? parse_first_version(object, &o, err) : parse_nics(object, &o, err)) < 0)
		return -1;
	if (json_object_get(object, "home") &&
	    get_checked(object, "home", value_name, o.home, err) < 0)
		return -1;
	if (json_object_get(object, "owner-name") &&
	    get_checked(object, "owner-name", value_name, o.host_name, err) < 0)
		return -1;
	o.epoch = (uint64_t)epoch;
	*owner = o;
	return 0;
}

int owner_read(const char *vm, struct owner *owner, struct error **err)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	if (vm_store_path(path, vm, "owner.json", err) < 0)
		return -1;
	text = read_file(path, OWNER_TEXT_MOST, &size, err);
	if (!text)
		return -1;
	if (parse(text, size, owner, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

static json_t *owner_to_json(const struct owner *owner)
{
	json_t *nics = json_object();
	json_t *object;

	for (size_t i = 0; i < owner->nic_count; i++)
		json_object_set_new(nics, owner->nics[i].network, json_string(owner->nics[i].nic));
	object = json_pack("{s:i s:s s:I s:s s:s s:o}", "edgehop-owner", OWNER_VERSION, "vm",
			   owner->vm, "epoch", (json_int_t)owner->epoch, "owner", owner->host,
			   "site", owner->site, "nics", nics);
	if (object && owner->home[0])
		json_object_set_new(object, "home", json_string(owner->home));
	if (object && owner->host_name[0])
		json_object_set_new(object, "owner-name", json_string(owner->host_name));
	return object;
}

int owner_write_in(const char *folder, const struct owner *owner, struct error **err)
{
	auto_json object = owner_to_json(owner);
	auto_free char *text = NULL;
	auto_free char *path = NULL;

	if (object && seal_add(object, err) < 0)
		return error_wrap(err, "%s", folder);
	text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (!text || asprintf(&path, "%s/owner.json", folder) < 0)
		return error_set(err, ENOMEM, "%s: can't encode the ownership", folder);
	return write_file_durably(path, text, strlen(text), err);
}

int owner_write(const char *vm, const struct owner *owner, struct error **err)
{
	auto_error ignored = NULL;
	char folder[PATH_MAX];
	struct owner stored;

	if (vm_store_path(folder, vm, NULL, err) < 0)
		return -1;
	if (owner_read(vm, &stored, &ignored) == 0 && strcmp(stored.vm, owner->vm) == 0 &&
	    stored.epoch > owner->epoch)
		return error_set(err, ESTALE,
				 "VM %s: ownership of epoch %" PRIu64 " is stored, %" PRIu64
				 " is older; nothing was written",
				 vm, stored.epoch, owner->epoch);
	return owner_write_in(folder, owner, err);
}

int owner_require_self(const char *vm, struct owner *owner, struct error **err)
{
	char self[UUID_SIZE];

	if (uuid_of_host(self, err) < 0 || owner_read(vm, owner, err) < 0)
		return -1;
	if (strcmp(owner->host, self) != 0)
		return error_set(err, EPERM,
				 "VM %s belongs to host %s at site %s (epoch %" PRIu64
				 "), not to this one",
				 vm, *owner->host_name ? owner->host_name : owner->host,
				 owner->site, owner->epoch);
	return 0;
}
