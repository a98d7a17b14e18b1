/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/config/fleet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/units.h"

void fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return;
	for (size_t i = 0; i < fleet->host_count; i++) {
		free(fleet->hosts[i].ssh.identity);
		free(fleet->hosts[i].ssh.known_hosts);
		free(fleet->hosts[i].addresses);
		free(fleet->hosts[i].bridges);
	}
	for (size_t i = 0; i < fleet->site_count; i++)
		free(fleet->sites[i].hosts);
	free(fleet->hosts);
	free(fleet->sites);
	free(fleet->paths);
	for (size_t i = 0; i < fleet->base_image_count; i++)
		free(fleet->base_images[i]);
	free(fleet->base_images);
	free(fleet);
}

/* "east, west": names that stand at the start of each item of an array. */
static void join_names(const void *items, size_t count, size_t item_size, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 (const char *)items + i * item_size);
}

const struct fleet_host *fleet_host(const struct fleet *fleet, const char *name, struct error **err)
{
	char names[256];

	for (size_t i = 0; i < fleet->host_count; i++)
		if (strcmp(fleet->hosts[i].name, name) == 0)
			return &fleet->hosts[i];
	join_names(fleet->hosts, fleet->host_count, sizeof(fleet->hosts[0]), names, sizeof(names));
	error_set(err, ENOENT, "host \"%s\" is not in the fleet, expected one of %s", name, names);
	return NULL;
}

const struct fleet_site *fleet_site(const struct fleet *fleet, const char *name, struct error **err)
{
	char names[256];

	for (size_t i = 0; i < fleet->site_count; i++)
		if (strcmp(fleet->sites[i].name, name) == 0)
			return &fleet->sites[i];
	join_names(fleet->sites, fleet->site_count, sizeof(fleet->sites[0]), names, sizeof(names));
	error_set(err, ENOENT, "site \"%s\" is not in the fleet, expected one of %s", name, names);
	return NULL;
}

const struct fleet_host *fleet_self(const struct fleet *fleet, struct error **err)
{
	const char *told = getenv("EDGEHOP_HOST");
	const struct fleet_host *host;
	char name[256];

	if (told) {
		host = fleet_host(fleet, told, err);
		if (!host)
			error_wrap(err, "EDGEHOP_HOST");
		return host;
	}
	if (gethostname(name, sizeof(name)) < 0) {
		error_errno(err, "gethostname");
		return NULL;
	}
	name[sizeof(name) - 1] = '\0';
	name[strcspn(name, ".")] = '\0';
	host = fleet_host(fleet, name, err);
	if (!host)
		error_wrap(err, "this machine's host name (EDGEHOP_HOST can replace it)");
	return host;
}

const struct fleet_path *fleet_path(const struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->path_count; i++)
		if (strcmp(fleet->paths[i].name, name) == 0)
			return &fleet->paths[i];
	return NULL;
}

const struct ip_addr *fleet_address(const struct fleet_host *host, const char *path)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (strcmp(host->addresses[i].path, path) == 0)
			return &host->addresses[i].address;
	return NULL;
}

const char *fleet_bridge(const struct fleet_host *host, const char *network, struct error **err)
{
	char names[256];

	for (size_t i = 0; i < host->bridge_count; i++)
		if (strcmp(host->bridges[i].network, network) == 0)
			return host->bridges[i].device;
	join_names(host->bridges, host->bridge_count, sizeof(host->bridges[0]), names,
		   sizeof(names));
	error_set(err, ENOENT, "host %s has no bridge to network \"%s\", its bridges are to %s",
		  host->name, network, names);
	return NULL;
}

static void dump_host(const struct fleet_host *host, FILE *out)
{
	char address[IP_TEXT], rate[UNITS_TEXT];

	fprintf(out, "  %s:\n    site: %s\n    bridges:\n", host->name, host->site);
	for (size_t i = 0; i < host->bridge_count; i++)
		fprintf(out, "      %s: %s\n", host->bridges[i].network, host->bridges[i].device);
	fprintf(out, "    ssh:\n      user: %s\n      port: %u\n", host->ssh.user, host->ssh.port);
	if (host->ssh.identity)
		fprintf(out, "      identity: \"%s\"\n", host->ssh.identity);
	if (host->ssh.known_hosts)
		fprintf(out, "      known_hosts: \"%s\"\n", host->ssh.known_hosts);
	if (host->rate_limit)
		fprintf(out, "    rate-limit: %s\n", units_rate_exact(host->rate_limit, rate));
	fprintf(out, "    addresses:\n");
	for (size_t i = 0; i < host->address_count; i++) {
		fprintf(out, "      %s: \"%s\"\n", host->addresses[i].path,
			ip_format_host(&host->addresses[i].address, address));
	}
}

static void dump_path(const struct fleet_path *path, FILE *out)
{
	char buf[UNITS_TEXT];

	fprintf(out, "  %s:\n", path->name);
	if (path->rate)
		fprintf(out, "    rate: %s\n", units_rate_exact(path->rate, buf));
	if (path->rtt_ns)
		fprintf(out, "    rtt: %s\n", units_duration_exact(path->rtt_ns, buf));
}

static void dump_checkpoints(const struct fleet_checkpoints *checkpoints, FILE *out)
{
	char buf[UNITS_TEXT];

	fprintf(out, "checkpoints:\n  size: %s\n", units_bytes_exact(checkpoints->size, buf));
	fprintf(out, "  total: %s\n", units_bytes_exact(checkpoints->total, buf));
	fprintf(out, "  age: %s\n", units_duration_exact(checkpoints->age_ns, buf));
}

void fleet_dump(const struct fleet *fleet, FILE *out)
{
	char buf[UNITS_TEXT];

	fprintf(out, "hosts:\n");
	for (size_t i = 0; i < fleet->host_count; i++)
		dump_host(&fleet->hosts[i], out);
	fprintf(out, "sites:\n");
	for (size_t i = 0; i < fleet->site_count; i++) {
		fprintf(out, "  %s:\n    hosts:\n", fleet->sites[i].name);
		for (size_t j = 0; j < fleet->sites[i].host_count; j++)
			fprintf(out, "      - %s\n", fleet->sites[i].hosts[j]);
	}
	fprintf(out, "paths:\n");
	for (size_t i = 0; i < fleet->path_count; i++)
		dump_path(&fleet->paths[i], out);
	fprintf(out, "port: %u\n", fleet->port);
	fprintf(out, "hold: %s\n", units_duration_exact(fleet->hold_ns, buf));
	fprintf(out, "resume: %s\n",
		fleet->resume_ns ? units_duration_exact(fleet->resume_ns, buf) : "off");
	fprintf(out, "join-timeout: %s\n", units_duration_exact(fleet->join_ns, buf));
	dump_checkpoints(&fleet->checkpoints, out);
	fprintf(out, "base-images:%s\n", fleet->base_image_count ? "" : " []");
	for (size_t i = 0; i < fleet->base_image_count; i++)
		fprintf(out, "  - \"%s\"\n", fleet->base_images[i]);
}
