/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/page_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

/*
 * Theory of operation
 *
 * Contents lie in chunks of 1 MiB, so that growing moves nothing. A slot is in exactly one list: of
 * a queue, or of the free ones. Slots are found by hashing (chained; the table doubles with the
 * slots, so chains stay short).
 */
#define CHUNK_PAGES 256u

struct slot {
	uint64_t page;
	int64_t put_ns;
	uint32_t next, previous; /* in its queue */
	uint32_t chain;		 /* next of the same hash */
	uint8_t queue;
};

struct queue {
	uint32_t first, last, count;
};

struct page_pool {
	uint32_t most, count;
	uint32_t slots_made; /* a multiple of CHUNK_PAGES; slots above have no memory yet */
	struct slot *slots;
	uint8_t **chunks;
	uint32_t *table;
	uint32_t table_mask;
	struct queue queues[PAGE_POOL_QUEUES + 1]; /* the last: free slots */
};

#define FREE PAGE_POOL_QUEUES

/* Fibonacci hashing: neighbours in memory, which come together, spread evenly. */
static uint32_t *bucket_of(const struct page_pool *pool, uint64_t page)
{
	return &pool->table[(uint32_t)(page * 0x9e3779b97f4a7c15ull >> 32) & pool->table_mask];
}

static void unlink_slot(struct page_pool *pool, uint32_t i)
{
	struct slot *slot = &pool->slots[i];
	struct queue *queue = &pool->queues[slot->queue];

	if (slot->previous == PAGE_POOL_NONE)
		queue->first = slot->next;
	else
		pool->slots[slot->previous].next = slot->next;
	if (slot->next == PAGE_POOL_NONE)
		queue->last = slot->previous;
	else
		pool->slots[slot->next].previous = slot->previous;
	queue->count--;
}

static void append_slot(struct page_pool *pool, uint32_t i, unsigned number)
{
	struct slot *slot = &pool->slots[i];
	struct queue *queue = &pool->queues[number];

	slot->queue = (uint8_t)number;
	slot->next = PAGE_POOL_NONE;
	slot->previous = queue->last;
	if (queue->last == PAGE_POOL_NONE)
		queue->first = i;
	else
		pool->slots[queue->last].next = i;
	queue->last = i;
	queue->count++;
}

static void rehash(struct page_pool *pool)
{
	memset(pool->table, 0xff, ((size_t)pool->table_mask + 1) * sizeof(*pool->table));
	for (uint32_t i = 0; i < pool->slots_made; i++) {
		uint32_t *bucket;

		if (pool->slots[i].queue == FREE)
			continue;
		bucket = bucket_of(pool, pool->slots[i].page);
		pool->slots[i].chain = *bucket;
		*bucket = i;
	}
}

/* One more chunk; tables double when they are full. */
static int grow(struct page_pool *pool, struct error **err)
{
	uint32_t made = pool->slots_made;
	uint32_t chunk = made / CHUNK_PAGES;

	if ((made & (made - 1)) == 0 || made == 0) {
		uint32_t wanted = made ? made * 2 : CHUNK_PAGES;
		struct slot *slots = realloc(pool->slots, wanted * sizeof(*slots));
		uint8_t **chunks = NULL;
		uint32_t *table = NULL;

		if (slots)
			pool->slots = slots;
		chunks = realloc(pool->chunks, wanted / CHUNK_PAGES * sizeof(*chunks));
		if (chunks)
			pool->chunks = chunks;
		table = realloc(pool->table, wanted * sizeof(*table));
		if (table)
			pool->table = table;
		if (!slots || !chunks || !table)
			return error_set(err, ENOMEM, "no memory to hold %u pages", made);
		pool->table_mask = wanted - 1;
		rehash(pool);
	}
	pool->chunks[chunk] = aligned_alloc(PAGE_POOL_PAGE, (size_t)CHUNK_PAGES * PAGE_POOL_PAGE);
	if (!pool->chunks[chunk])
		return error_set(err, ENOMEM, "no memory to hold %u pages", made);
	pool->slots_made += CHUNK_PAGES;
	for (uint32_t i = made; i < pool->slots_made; i++)
		append_slot(pool, i, FREE);
	return 0;
}

