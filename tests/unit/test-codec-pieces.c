/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The passes over content against plain ones; what both ends keep, and the way to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "migrate/codec/piece_index.h"
#include "migrate/codec/piece_store.h"
#include "migrate/codec/pieces.h"
#include "tests/fuzz/rig.h"

#define SLOTS 3000u

static uint64_t state = 0x243f6a8885a308d3ull;

static uint64_t next(void)
{
	return rig_random(&state);
}

static void fill_random(uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(next() >> 32);
}

static void test_filled(void **unused)
{
	uint8_t content[4 * PIECE];
	uint64_t word = 0;

	(void)unused;
	for (unsigned round = 0; round < 2000; round++) {
		size_t n = (1 + next() % 4) * PIECE, at = next() % n;
		uint64_t with = round % 5 ? next() : 0;

		pieces_fill(content, n, with);
		assert_true(pieces_filled(content, n, &word));
		assert_int_equal(word, with);
		content[at] ^= (uint8_t)(1 << next() % 8);
		assert_false(pieces_filled(content, n, &word));
	}
}

/* Any change, at both ends of every word as well, comes back; against zeroes likewise. */
static void test_delta(void **unused)
{
	uint8_t old[PIECE], piece[PIECE], back[PIECE], delta[PIECE_DELTA_MOST];
	struct piece_map map;

	(void)unused;
	for (unsigned round = 0; round < 3000; round++) {
		unsigned changes = (unsigned)(next() % 300), expected = 0;
		bool zeroes = round % 3 == 0;
		size_t n;

		memset(old, 0, PIECE);
		if (!zeroes)
			fill_random(old, PIECE);
		memcpy(piece, old, PIECE);
		for (unsigned i = 0; i < changes; i++)
			piece[next() % PIECE] = (uint8_t)next();
		for (unsigned w = 0; w < PIECE_WORDS; w++)
			expected += memcmp(piece + w * 8, old + w * 8, 8) != 0;
		assert_int_equal(piece_diff(piece, zeroes ? NULL : old, &map), expected);
		n = piece_delta_write(delta, piece, zeroes ? NULL : old, &map);
		assert_int_equal(n, PIECE_MAP_SIZE + expected * 8);
		assert_int_equal(piece_delta_size(delta), n);
		memcpy(back, old, PIECE);
		piece_delta_apply(back, delta);
		assert_memory_equal(back, piece, PIECE);
	}
}

/* Two stores, told the same, are the same; the ring's oldest piece goes. */
static void test_store(void **unused)
{
	struct piece_store *a = piece_store_create(SLOTS, piece_store_versions(SLOTS), NULL);
	struct piece_store *b = piece_store_create(SLOTS, piece_store_versions(SLOTS), NULL);
	static uint8_t kept[SLOTS][PIECE];
	uint8_t piece[PIECE];

	(void)unused;
	for (unsigned i = 0; i < 3 * SLOTS; i++) {
		uint32_t slots[4] = {i % SLOTS, 1, PIECE_NOWHERE, (uint32_t)next() % SLOTS};
		uint64_t unit = next() % 2000;
		const struct piece_version *va, *vb;

		fill_random(piece, PIECE);
		assert_int_equal(piece_store_insert(a, piece), i % SLOTS);
		assert_int_equal(piece_store_insert(b, piece), i % SLOTS);
		memcpy(kept[i % SLOTS], piece, PIECE);
		assert_int_equal(piece_store_used(a), i < SLOTS ? i + 1 : SLOTS);
		piece_store_remember(a, unit, slots);
		piece_store_remember(b, unit, slots);
		va = piece_store_version(a, unit);
		assert_non_null(va);
		assert_memory_equal(va->slots, slots, sizeof(slots));
		unit = next() % 2000;
		va = piece_store_version(a, unit);
		vb = piece_store_version(b, unit);
		assert_true(!va == !vb && (!va || memcmp(va, vb, sizeof(*va)) == 0));
	}
	for (unsigned i = 0; i < SLOTS; i++)
		assert_memory_equal(piece_store_at(a, i), kept[i], PIECE);
	piece_store_destroy(a);
	piece_store_destroy(b);
	piece_store_destroy(NULL);
}

/* What is found is what was looked for, even if all hashes are the same. */
static void find_all(uint64_t hash_mask, unsigned least)
{
	struct piece_store *store = piece_store_create(SLOTS, 2, NULL);
	struct piece_index *index = piece_index_create(SLOTS, NULL);
	uint8_t secret[PIECE_SECRET], piece[PIECE], old[PIECE];
	unsigned found = 0;

	piece_secret(secret, 1);
	for (unsigned i = 0; i < 4 * SLOTS; i++) {
		uint64_t hash;
		uint32_t slot;

		fill_random(piece, PIECE);
		hash = piece_hash(piece, secret) & hash_mask;
		assert_int_equal(piece_index_find(index, store, hash, piece), PIECE_NOWHERE);
		slot = piece_store_insert(store, piece);
		piece_index_add(index, hash, slot);
		assert_int_equal(piece_index_find(index, store, hash, piece), slot);
		slot = (uint32_t)next() % piece_store_used(store);
		memcpy(old, piece_store_at(store, slot), PIECE);
		hash = piece_hash(old, secret) & hash_mask;
		if (piece_index_find(index, store, hash, old) == slot)
			found++;
	}
	assert_true(found >= least);
	piece_index_destroy(index);
	piece_index_destroy(NULL);
	piece_store_destroy(store);
}

static void test_index(void **unused)
{
	(void)unused;
	find_all(~0ull, 4 * SLOTS * 99 / 100);
	find_all(0, 1);
	find_all(0xff, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filled),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
