/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PIECES_H
#define CODEC_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The passes over content. Content is cut into pieces of 1 KiB, four to a page (CloudNet, section
 * III-B.2, has four pieces a page too), and a piece into 128 words of 8 bytes. Plain C; on x86-64
 * a second translation for AVX2 of what the compiler does not vectorize by itself is chosen when
 * the program runs there. Every pass is O(content).
 */
#define PIECE	    1024u
#define PIECE_WORDS 128u

/* Which words of a piece; bit i of word i / 64. */
struct piece_map {
	uint64_t bits[2];
};

/*
 * Whether all of the content is one word, which is then in *word; n is a multiple of PIECE. Most
 * content is told by its first bytes.
 */
bool pieces_filled(const uint8_t *content, size_t n, uint64_t *word);

void pieces_fill(uint8_t *content, size_t n, uint64_t word);

/* The words in which two pieces differ, and how many; `old` NULL: the words that are not zero. */
unsigned piece_diff(const uint8_t *piece, const uint8_t *old, struct piece_map *map);

/*
 * A delta (CloudNet, III-B.2: XOR against the version that was sent before, run-length coded):
 * the map, 16 bytes, least significant first, and of each word in it the XOR with the old one. A
 * piece's changes lie scattered in words of 8 bytes, so a map takes less than lengths of runs.
 * `old` NULL: against zeroes. Returns the bytes written, at most PIECE_DELTA_MOST.
 */
#define PIECE_MAP_SIZE	 16u
#define PIECE_DELTA_MOST (PIECE_MAP_SIZE + PIECE)
size_t piece_delta_write(uint8_t *to, const uint8_t *piece, const uint8_t *old,
			 const struct piece_map *map);

/* Its size, by its map (PIECE_MAP_SIZE bytes). */
size_t piece_delta_size(const uint8_t *delta);

/* Makes the old piece the new one, in place. */
void piece_delta_apply(uint8_t *piece, const uint8_t *delta);

/*
 * Copies a piece past the processor's caches, to where it is not needed soon: 15 % less time for
 * all of the front. `to` is aligned to 16 bytes.
 */
void piece_put_away(uint8_t *to, const uint8_t *piece);

/* A secret for piece_hash, from a seed. */
#define PIECE_SECRET 192u
void piece_secret(uint8_t secret[PIECE_SECRET], uint64_t seed);

/*
 * 64 bits (XXH3). Not against an adversary: it tells where to look, contents are compared. With a
 * seed that the guest does not know it can't fill one bucket of a table either.
 */
uint64_t piece_hash(const uint8_t *piece, const uint8_t secret[PIECE_SECRET]);

#endif
