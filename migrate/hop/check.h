/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_CHECK_H
#define HOP_CHECK_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/control/remote.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/preflight.h"

/*
 * What a hop would find: both hosts, the paths, the guest, its connections, and how long it would
 * take. Changes nothing on either host.
 */
struct check_options {
	const char *rsh;		   /* NULL: the built-in SSH client */
	int64_t burst_ns;		   /* at most for each measurement of a path */
	int64_t survey_ns;		   /* how long the VM's memory and disks are watched */
	uint64_t rate_limit;		   /* bit/s that the hop would keep to; 0: none */
	int64_t downtime_ns;		   /* the pause that the hop would aim at */
	const volatile sig_atomic_t *stop; /* may be NULL; not 0: end early, orderly */
};

/*
 * JSON, the caller's to decref (docs/check.md): "findings" with a level each, "verdict" the worst
 * of them. Fails where nothing can be judged: no such VM, site or configuration; interrupted.
 */
json_t *check_run(const struct fleet *fleet, const char *vm, const char *site,
		  const struct check_options *options, struct error **err);

/* For people. The prediction alone: for --dry-run. */
void check_print(const json_t *check, FILE *out);
void check_print_prediction(const json_t *check, FILE *out);
void check_print_refusals(const json_t *check, FILE *out);
bool check_refuses(const json_t *check);

/*
 * The part that `migrate` asks before it begins: what there is at the destination, no measurement.
 * Fails with the first refusal.
 */
int check_destination(const struct fleet *fleet, const struct hop_facts *facts,
		      struct remote *remote, struct error **err);

#endif
