/* SPDX-License-Identifier: GPL-2.0-or-later */
/* edgehop.yaml into struct fleet: what each key takes, and what must fit together. */
#include "migrate/config/fleet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"
#include "migrate/config/yaml.h"

#define ENTRIES_MOST 1024
#define BRIDGES_MOST 64

#define DEFAULT_SSH_PORT  22
#define DEFAULT_HOLD_NS	  (60 * NS_PER_SEC)
#define DEFAULT_RESUME_NS (300 * NS_PER_SEC)
#define DEFAULT_JOIN_NS	  (30 * NS_PER_SEC)

static const struct fleet_checkpoints default_checkpoints = {
	.size = 4ull << 30, .total = 16ull << 30, .age_ns = 7 * 24 * 3600 * NS_PER_SEC};

static int read_name(const struct yaml_node *node, char name[NAME_SIZE], struct error **err)
{
	if (!value_name(yaml_key(node), name))
		return yaml_key_error(err, node, "found this key, expected " NAME_EXPECTED);
	return 0;
}

static bool value_ssh_port(const char *text, void *into)
{
	return value_port(text, into) && *(uint16_t *)into != 0;
}

static int read_ssh(const struct yaml_node *node, void *into, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_OPTIONAL(struct fleet_ssh, user, "user", value_name, NAME_EXPECTED),
		YAML_OPTIONAL(struct fleet_ssh, identity, "identity", value_path, PATH_EXPECTED),
		YAML_OPTIONAL(struct fleet_ssh, known_hosts, "known_hosts", value_path,
			      PATH_EXPECTED),
		YAML_OPTIONAL(struct fleet_ssh, port, "port", value_ssh_port,
			      "a port from 1 to 65535"),
	};

	return yaml_read_map(node, fields, ARRAY_SIZE(fields), into, err);
}

static int read_address(const struct yaml_node *node, void *item, struct error **err)
{
	struct fleet_address *address = item;

	if (read_name(node, address->path, err) < 0)
		return -1;
	if (yaml_kind(node) != YAML_SCALAR || !value_address(yaml_text(node), &address->address))
		return yaml_unexpected(err, node, ADDRESS_EXPECTED);
	return 0;
}

static int read_bridge(const struct yaml_node *node, void *item, struct error **err)
{
	struct fleet_bridge *bridge = item;

	if (read_name(node, bridge->network, err) < 0)
		return -1;
	if (yaml_kind(node) != YAML_SCALAR || !value_device(yaml_text(node), bridge->device))
		return yaml_unexpected(err, node, DEVICE_NAME_EXPECTED);
	return 0;
}

/* `bridge`: the only network is the default one. */
static int read_only_bridge(const struct yaml_node *node, void *into, struct error **err)
{
	struct fleet_bridge *bridge = calloc(1, sizeof(*bridge));

	if (!bridge)
		return error_set(err, ENOMEM, "no memory for a bridge");
	*(struct fleet_bridge **)into = bridge;
	strcpy(bridge->network, DEFAULT_NETWORK);
	if (yaml_kind(node) != YAML_SCALAR || !value_device(yaml_text(node), bridge->device))
		return yaml_unexpected(err, node, DEVICE_NAME_EXPECTED);
	return 0;
}

static int read_fields(const struct yaml_node *node, const struct yaml_field *fields, size_t count,
		       struct fleet_host *host, struct error **err)
{
	const struct yaml_node *one = yaml_get(node, "bridge");

	if (one && yaml_get(node, "bridges"))
		return yaml_key_error(err, one, "found it beside bridges, expected one of the two");
	if (yaml_read_map(node, fields, count, host, err) < 0)
		return -1;
	if (!host->bridges)
		return yaml_missing(err, node, "bridge",
				    "found nothing, expected " DEVICE_NAME_EXPECTED
				    ", or bridges, a map from network to bridge");
	if (one)
		host->bridge_count = 1;
	return 0;
}

