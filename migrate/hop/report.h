/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_REPORT_H
#define HOP_REPORT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"
#include "migrate/transport/relay.h"

/*
 * What a hop did, made by its source while it goes and kept in PLACE_STATE "/history/HOP.json"
 * (history.h). The JSON (docs/report.md) is the truth; the text for people is made from it, also by
 * `edgehop history`.
 */
struct report;

#define REPORT_VERSION 1

struct report *report_create(const struct hop_facts *facts, const struct fleet_host *peer);
void report_destroy(struct report *report); /* takes NULL */

/* A stage begins (and the one before it ends). */
void report_stage(struct report *report, int phase, const char *stage);
void report_stages_end(struct report *report);

/* Adds a channel's bytes, and those of its subflows by path. */
void report_channel(struct report *report, const char *channel, const struct relay_stats *stats);

/* What a coder made of a disk's stream: takes the reference. */
void report_disk_coding(struct report *report, const char *disk, json_t *coding);

/* Any further figure or text: takes the reference. */
/* What channels that were resumed stood still for, and sent again. */
void report_losses(struct report *report, const struct relay_stats *stats);

void report_set(struct report *report, const char *key, json_t *value);

/* result: "done", "held", "undone", "down", "unknown". error may be NULL. Returns the JSON,
 * borrowed. */
const json_t *report_end(struct report *report, const char *result, const char *error);

int report_save(const struct report *report, struct error **err);
int report_write(const json_t *json, struct error **err); /* the same for the JSON itself */

/* The path of the peer's address that a subflow uses, or NULL. Borrowed from peer. */
const char *report_path_of(const struct fleet_host *peer, const struct subflow *subflow);

/* For people; the error is the caller's to show. */
void report_print(const json_t *report, FILE *out);

#endif
