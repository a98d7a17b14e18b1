/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_PAGE_POOL_H
#define STREAM_PAGE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Pages that wait to be sent: of each page only the newest content, in several queues. A page is
 * known by a number, the same for all its versions. Every operation is O(1); memory is that of the
 * pages that are held at once, and 36 to 72 bytes for each, taken when first needed and kept.
 *
 * Not thread-safe. Slots are indices that stay good until the page is dropped.
 */
struct page_pool;

#define PAGE_POOL_QUEUES 34
#define PAGE_POOL_PAGE	 4096u
#define PAGE_POOL_NONE	 UINT32_MAX

/* most: pages; at least 1. */
struct page_pool *page_pool_create(uint32_t most, struct error **err);
void page_pool_destroy(struct page_pool *pool); /* takes NULL */

/* The slot that holds the page, or PAGE_POOL_NONE. */
uint32_t page_pool_find(const struct page_pool *pool, uint64_t page);

/*
 * Puts the page at the end of the queue with this content; one that is held already gets the new
 * content, and moves there. Returns the slot; PAGE_POOL_NONE with ENOMEM: there are `most` already,
 * or no memory.
 */
uint32_t page_pool_put(struct page_pool *pool, uint64_t page, const uint8_t *content,
		       unsigned queue, int64_t now_ns, struct error **err);

/* To the end of another queue. */
void page_pool_move(struct page_pool *pool, uint32_t slot, unsigned queue);

void page_pool_drop(struct page_pool *pool, uint32_t slot);

/* The page that has been in the queue for longest, or PAGE_POOL_NONE. */
uint32_t page_pool_first(const struct page_pool *pool, unsigned queue);

uint64_t page_pool_page(const struct page_pool *pool, uint32_t slot);
const uint8_t *page_pool_content(const struct page_pool *pool, uint32_t slot);
unsigned page_pool_queue(const struct page_pool *pool, uint32_t slot);
int64_t page_pool_put_ns(const struct page_pool *pool, uint32_t slot); /* of its newest version */

uint32_t page_pool_count(const struct page_pool *pool); /* in all queues */
uint32_t page_pool_queued(const struct page_pool *pool, unsigned queue);

#endif