static int read_host(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_items addresses = {YAML_MAP, ENTRIES_MOST,
						    sizeof(struct fleet_address), read_address};
	static const struct yaml_items bridges = {YAML_MAP, BRIDGES_MOST,
						  sizeof(struct fleet_bridge), read_bridge};
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct fleet_host, site, "site", value_name, "the name of its site"),
		{.key = "bridge",
		 .optional = true,
		 .offset = offsetof(struct fleet_host, bridges),
		 .map = read_only_bridge},
		{.key = "bridges",
		 .expected = "a map from network to bridge",
		 .optional = true,
		 .offset = offsetof(struct fleet_host, bridges),
		 .count_offset = offsetof(struct fleet_host, bridge_count),
		 .items = &bridges},
		{.key = "ssh",
		 .optional = true,
		 .offset = offsetof(struct fleet_host, ssh),
		 .map = read_ssh},
		YAML_ITEMS(struct fleet_host, addresses, address_count, "addresses", addresses,
			   "a map from path to address"),
		YAML_OPTIONAL(struct fleet_host, rate_limit, "rate-limit", value_rate,
			      RATE_EXPECTED),
	};
	struct fleet_host *host = item;

	strcpy(host->ssh.user, "root");
	host->ssh.port = DEFAULT_SSH_PORT;
	if (read_name(node, host->name, err) < 0)
		return -1;
	return read_fields(node, fields, ARRAY_SIZE(fields), host, err);
}

static int read_site_host(const struct yaml_node *node, void *item, struct error **err)
{
	if (yaml_kind(node) != YAML_SCALAR || !value_name(yaml_text(node), item))
		return yaml_unexpected(err, node, "the name of a host");
	return 0;
}

static int read_site(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_items hosts = {YAML_LIST, ENTRIES_MOST, NAME_SIZE, read_site_host};
	static const struct yaml_field fields[] = {
		YAML_ITEMS(struct fleet_site, hosts, host_count, "hosts", hosts,
			   "a list of its hosts"),
	};
	struct fleet_site *site = item;

	if (read_name(node, site->name, err) < 0)
		return -1;
	return yaml_read_map(node, fields, ARRAY_SIZE(fields), site, err);
}

static int read_path(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_OPTIONAL(struct fleet_path, rate, "rate", value_rate, RATE_EXPECTED),
		YAML_OPTIONAL(struct fleet_path, rtt_ns, "rtt", value_duration, DURATION_EXPECTED),
	};
	struct fleet_path *path = item;

	if (read_name(node, path->name, err) < 0)
		return -1;
	/* "wan1:" alone is a path of which nothing is told. */
	if (yaml_kind(node) == YAML_SCALAR && !*yaml_text(node))
		return 0;
	return yaml_read_map(node, fields, ARRAY_SIZE(fields), path, err);
}

static int read_checkpoints(const struct yaml_node *node, void *into, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_OPTIONAL(struct fleet_checkpoints, size, "size", value_room, ROOM_EXPECTED),
		YAML_OPTIONAL(struct fleet_checkpoints, total, "total", value_room, ROOM_EXPECTED),
		YAML_OPTIONAL(struct fleet_checkpoints, age_ns, "age", value_age, AGE_EXPECTED),
	};

	return yaml_read_map(node, fields, ARRAY_SIZE(fields), into, err);
}

static int read_base_image(const struct yaml_node *node, void *item, struct error **err)
{
	if (yaml_kind(node) != YAML_SCALAR || !value_path(yaml_text(node), item))
		return yaml_unexpected(err, node, PATH_EXPECTED);
	return 0;
}

static int read_fleet(const struct yaml_node *root, struct fleet *fleet, struct error **err)
{
	static const struct yaml_items hosts = {YAML_MAP, ENTRIES_MOST, sizeof(struct fleet_host),
						read_host};
	static const struct yaml_items sites = {YAML_MAP, ENTRIES_MOST, sizeof(struct fleet_site),
						read_site};
	static const struct yaml_items paths = {YAML_MAP, ENTRIES_MOST, sizeof(struct fleet_path),
						read_path};
	static const struct yaml_items images = {YAML_LIST, FLEET_IMAGES_MOST, sizeof(char *),
						 read_base_image};
	static const struct yaml_field fields[] = {
		YAML_ITEMS(struct fleet, hosts, host_count, "hosts", hosts, "a map of hosts"),
		YAML_ITEMS(struct fleet, sites, site_count, "sites", sites, "a map of sites"),
		YAML_ITEMS(struct fleet, paths, path_count, "paths", paths, "a map of paths"),
		YAML_OPTIONAL(struct fleet, port, "port", value_port, PORT_EXPECTED),
		YAML_OPTIONAL(struct fleet, hold_ns, "hold", value_duration, DURATION_EXPECTED),
		YAML_OPTIONAL(struct fleet, resume_ns, "resume", value_duration_or_off,
			      DURATION_OR_OFF_EXPECTED),
		YAML_OPTIONAL(struct fleet, join_ns, "join-timeout", value_duration,
			      DURATION_EXPECTED),
		{.key = "checkpoints",
		 .optional = true,
		 .offset = offsetof(struct fleet, checkpoints),
		 .map = read_checkpoints},
		{.key = "base-images",
		 .expected = "a list of the paths of images",
		 .optional = true,
		 .offset = offsetof(struct fleet, base_images),
		 .count_offset = offsetof(struct fleet, base_image_count),
		 .items = &images},
	};

	fleet->checkpoints = default_checkpoints;
	fleet->hold_ns = DEFAULT_HOLD_NS;
	fleet->resume_ns = DEFAULT_RESUME_NS;
	fleet->join_ns = DEFAULT_JOIN_NS;
	return yaml_read_map(root, fields, ARRAY_SIZE(fields), fleet, err);
}

