/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_WORDS_H
#define HOTSKIP_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The passes over all pages of a guest. Bitmaps are words of 64 pages, least significant bit first;
 * patterns are the 16 bits that heat.h keeps of a page. Plain C with vectors of gcc's; on x86-64 a
 * second translation for AVX2 is chosen when the program runs there.
 */

/* Words of a bitmap of so many pages. */
static inline size_t words_of(uint64_t pages)
{
	return (size_t)((pages + 63) / 64);
}

/* An empty bitmap, the caller's to free; NULL: no memory. */
uint64_t *words_create(uint64_t pages);

static inline bool bit_get(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> (page % 64) & 1;
}

static inline void bit_set(uint64_t *map, uint64_t page)
{
	map[page / 64] |= 1ull << (page % 64);
}

static inline void bit_clear(uint64_t *map, uint64_t page)
{
	map[page / 64] &= ~(1ull << (page % 64));
}

uint64_t words_count(const uint64_t *map, size_t words);

/* seen[p] |= bit for each page p of the map; seen has room for words * 64. */
void words_mark(const uint64_t *map, size_t words, uint16_t bit, uint16_t *seen);

/* Each pattern that has the bit `from` gets `into` instead; n is a multiple of 64. */
void words_join(uint16_t *seen, size_t n, uint16_t from, uint16_t into);

/* counts, one for each of 256 classes: counts[class_of[seen[p] & known]] += 1 for each page p of
 * the map; counts are not cleared. */
void words_histogram(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
		     const uint8_t *class_of, uint64_t *counts);

/*
 * The same for all pages of a bitmap's words, with or without a bit in any; of each `every` words
 * one is looked at, and counts for all of them.
 */
void words_histogram_all(const uint16_t *seen, size_t words, size_t every, uint16_t known,
			 const uint8_t *class_of, uint64_t *counts);

/*
 * keep = those pages of the map whose class is below `limit`, and of those that are of class
 * `limit` all but the first `but`. Pages of higher classes are left out. Returns how many are left
 * out. keep may be map.
 */
uint64_t words_colder(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
		      const uint8_t *class_of, unsigned limit, uint64_t but, uint64_t *keep);

#endif
