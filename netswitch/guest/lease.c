/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/lease.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/jsonl.h"
#include "common/places.h"
#include "netswitch/guest/nic.h"
#include "netswitch/rtnl.h"

#define NOTE_MOST 1024

static int note_path(char path[PATH_MAX], const char *dev, struct error **err)
{
	return place(path, err, PLACE_RUN "/lease-%s", dev);
}

bool lease_read(const char *dev, struct ip_config *lease)
{
	char path[PATH_MAX];
	auto_free char *text =
		note_path(path, dev, NULL) < 0 ? NULL : read_file(path, NOTE_MOST, NULL, NULL);
	auto_json json = text ? json_loads(text, 0, NULL) : NULL;
	const char *address = json_get_string(json, "address", NULL);
	const char *gateway = json_string_value(json_object_get(json, "gateway"));

	memset(lease, 0, sizeof(*lease));
	if (!address || ip_parse(address, &lease->address, NULL) < 0)
		return false;
	return !gateway || ip_parse(gateway, &lease->gateway, NULL) == 0;
}

static int note(const char *dev, const struct ip_config *lease, struct error **err)
{
	char path[PATH_MAX], address[IP_TEXT], gateway[IP_TEXT];
	auto_json json = json_pack("{s:s}", "address", ip_format(&lease->address, address));
	auto_free char *text = NULL;

	if (json && lease->gateway.family)
		json_object_set_new(json, "gateway",
				    json_string(ip_format_host(&lease->gateway, gateway)));
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	if (!text)
		return error_set(err, ENOMEM, "no memory for the note of a lease");
	if (note_path(path, dev, err) < 0)
		return -1;
	return write_file_durably(path, text, strlen(text), err);
}

void lease_forget(const char *dev)
{
	char path[PATH_MAX];

	if (note_path(path, dev, NULL) == 0)
		unlink(path);
}

int lease_set(const char *dev, const struct ip_config *lease, struct error **err)
{
	struct ip_config before;
	bool had = lease_read(dev, &before);
	bool same = had && ip_same(&before.address, &lease->address);

	if (nic_take_lease(dev, lease, had && !same ? &before.address : NULL, err) < 0)
		return -1;
	return note(dev, lease, err);
}

int lease_lost(const char *dev, struct error **err)
{
	struct ip_config before;

	if (!lease_read(dev, &before))
		return 0;
	lease_forget(dev);
	return nic_drop_lease(dev, &before.address, err);
}
