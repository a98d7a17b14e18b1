/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_UNACKED_H
#define TRANSPORT_UNACKED_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * What a relay has sent and the far side has not acknowledged, so that it can be sent again: the
 * bytes [start, end) of a stream, in a ring. Costs one copy of each byte.
 *
 * Memory: twice what was kept at the most, at least 64 KiB; it does not shrink.
 */
struct unacked {
	uint8_t *bytes;
	size_t size; /* of the ring, a power of two */
	uint64_t start, end;
};

void unacked_clear(struct unacked *u); /* frees; it is empty then, from byte 0 */

/* Keeps n more bytes. ENOMEM: nothing was kept. */
int unacked_put(struct unacked *u, const uint8_t *bytes, size_t n, struct error **err);

/* Forgets what is before byte `upto`, which is from start to end. */
void unacked_drop(struct unacked *u, uint64_t upto);

/* Copies [at, at + n), which is kept. */
void unacked_get(const struct unacked *u, uint64_t at, uint8_t *out, size_t n);

#endif
