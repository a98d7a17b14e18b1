/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/vm/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/jsonl.h"
#include "migrate/vm/vm_store.h"

#define OWNER_VERSION	1
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

static int parse(const char *text, size_t size, struct owner *owner, struct error **err)
{
	json_error_t why;
	auto_json object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
	struct owner o = {0};
	int64_t version, epoch;

	if (!json_is_object(object))
		return error_set(err, EINVAL, "found %s, expected a JSON object",
				 object ? "another type" : why.text);
	if (json_get_int(object, "edgehop-owner", OWNER_VERSION, OWNER_VERSION, &version, err) <
		    0 ||
	    json_get_int(object, "epoch", 1, INT64_MAX, &epoch, err) < 0 ||
	    get_checked(object, "vm", value_uuid, o.vm, err) < 0 ||
	    get_checked(object, "owner", value_uuid, o.host, err) < 0 ||
	    get_checked(object, "nic", value_name, o.nic, err) < 0 ||
	    get_checked(object, "site", value_name, o.site, err) < 0)
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

int owner_write_in(const char *folder, const struct owner *owner, struct error **err)
{
	auto_json object = json_pack("{s:i s:s s:I s:s s:s s:s}", "edgehop-owner", OWNER_VERSION,
				     "vm", owner->vm, "epoch", (json_int_t)owner->epoch, "owner",
				     owner->host, "nic", owner->nic, "site", owner->site);
	auto_free char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	auto_free char *path = NULL;

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
				 "), this is host %s",
				 vm, owner->host, owner->site, owner->epoch, self);
	return 0;
}
