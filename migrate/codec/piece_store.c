/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/piece_store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Two versions to a bucket, which is a line of the cache. */
#define LINE	64u
#define IN_LINE 2u
static_assert(sizeof(struct piece_version) * IN_LINE == LINE, "a bucket fills a line");

#define HUGE_PAGE (2u << 20)

struct piece_store {
	uint8_t *ring;
	struct piece_version *versions;
	uint32_t slots, used, next;
	uint32_t mask; /* of buckets */
};

/*
 * In huge pages where there are, since it is read all over. All of it is there before the first
 * page is coded: a first touch costs as much as compressing what is written, and a host that has
 * not got the memory should say so before a guest is on its way.
 */
static void *take(size_t size)
{
	size_t page = size < HUGE_PAGE ? LINE : HUGE_PAGE;
	size_t rounded = (size + page - 1) / page * page;
	void *p = aligned_alloc(page, rounded);

	if (!p || page == LINE)
		return p;
	madvise(p, rounded, MADV_HUGEPAGE);
	if (madvise(p, rounded, MADV_POPULATE_WRITE) < 0 && errno == ENOMEM) {
		free(p);
		return NULL;
	}
	return p;
}

uint32_t piece_store_versions(uint32_t slots)
{
	uint32_t n = IN_LINE;

	while (n < slots / 2)
		n *= 2;
	return n;
}

struct piece_store *piece_store_create(uint32_t slots, uint32_t versions, struct error **err)
{
	struct piece_store *s = calloc(1, sizeof(*s));

	if (s) {
		s->ring = take((size_t)slots * PIECE);
		s->versions = take((size_t)versions * sizeof(*s->versions));
	}
	if (!s || !s->ring || !s->versions) {
		piece_store_destroy(s);
		error_set(err, ENOMEM, "no memory for a cache of %u pieces of %u bytes", slots,
			  PIECE);
		return NULL;
	}
	memset(s->versions, 0, (size_t)versions * sizeof(*s->versions));
	s->slots = slots;
	s->mask = versions / IN_LINE - 1;
	return s;
}

void piece_store_destroy(struct piece_store *s)
{
	if (!s)
		return;
	free(s->ring);
	free(s->versions);
	free(s);
}

uint32_t piece_store_used(const struct piece_store *s)
{
	return s->used;
}

const uint8_t *piece_store_at(const struct piece_store *s, uint32_t slot)
{
	return s->ring + (size_t)slot * PIECE;
}

uint8_t *piece_store_change(struct piece_store *s, uint32_t slot)
{
	return s->ring + (size_t)slot * PIECE;
}

uint32_t piece_store_insert(struct piece_store *s, const uint8_t *piece)
{
	uint32_t slot = s->next;

	piece_put_away(s->ring + (size_t)slot * PIECE, piece);
	if (s->used == slot)
		s->used++;
	s->next = slot + 1 < s->slots ? slot + 1 : 0;
	return slot;
}

/* Fibonacci hashing: neighbours in memory, which come together, spread evenly. */
static struct piece_version *bucket_of(const struct piece_store *s, uint64_t unit)
{
	return s->versions + IN_LINE * ((uint32_t)(unit * 0x9e3779b97f4a7c15ull >> 32) & s->mask);
}

static struct piece_version *find(struct piece_version *bucket, uint64_t unit)
{
	for (unsigned i = 0; i < IN_LINE; i++)
		if (bucket[i].unit == unit && bucket[i].known)
			return &bucket[i];
	return NULL;
}

void piece_store_expect(const struct piece_store *s, uint64_t unit)
{
	__builtin_prefetch(bucket_of(s, unit));
}

const struct piece_version *piece_store_version(const struct piece_store *s, uint64_t unit)
{
	return find(bucket_of(s, unit), unit);
}

void piece_store_remember(struct piece_store *s, uint64_t unit, const uint32_t slots[4])
{
	struct piece_version *bucket = bucket_of(s, unit);
	struct piece_version *version = find(bucket, unit);

	if (!version) {
		memmove(bucket + 1, bucket, (IN_LINE - 1) * sizeof(*bucket));
		version = bucket;
		version->unit = unit;
		version->known = 1;
	}
	memcpy(version->slots, slots, sizeof(version->slots));
}
