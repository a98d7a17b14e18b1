/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_PACER_H
#define TRANSPORT_PACER_H

#include <stdint.h>

#include "common/error.h"
#include "migrate/transport/pair_limit.h"

/*
 * A rate limit of relays: they draw from its bucket before they take bytes from their local stream.
 * Counted is payload; TLS and TCP add some 2 %. Thread-safe.
 *
 * A pacer may stand below another one: what is drawn from it is drawn from both, so it is a part of
 * the other's. A hop has
 *
 *	mirrored disks -> [their share] -> [the hop] -> [all hops to that host: pair_limit.h]
 *	        memory, carried disks -----^
 */
struct pacer;

struct pacer *pacer_create(struct error **err);

/* above: borrowed, must outlive it. */
struct pacer *pacer_create_below(struct pacer *above, struct error **err);
void pacer_destroy(struct pacer *pacer); /* takes NULL; no relay may use it any more */

/* From now on it stands below this one, too; borrowed. Before any relay uses it. */
void pacer_set_pair(struct pacer *pacer, struct pair_limit *pair);

/* bytes/s; 0: no limit of its own. Holds from the next frame on. */
void pacer_set_rate(struct pacer *pacer, uint64_t rate);
uint64_t pacer_rate(struct pacer *pacer);

/* As bucket_draw and bucket_give_back of common/bucket.h. */
uint64_t pacer_draw(struct pacer *pacer, uint64_t want, int64_t *wait_ns);
void pacer_give_back(struct pacer *pacer, uint64_t bytes);

#endif
