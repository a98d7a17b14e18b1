/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_FORECAST_H
#define HOP_FORECAST_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A prediction that `migrate --dry-run` made, kept for the next hop of that VM to that host, whose
 * report says how far off it was: PLACE_RUN "/predictions/VM@HOST.json". One that is older than ten
 * minutes, or was made for another pause, is none.
 */

/* Replaces an earlier one. */
int forecast_keep(const char *vm, const char *host, int64_t downtime_ns, const json_t *prediction,
		  struct error **err);

/* Before a hop: forgets one that was made for another pause. */
void forecast_settle(const char *vm, const char *host, int64_t downtime_ns);

/* Takes it away: the caller's to decref; NULL: there is none. */
json_t *forecast_take(const char *vm, const char *host);

/*
 * How far a hop's report is off what it carries as "predicted": {"seconds": PERCENT, "downtime":
 * PERCENT}, positive where it took longer. NULL: nothing was predicted. The caller's to decref.
 */
json_t *forecast_error(const json_t *report);

#endif