static bool site_has(const struct fleet_site *site, const char *host)
{
	for (size_t i = 0; i < site->host_count; i++)
		if (strcmp(site->hosts[i], host) == 0)
			return true;
	return false;
}

/* A host's site lists it, and its addresses are on paths that exist. */
static int check_host(const struct fleet *fleet, const struct yaml_node *node,
		      const struct fleet_host *host, struct error **err)
{
	const struct yaml_node *addresses = yaml_get(node, "addresses");
	const struct fleet_site *site = fleet_site(fleet, host->site, NULL);

	if (!site || !site_has(site, host->name))
		return yaml_error(err, yaml_get(node, "site"),
				  "found \"%s\", expected a site whose list of hosts has %s",
				  host->site, host->name);
	for (size_t i = 0; i < host->address_count; i++) {
		const char *path = host->addresses[i].path;

		if (!fleet_path(fleet, path))
			return yaml_key_error(
				err, yaml_get(addresses, path),
				"found an unknown path, expected one of those in paths");
	}
	return 0;
}

static int check_site(const struct fleet *fleet, const struct yaml_node *node,
		      const struct fleet_site *site, struct error **err)
{
	const struct yaml_node *entry = yaml_first(yaml_get(node, "hosts"));

	for (size_t i = 0; i < site->host_count; i++, entry = yaml_next(entry)) {
		const struct fleet_host *host = fleet_host(fleet, site->hosts[i], NULL);

		if (!host)
			return yaml_error(err, entry,
					  "found \"%s\", expected a host that hosts describes",
					  site->hosts[i]);
		if (strcmp(host->site, site->name) != 0)
			return yaml_error(err, entry,
					  "found \"%s\", which is at site %s, expected "
					  "hosts whose site is %s",
					  host->name, host->site, site->name);
	}
	return 0;
}

static int check_fleet(const struct fleet *fleet, const struct yaml_node *root, struct error **err)
{
	for (size_t i = 0; i < fleet->host_count; i++) {
		const struct fleet_host *host = &fleet->hosts[i];

		if (check_host(fleet, yaml_get(yaml_get(root, "hosts"), host->name), host, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < fleet->site_count; i++) {
		const struct fleet_site *site = &fleet->sites[i];

		if (check_site(fleet, yaml_get(yaml_get(root, "sites"), site->name), site, err) < 0)
			return -1;
	}
	return 0;
}

struct fleet *fleet_parse(const char *name, const char *text, size_t size, struct error **err)
{
	struct yaml *doc = yaml_parse(name, text, size, err);
	struct fleet *fleet = NULL;
	int status = -1;

	if (!doc)
		return NULL;
	fleet = calloc(1, sizeof(*fleet));
	if (!fleet)
		error_set(err, ENOMEM, "%s: out of memory", name);
	else if (read_fleet(yaml_root(doc), fleet, err) == 0)
		status = check_fleet(fleet, yaml_root(doc), err);
	yaml_destroy(doc);
	if (status == 0)
		return fleet;
	fleet_free(fleet);
	return NULL;
}

struct fleet *fleet_load(const char *path, struct error **err)
{
	auto_free char *text = NULL;
	char standard[PATH_MAX];
	size_t size;

	if (!path) {
		if (place(standard, err, PLACE_CONFIG) < 0)
			return NULL;
		path = standard;
	}
	text = read_file(path, YAML_TEXT_MOST, &size, err);
	return text ? fleet_parse(path, text, size, err) : NULL;
}
