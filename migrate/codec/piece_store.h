/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PIECE_STORE_H
#define CODEC_PIECE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/pieces.h"

/*
 * What both ends of a codec stream know: the pieces that were sent last, and which of them the
 * units that were sent last consist of (CloudNet's FIFO caches, section III-B.2; its page deltas
 * share them). The same calls in the same order make the same state, whatever the contents, so the
 * two ends need no word about it.
 *
 * A unit's last version is nothing but slot numbers. They may have been given to other pieces
 * since; that does no harm, since the encoder compares contents before it makes use of one, and
 * the decoder has the same contents there.
 *
 * Memory: 1 KiB for each slot and 12 to 24 bytes for the versions (slots / 2 of them, rounded up to
 * a power of two), taken and touched at the start. Every call is O(1). It does not
 * grow with the guest: of one 100 times as large, a hundredth as much is known.
 *
 * Not thread-safe.
 */
struct piece_store;

#define PIECE_NOWHERE UINT32_MAX

/* Of four pieces of a unit, from the first, fifth ... on; PIECE_NOWHERE: not known. */
struct piece_version {
	uint64_t unit;
	uint32_t slots[4];
	uint32_t known; /* 0: this is nobody's */
	uint32_t unused;
};

/* slots: at least 1; versions: a power of two, at least 2. ENOMEM. */
struct piece_store *piece_store_create(uint32_t slots, uint32_t versions, struct error **err);
void piece_store_destroy(struct piece_store *s); /* takes NULL */

/* How many versions go with so many slots. */
uint32_t piece_store_versions(uint32_t slots);

/* Slots that hold a piece: those below. */
uint32_t piece_store_used(const struct piece_store *s);

const uint8_t *piece_store_at(const struct piece_store *s, uint32_t slot);

/* The piece takes the place of the oldest one; returns its slot. */
uint32_t piece_store_insert(struct piece_store *s, const uint8_t *piece);

/* The piece in a used slot, to be changed. */
uint8_t *piece_store_change(struct piece_store *s, uint32_t slot);

/* A number for four pieces of a unit, those of the group 0, 1 ... */
static inline uint64_t piece_store_unit(uint64_t unit, unsigned group)
{
	return unit + group * 0x9e3779b97f4a7c15ull;
}

/* The last version, or NULL; good until the next call of piece_store_remember. */
const struct piece_version *piece_store_version(const struct piece_store *s, uint64_t unit);

/* Puts the last version of this unit in the place of what is known, or of the oldest there. */
void piece_store_remember(struct piece_store *s, uint64_t unit, const uint32_t slots[4]);

/* Has the processor fetch what piece_store_version will read. */
void piece_store_expect(const struct piece_store *s, uint64_t unit);

#endif
