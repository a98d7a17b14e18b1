/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/piece_index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IN_LINE	  16u
#define SLOT_BITS 24
#define SLOT_MASK ((1u << SLOT_BITS) - 1)
#define EMPTY	  UINT32_MAX
/* Buckets are filled to between a half and all. */
#define FILL 8u

struct bucket {
	_Alignas(64) uint32_t entries[IN_LINE]; /* the newest one first */
};
static_assert(sizeof(struct bucket) == 64, "a bucket is a line of the cache");

struct piece_index {
	struct bucket *buckets;
	uint64_t mask;
};

struct piece_index *piece_index_create(uint32_t slots, struct error **err)
{
	struct piece_index *x = calloc(1, sizeof(*x));
	size_t n = 1;

	while (n * FILL < slots)
		n *= 2;
	if (x)
		x->buckets = aligned_alloc(_Alignof(struct bucket), n * sizeof(*x->buckets));
	if (!x || !x->buckets) {
		piece_index_destroy(x);
		error_set(err, ENOMEM, "no memory for an index of %u pieces", slots);
		return NULL;
	}
	memset(x->buckets, 0xff, n * sizeof(*x->buckets));
	x->mask = n - 1;
	return x;
}

void piece_index_destroy(struct piece_index *x)
{
	if (!x)
		return;
	free(x->buckets);
	free(x);
}

static struct bucket *bucket_of(const struct piece_index *x, uint64_t hash)
{
	return &x->buckets[hash >> 8 & x->mask];
}

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)hash << SLOT_BITS;
}

void piece_index_expect(const struct piece_index *x, uint64_t hash)
{
	__builtin_prefetch(bucket_of(x, hash));
}

/* Which entries have the tag, a bit for each. */
static unsigned tagged(const struct bucket *bucket, uint32_t tag)
{
	unsigned found = 0;

	for (unsigned i = 0; i < IN_LINE; i++)
		found |= (unsigned)(((bucket->entries[i] ^ tag) & ~SLOT_MASK) == 0) << i;
	return found;
}

uint32_t piece_index_find(const struct piece_index *x, const struct piece_store *store,
			  uint64_t hash, const uint8_t *piece)
{
	const struct bucket *bucket = bucket_of(x, hash);

	for (unsigned left = tagged(bucket, tag_of(hash)); left; left &= left - 1) {
		uint32_t entry = bucket->entries[__builtin_ctz(left)];
		uint32_t slot = entry & SLOT_MASK;

		if (entry != EMPTY && memcmp(piece_store_at(store, slot), piece, PIECE) == 0)
			return slot;
	}
	return PIECE_NOWHERE;
}

void piece_index_add(struct piece_index *x, uint64_t hash, uint32_t slot)
{
	struct bucket *bucket = bucket_of(x, hash);

	memmove(bucket->entries + 1, bucket->entries, (IN_LINE - 1) * sizeof(uint32_t));
	bucket->entries[0] = tag_of(hash) | slot;
}
