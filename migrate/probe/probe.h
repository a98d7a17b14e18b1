/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_PROBE_H
#define MIGRATE_PROBE_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/control/remote.h"

/*
 * What the paths between two hosts carry, measured with a hop's own transport: relays over TLS over
 * MPTCP, which carry bytes that nobody wants. First each path alone, then all together as in a hop,
 * with endpoints held by the probe. Nothing of it stays on either host: what a killed probe held
 * goes with the next endpoints_purge.
 */
#define PROBE_PATHS 16

struct probe_path {
	char path[NAME_SIZE];
	bool reachable;
	char why_not[160]; /* where it isn't */
	int64_t rtt_ns;	   /* the lowest seen */
	double rate;	   /* payload, bit/s */
	double spread;	   /* how far the rate went up and down, as a share of it; 0.1: 10 % */
	uint32_t mtu;	   /* bytes */
	bool mptcp;
	const char *why_not_mptcp; /* static text */
};

struct probe_result {
	size_t path_count;
	struct probe_path paths[PROBE_PATHS];
	struct probe_path together; /* its path is ""; mtu: the least */
	size_t subflows;	    /* of the connection over all paths, that carried data */
	size_t paths_used;	    /* paths that subflows were on */
	int64_t began_ns;	    /* clock_ns() of the beginning, with pressure_cpu_us() */
	int64_t cpu_waited_us, far_cpu_waited_us; /* of both hosts */
};

struct probe_plan {
	const struct fleet *fleet;
	const struct fleet_host *self, *peer;
	const char *first_path;		   /* on which connections begin: where SSH got through */
	int64_t burst_ns;		   /* at most for each measurement */
	const volatile sig_atomic_t *stop; /* may be NULL; not 0: end early, orderly */
};

/* remote: `edgehop serve` at the peer. A path that can't be reached is a result, not an error. */
int probe_run(const struct probe_plan *plan, struct remote *remote, struct probe_result *result,
	      struct error **err);

/* The sockets' buffers of a hop to that peer as the configuration has it: 2 x sum of rates x
 * highest RTT; 0: not told. */
size_t probe_configured_buffer(const struct fleet *fleet, const struct fleet_host *peer);

/*
 * The far side, in `edgehop serve`: {"do":"probe-begin", "probe", "key", "buffer"} listens,
 * {"do":"probe-together", "first-path"} announces addresses, {"do":"probe-end"} gives all back.
 * probe_serve_close: the same for a source that went away.
 */
int probe_serve_begin(const struct fleet *fleet, const json_t *request, json_t **answer,
		      struct error **err);
int probe_serve_together(const struct fleet *fleet, const json_t *request, json_t **answer,
			 struct error **err);
int probe_serve_end(const struct fleet *fleet, const json_t *request, json_t **answer,
		    struct error **err);
void probe_serve_close(void);

#endif
