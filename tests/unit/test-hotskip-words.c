/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each pass against a page-by-page one: as chosen for this machine, and as any machine has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* the bodies are static */
#include "hotskip/words.c" /* NOLINT(bugprone-suspicious-include) */

#define WORDS 96
#define PAGES (WORDS * 64)

static uint64_t map[WORDS];
static uint16_t seen[PAGES], expected_seen[PAGES], generic_seen[PAGES];
static uint8_t class_of[65536];
static const uint16_t known = 0xfbdf;

/* Words that are empty, full, dense and sparse; patterns that are mostly 0 in places. */
static void fill(void)
{
	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t bits = ((uint64_t)random() << 33) ^ ((uint64_t)random() << 11) ^
				(uint64_t)random();

		map[w] = w % 4 == 0 ? 0 : w % 4 == 1 ? ~0ull : w % 4 == 2 ? bits : bits & bits >> 7;
		if (w % 4 == 3)
			map[w] &= (uint64_t)random() << 20;
	}
	for (unsigned p = 0; p < PAGES; p++)
		seen[p] = p / 512 % 2 ? 0 : (uint16_t)random();
	for (unsigned i = 0; i < 65536; i++)
		class_of[i] = (uint8_t)(i ? random() % 32 : 0);
}

static void mark_and_join(void **test)
{
	(void)test;
	for (unsigned turn = 0; turn < 20; turn++) {
		uint16_t bit = (uint16_t)(1u << turn % 16);

		fill();
		for (unsigned p = 0; p < PAGES; p++)
			expected_seen[p] = bit_get(map, p) ? seen[p] | bit : seen[p];
		memcpy(generic_seen, seen, sizeof(seen));
		words_mark(map, WORDS, bit, seen);
		mark_body(map, WORDS, bit, generic_seen);
		assert_memory_equal(seen, expected_seen, sizeof(seen));
		assert_memory_equal(generic_seen, expected_seen, sizeof(seen));

		for (unsigned p = 0; p < PAGES; p++)
			expected_seen[p] = seen[p] & bit ? (seen[p] & ~bit) | 0x20 : seen[p];
		if (bit == 0x20)
			continue;
		words_join(seen, PAGES, bit, 0x20);
		join_body(generic_seen, PAGES, bit, 0x20);
		assert_memory_equal(seen, expected_seen, sizeof(seen));
		assert_memory_equal(generic_seen, expected_seen, sizeof(seen));
	}
}

static void counts(void **test)
{
	(void)test;
	for (unsigned turn = 0; turn < 20; turn++) {
		uint64_t naive[CLASSES] = {0}, found[CLASSES] = {0}, all[CLASSES] = {0};
		uint64_t naive_all[CLASSES] = {0}, lanes[LANES * CLASSES] = {0},
			 generic[CLASSES] = {0};
		uint64_t total = 0;

		fill();
		for (unsigned p = 0; p < PAGES; p++) {
			naive_all[class_of[seen[p] & known]]++;
			if (bit_get(map, p)) {
				naive[class_of[seen[p] & known]]++;
				total++;
			}
		}
		words_histogram(map, WORDS, seen, known, class_of, found);
		assert_memory_equal(found, naive, sizeof(naive));
		words_histogram_all(seen, WORDS, 1, known, class_of, all);
		assert_memory_equal(all, naive_all, sizeof(naive));
		histogram_body(map, WORDS, seen, known, class_of, lanes);
		add_lanes(lanes, generic);
		assert_memory_equal(generic, naive, sizeof(naive));
		memset(lanes, 0, sizeof(lanes));
		memset(generic, 0, sizeof(generic));
		histogram_all_body(seen, WORDS, 1, known, class_of, lanes);
		add_lanes(lanes, generic);
		assert_memory_equal(generic, naive_all, sizeof(naive));
		memset(naive_all, 0, sizeof(naive_all));
		memset(all, 0, sizeof(all));
		for (unsigned p = 0; p < PAGES; p++)
			if (p / 64 % 5 == 0)
				naive_all[class_of[seen[p] & known]] += 5;
		words_histogram_all(seen, WORDS, 5, known, class_of, all);
		assert_memory_equal(all, naive_all, sizeof(naive_all));
		assert_int_equal(words_count(map, WORDS), total);
		assert_int_equal(count_body(map, WORDS), total);
	}
}

static void colder(void **test)
{
	(void)test;
	for (unsigned turn = 0; turn < 60; turn++) {
		uint64_t keep[WORDS], generic[WORDS], naive[WORDS] = {0}, out = 0;
		unsigned limit = turn % 32;
		uint64_t but = (uint64_t)random() % 200, left = but;

		fill();
		for (unsigned p = 0; p < PAGES; p++) {
			unsigned class = class_of[seen[p] & known];

			if (!bit_get(map, p))
				continue;
			if (class > limit || (class == limit && left > 0)) {
				left -= class == limit;
				out++;
			} else {
				bit_set(naive, p);
			}
		}
		assert_int_equal(words_colder(map, WORDS, seen, known, class_of, limit, but, keep),
				 out);
		assert_memory_equal(keep, naive, sizeof(naive));
		assert_int_equal(
			colder_body(map, WORDS, seen, known, class_of, limit, but, generic), out);
		assert_memory_equal(generic, naive, sizeof(naive));
		/* in place */
		words_colder(map, WORDS, seen, known, class_of, limit, but, map);
		assert_memory_equal(map, naive, sizeof(naive));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mark_and_join),
		cmocka_unit_test(counts),
		cmocka_unit_test(colder),
	};

	srandom(5);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
