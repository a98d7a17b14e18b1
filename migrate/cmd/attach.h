/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMD_ATTACH_H
#define CMD_ATTACH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/*
 * Follows a hop's worker until its end, showing its progress: a line that rewrites itself on a
 * terminal, one line a phase otherwise, nothing with json. The report goes to standard output.
 * Ctrl-C asks the worker for an abort if the hop is `mine`, begun by this command; a second one,
 * or the first one in somebody else's, leaves it alone. Returns the hop's exit status.
 */
int attach_to_hop(const char *hop, bool mine, bool json);

/* "phase 3  memory", and with `figures` the bytes, rate, round ... that a snapshot has. */
void attach_print_progress(const json_t *snapshot, bool figures, FILE *out);

#endif
