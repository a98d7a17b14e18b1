/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CONFIG_FLEET_H
#define MIGRATE_CONFIG_FLEET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "migrate/config/values.h"
#include "netswitch/ip.h"

/*
 * The fleet, the same file on every host (PLACE_CONFIG): sites, their hosts, the paths between
 * them. Plain data that nobody changes after fleet_load.
 */

/* How SSH reaches a host. */
struct fleet_ssh {
	char user[NAME_SIZE]; /* default root */
	char *identity;	      /* private key's file; NULL: ssh's own choice */
	char *known_hosts;    /* NULL: ssh's own choice */
	uint16_t port;	      /* default 22 */
};

/* A host's address on one path. */
struct fleet_address {
	char path[NAME_SIZE];
	struct ip_addr address; /* prefix is that of a single address */
};

/* The bridge to one of the site's networks, which VMs are ports of. */
struct fleet_bridge {
	char network[NAME_SIZE];
	char device[DEVICE_NAME_SIZE];
};

/*
 * In the file either `bridges: {site: br-site, mgmt: br-mgmt}`, or `bridge: br-site`, which is
 * short for `bridges: {site: br-site}`.
 */
struct fleet_host {
	char name[NAME_SIZE];
	char site[NAME_SIZE];
	struct fleet_bridge *bridges;
	size_t bridge_count;
	struct fleet_ssh ssh;
	struct fleet_address *addresses; /* in the order of the file, which is that of preference */
	size_t address_count;
	uint64_t rate_limit; /* of all hops from one host to it together, bit/s; 0: none */
};

struct fleet_site {
	char name[NAME_SIZE];
	char (*hosts)[NAME_SIZE];
	size_t host_count;
};

struct fleet_path {
	char name[NAME_SIZE];
	uint64_t rate;	/* bit/s; 0: not told */
	int64_t rtt_ns; /* 0: not told */
};

/* What hosts keep of the memory of VMs that have left (migrate/vm/checkpoint.h). */
struct fleet_checkpoints {
	uint64_t size;	/* bytes, of one VM at the most; 0: nothing is kept */
	uint64_t total; /* bytes, of all on a host */
	int64_t age_ns; /* older ones are removed */
};

#define FLEET_IMAGES_MOST 6

struct fleet {
	struct fleet_host *hosts;
	size_t host_count;
	struct fleet_site *sites;
	size_t site_count;
	struct fleet_path *paths;
	size_t path_count;
	uint16_t port;	   /* data port of hops on the destination; 0: any free one */
	int64_t hold_ns;   /* how long a prepared destination waits for the source's decision */
	int64_t resume_ns; /* how long a hop waits when all paths are lost; 0: not at all */
	int64_t join_ns;   /* how long the vNIC switch waits for connections to join */
	struct fleet_checkpoints checkpoints;
	/* paths of images whose content VMs here may share: operating systems, say */
	char **base_images;
	size_t base_image_count;
};

/* path NULL: PLACE_CONFIG. The caller frees it with fleet_free. */
struct fleet *fleet_load(const char *path, struct error **err);

/* name: what errors call the text. */
struct fleet *fleet_parse(const char *name, const char *text, size_t size, struct error **err);
void fleet_free(struct fleet *fleet); /* takes NULL */

/*
 * By name; borrowed. The error names what there is. fleet_self: which host this machine is, by
 * EDGEHOP_HOST in the environment or else by its host name (up to the first dot).
 */
const struct fleet_host *fleet_host(const struct fleet *fleet, const char *name,
				    struct error **err);
const struct fleet_site *fleet_site(const struct fleet *fleet, const char *name,
				    struct error **err);
const struct fleet_host *fleet_self(const struct fleet *fleet, struct error **err);

/* NULL: no such path, or the host has no address on it. */
const struct fleet_path *fleet_path(const struct fleet *fleet, const char *name);
const struct ip_addr *fleet_address(const struct fleet_host *host, const char *path);

/* The device of the bridge to a network; borrowed. ENOENT: the host has none. */
const char *fleet_bridge(const struct fleet_host *host, const char *network, struct error **err);

/* What is in force, defaults included, as YAML that fleet_parse reads back. */
void fleet_dump(const struct fleet *fleet, FILE *out);

static inline void fleet_cleanup(struct fleet **fleet)
{
	fleet_free(*fleet);
}
#define auto_fleet __attribute__((cleanup(fleet_cleanup))) struct fleet *

#endif
