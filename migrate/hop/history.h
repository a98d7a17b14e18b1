/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_HISTORY_H
#define HOP_HISTORY_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

/*
 * What is kept of the hops that are over: their reports, PLACE_STATE "/history/HOP.json". The
 * source writes a full one (report.h). Where there is none, at the destination, or after a worker
 * died, the journal gives a short one: who, when, how it ended.
 */

/*
 * Brings the hop's report into line with its journal: makes a short one where there is none, and
 * corrects the result of one that was written before the hop was settled. error: what went wrong,
 * if anything did; NULL leaves the report's own. ENOENT: the hop has no journal.
 */
int history_note(const char *hop, const char *error, struct error **err);

/* The same for a worker: what fails is only logged. */
void history_note_quietly(const char *hop, const char *error);

/* One report; the caller decrefs. ENOENT: there is none. */
json_t *history_read(const char *hop, struct error **err);

/* All reports, newest first; the caller decrefs. vm NULL: of all VMs; most 0: no limit. */
json_t *history_list(const char *vm, size_t most, struct error **err);

/*
 * Removes run folders, reports and journals that were last written more than age_ms ago, of hops
 * that are over. A hop whose journal is open or unreadable, or whose worker lives, is left alone.
 * *count: how many hops something was removed of.
 */
int history_prune(int64_t age_ms, size_t *count, struct error **err);

#endif
