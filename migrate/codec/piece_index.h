/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PIECE_INDEX_H
#define CODEC_PIECE_INDEX_H

#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/piece_store.h"

/*
 * The encoder's way from a content to the slot that has it. Only the encoder has one, and it may
 * be wrong or forget: what it finds is compared with the content (CloudNet, III-B.2).
 *
 * Open addressing: a bucket of 16 numbers of 32 bits is one line of the cache; a number is a slot
 * (24 bits) and 8 bits of the hash. What enters a full bucket puts out what has been there for
 * longest, so slots that have other contents by now need not be taken out. Memory: 8 to 16 bytes
 * for each slot. O(1); one line for a content that is not there, but in one of 16 cases in which
 * 8 bits are the same by chance.
 *
 * Not thread-safe.
 */
struct piece_index;

/* slots: at most 2^24 - 1. ENOMEM. */
struct piece_index *piece_index_create(uint32_t slots, struct error **err);
void piece_index_destroy(struct piece_index *x); /* takes NULL */

/* Has the processor fetch what the two others will read. */
void piece_index_expect(const struct piece_index *x, uint64_t hash);

/* The slot that has this very content, or PIECE_NOWHERE. */
uint32_t piece_index_find(const struct piece_index *x, const struct piece_store *store,
			  uint64_t hash, const uint8_t *piece);

void piece_index_add(struct piece_index *x, uint64_t hash, uint32_t slot);

#endif
