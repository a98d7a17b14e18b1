/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_JOURNAL_H
#define HOP_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/uuid.h"

/*
 * A hop's journal on one host: what has been decided, durable before anybody else is told. JSON
 * lines; the first one opens it with everything that undoing or finishing the hop needs.
 *
 * States, and which may follow which (a table in journal.c enforces it, under a lock of the file,
 * so that a worker and a recovery can never both decide):
 *
 *	source:	      OPEN -> RELEASED -> GONE -> DONE
 *		      OPEN -> UNDONE	RELEASED -> RETAKEN -> UNDONE
 *	destination:  OPEN -> PREPARED -> ACCEPTED -> DONE
 *		      OPEN | PREPARED -> REFUSED -> UNDONE
 *
 * RELEASED: the source will not run the VM by itself. ACCEPTED and REFUSED: the destination's
 * answer, each for good. GONE: the source knows that it was accepted. RETAKEN: the source knows
 *that it was refused, and owns the VM again.
 */
enum hop_state {
	HOP_OPEN,
	HOP_PREPARED,
	HOP_RELEASED,
	HOP_ACCEPTED,
	HOP_REFUSED,
	HOP_GONE,
	HOP_RETAKEN,
	HOP_DONE,
	HOP_UNDONE,
	HOP_STATES /* how many */
};

const char *hop_state_name(enum hop_state state); /* "OPEN" */

#ifndef JOURNAL_VERSION /* else it is a test's */
#define JOURNAL_VERSION 1
#endif
#ifndef JOURNAL_COMPATIBLE
#define JOURNAL_COMPATIBLE 1
#endif

/* Creates the journal in state OPEN with these facts (borrowed). Fails if there is one. */
int journal_create(const char *hop, const json_t *facts, struct error **err);

/*
 * Moves the hop to a state, durably. EPERM when the state does not follow the present one; to be
 * in it already is success. Returns 1 when this call made the move, 0 when it was there, -1.
 */
int journal_advance(const char *hop, enum hop_state to, struct error **err);

/* The last state, and the facts (the caller's to decref; facts may be NULL when not wanted). */
int journal_read(const char *hop, enum hop_state *state, json_t **facts, struct error **err);

static inline bool hop_state_final(enum hop_state state)
{
	return state == HOP_DONE || state == HOP_UNDONE;
}

/* Whether this host has that hop open; for endpoints_purge. context is not used. */
bool journal_knows_open(const char *hop, void *context);

/* Its records for people, oldest first: [{"state","time"}]. The caller decrefs. */
json_t *journal_records(const char *hop, struct error **err);

typedef int journal_visit(const char *hop, enum hop_state state, const json_t *facts, void *context,
			  struct error **err);

/*
 * Calls visit for each hop of this host; for each that is not in a final state. Stops when it
 * returns < 0. A journal that can't be read hides no other: all are visited, then the first such
 * one is the error.
 */
int journal_each(journal_visit *visit, void *context, struct error **err);
int journal_each_open(journal_visit *visit, void *context, struct error **err);

#endif