struct page_pool *page_pool_create(uint32_t most, struct error **err)
{
	struct page_pool *pool = calloc(1, sizeof(*pool));

	if (!pool) {
		error_set(err, ENOMEM, "no memory for a pool of pages");
		return NULL;
	}
	/* the tables' size is a power of two of 32 bits */
	pool->most = most < 1u << 30 ? most : 1u << 30;
	for (size_t i = 0; i < ARRAY_SIZE(pool->queues); i++)
		pool->queues[i] = (struct queue){PAGE_POOL_NONE, PAGE_POOL_NONE, 0};
	return pool;
}

void page_pool_destroy(struct page_pool *pool)
{
	if (!pool)
		return;
	for (uint32_t i = 0; i < pool->slots_made / CHUNK_PAGES; i++)
		free(pool->chunks[i]);
	free(pool->chunks);
	free(pool->slots);
	free(pool->table);
	free(pool);
}

uint32_t page_pool_find(const struct page_pool *pool, uint64_t page)
{
	uint32_t i;

	if (pool->count == 0)
		return PAGE_POOL_NONE;
	for (i = *bucket_of(pool, page); i != PAGE_POOL_NONE; i = pool->slots[i].chain)
		if (pool->slots[i].page == page)
			return i;
	return PAGE_POOL_NONE;
}

static uint32_t take_free(struct page_pool *pool, struct error **err)
{
	uint32_t i;

	if (pool->count >= pool->most) {
		error_set(err, ENOMEM, "%u pages are held, the most that may be", pool->count);
		return PAGE_POOL_NONE;
	}
	if (pool->queues[FREE].count == 0 && grow(pool, err) < 0)
		return PAGE_POOL_NONE;
	i = pool->queues[FREE].last; /* the one that was used last: its memory is in the caches */
	unlink_slot(pool, i);
	pool->count++;
	return i;
}

static uint8_t *content_of(const struct page_pool *pool, uint32_t i)
{
	return pool->chunks[i / CHUNK_PAGES] + (size_t)(i % CHUNK_PAGES) * PAGE_POOL_PAGE;
}

uint32_t page_pool_put(struct page_pool *pool, uint64_t page, const uint8_t *content,
		       unsigned queue, int64_t now_ns, struct error **err)
{
	uint32_t i = page_pool_find(pool, page);

	if (i != PAGE_POOL_NONE) {
		page_pool_move(pool, i, queue);
	} else {
		uint32_t *bucket;

		i = take_free(pool, err);
		if (i == PAGE_POOL_NONE)
			return i;
		bucket = bucket_of(pool, page);
		pool->slots[i].page = page;
		pool->slots[i].chain = *bucket;
		*bucket = i;
		append_slot(pool, i, queue);
	}
	pool->slots[i].put_ns = now_ns;
	memcpy(content_of(pool, i), content, PAGE_POOL_PAGE);
	return i;
}

void page_pool_move(struct page_pool *pool, uint32_t slot, unsigned queue)
{
	unlink_slot(pool, slot);
	append_slot(pool, slot, queue);
}

void page_pool_drop(struct page_pool *pool, uint32_t slot)
{
	uint32_t *link = bucket_of(pool, pool->slots[slot].page);

	while (*link != slot)
		link = &pool->slots[*link].chain;
	*link = pool->slots[slot].chain;
	page_pool_move(pool, slot, FREE);
	pool->count--;
}

uint32_t page_pool_first(const struct page_pool *pool, unsigned queue)
{
	return pool->queues[queue].first;
}

uint64_t page_pool_page(const struct page_pool *pool, uint32_t slot)
{
	return pool->slots[slot].page;
}

const uint8_t *page_pool_content(const struct page_pool *pool, uint32_t slot)
{
	return content_of(pool, slot);
}

unsigned page_pool_queue(const struct page_pool *pool, uint32_t slot)
{
	return pool->slots[slot].queue;
}

int64_t page_pool_put_ns(const struct page_pool *pool, uint32_t slot)
{
	return pool->slots[slot].put_ns;
}

uint32_t page_pool_count(const struct page_pool *pool)
{
	return pool->count;
}

uint32_t page_pool_queued(const struct page_pool *pool, unsigned queue)
{
	return pool->queues[queue].count;
}
