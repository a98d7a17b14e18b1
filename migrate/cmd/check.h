/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMD_CHECK_H
#define CMD_CHECK_H

#include <jansson.h>

#include "common/error.h"
#include "migrate/hop/check.h"

#define CHECK_SECONDS 2 /* for each measurement of a path, where nothing else is asked for */

/*
 * A check as `check` and `migrate --dry-run` make it, with these options (rsh, rate_limit,
 * downtime_ns; burst_ns 0: CHECK_SECONDS); a signal ends it early and in order. The caller decrefs.
 */
json_t *check_from_command_line(const char *vm, const char *site, struct check_options options,
				struct error **err);

#endif
