/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_PAIR_LIMIT_H
#define TRANSPORT_PAIR_LIMIT_H

#include <stdint.h>

#include "common/error.h"

/*
 * The rate limit of all hops from this host to another one, which are processes of their own: a
 * token bucket as common/bucket.h's, in a file that they map, PLACE_RUN "/limits/HOST". It is two
 * words that are changed atomically, so whoever dies in the middle leaves nothing to be mended: at
 * the most a frame that was drawn and not sent. The clock is the kernel's monotonic one, which all
 * of a host's processes share, and the file is gone with the next boot.
 *
 * Memory: a page. Thread-safe.
 */
struct pair_limit;

/* host: the other one's name. Errors: as of making and mapping a file. */
struct pair_limit *pair_limit_open(const char *host, struct error **err);
void pair_limit_close(struct pair_limit *limit); /* takes NULL; the file stays */

/* bytes/s; 0: no limit. For all that have it open, from the next draw on. */
void pair_limit_set_rate(struct pair_limit *limit, uint64_t rate);
uint64_t pair_limit_rate(const struct pair_limit *limit);

/* As bucket_draw and bucket_give_back of common/bucket.h. */
uint64_t pair_limit_draw(struct pair_limit *limit, uint64_t want, int64_t now_ns, int64_t *wait_ns);
void pair_limit_give_back(struct pair_limit *limit, uint64_t bytes);

#endif
