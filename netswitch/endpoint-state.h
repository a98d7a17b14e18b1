/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_ENDPOINT_STATE_H
#define NETSWITCH_ENDPOINT_STATE_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

/*
 * Who holds which MPTCP endpoints of this network namespace: one JSON file, changed under flock()
 * of another file that stays:
 *
 *     {"edgehop": 1,
 *      "limits": {"former": [SUBFLOWS, ACCEPTED], "raised": [SUBFLOWS, ACCEPTED]},
 *      "ours": [ADDRESS, ...], "implicit": [ADDRESS, ...],
 *      "holders": [{"hop": UUID, "pid": N, "start": TICKS, "addresses": [ADDRESS, ...]}, ...]}
 *
 * A holder is a hop; its process is known by number and start time, since numbers are used again.
 */

/* Locked between endpoint_state_open() and the end of the scope. */
struct endpoint_state {
	int lock;
	json_t *root;
};

void endpoint_state_close(struct endpoint_state *state);
#define auto_state __attribute__((cleanup(endpoint_state_close))) struct endpoint_state

int endpoint_state_open(struct endpoint_state *state, struct error **err);
int endpoint_state_save(const struct endpoint_state *state, struct error **err);

/* The list of that name, made when it is not there. Borrowed; NULL only without memory. */
json_t *endpoint_list_of(json_t *object, const char *key);
bool endpoint_list_has(const json_t *list, const char *text);
int endpoint_list_add(json_t *list, const char *text, struct error **err); /* once */

/*
 * The hop's entry, made when it is not there; its process is the calling one from now on.
 * Borrowed; NULL without memory.
 */
json_t *endpoint_holder_of(struct endpoint_state *state, const char *hop, struct error **err);
bool endpoint_holder_alive(const json_t *holder);      /* its process is */
const char *endpoint_holder_hop(const json_t *holder); /* never NULL */

#endif
