/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_PACER_H
#define TRANSPORT_PACER_H

#include <stdint.h>

#include "common/error.h"

/*
 * The rate limit of a hop, for all its channels together: relays draw from one bucket before they
 * take bytes from their local stream. Counted is payload; TLS and TCP add some 2 %. Thread-safe.
 */
struct pacer;

struct pacer *pacer_create(struct error **err);
void pacer_destroy(struct pacer *pacer); /* takes NULL; no relay may use it any more */

/* bytes/s; 0: no limit. Holds from the next frame on. */
void pacer_set_rate(struct pacer *pacer, uint64_t rate);
uint64_t pacer_rate(struct pacer *pacer);

/* As bucket_draw and bucket_give_back of common/bucket.h. */
uint64_t pacer_draw(struct pacer *pacer, uint64_t want, int64_t *wait_ns);
void pacer_give_back(struct pacer *pacer, uint64_t bytes);

#endif
