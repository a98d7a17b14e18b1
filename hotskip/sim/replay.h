/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_REPLAY_H
#define HOTSKIP_SIM_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A recorded trace as a guest that writes the same pages again and again. In memory: 4 bytes for
 * each page of each interval, and 8 a page. A page that was written in an interval is written once
 * in it, at a time that the seed, the page and the interval decide.
 */
struct replay;

struct replay *replay_create(const char *path, uint64_t seed, struct error **err);
void replay_destroy(struct replay *replay); /* takes NULL */

uint64_t replay_pages(const struct replay *replay);
uint32_t replay_page_size(const struct replay *replay);

/* Sets the bits of the pages that are ever written. */
void replay_active(const struct replay *replay, uint64_t *active);

/* Is the page written in [from, to), in seconds since the trace began for the first time? O(log).
 */
bool replay_written(const struct replay *replay, uint64_t page, double from, double to);

#endif
