/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_PAGE_DIGEST_H
#define STREAM_PAGE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * What the destination has of each page, as a keyed digest: tells whether a page has to be sent
 * again without keeping what was sent.
 *
 * Poly1305 as a universal hash, 128 bits, under a random key that nobody outside sees, nor any
 * digest: for any two different pages the chance of equal ones is at most 2^11 / 2^106 (Bernstein,
 * "The Poly1305-AES message-authentication code", theorem 3.3), whoever chose them. What a guest
 * writes is hostile: with a hash whose collisions can be looked for it could have a page of its own
 * taken for a file's that comes to lie there later.
 *
 * 16 bytes a page, of those pages only that were noted (others are untouched zeroes); 0.7 us a
 * call. Not thread-safe.
 */
struct page_digests;

struct page_digests *page_digests_create(uint64_t pages, struct error **err);
void page_digests_destroy(struct page_digests *d); /* takes NULL */

/* content: 4096 bytes. */
void page_digests_note(struct page_digests *d, uint64_t page, const uint8_t *content);
void page_digests_forget(struct page_digests *d, uint64_t page);

/* Whether this content was noted last. False for a page that was not noted, or was forgotten. */
bool page_digests_same(struct page_digests *d, uint64_t page, const uint8_t *content);

#endif
