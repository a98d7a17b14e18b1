/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_OPEN_H
#define HOP_OPEN_H

#include <jansson.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"

/* The beginning of a hop, before any worker: what `migrate` asks for, checked against what there
 * is. */

/* Facts of a hop of the VM from this host to the site; the caller frees them. */
struct hop_facts *hop_plan(const struct fleet *fleet, const char *vm, const char *site,
			   struct error **err);

/* Version of these requests; both sides have the same, or nothing is begun. */
#ifndef SERVE_WIRE /* else it is a test's */
#define SERVE_WIRE 1
#endif

/* "wire" of a request or an answer: EPROTO where it is another one. who: for the message. */
int hop_check_wire(const json_t *line, const char *who, struct error **err);

/*
 * Answers one request that came through SSH ({"do": "hello" | "open" | "decide" | "outcome" |
 * "owner"});
 * the caller's to decref. Never NULL but for want of memory: a failure is {"failed": ...}.
 */
json_t *hop_serve(const struct fleet *fleet, const json_t *request);

#endif
