/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/words.h"

#include <stdlib.h>
#include <string.h>

/* One translation for any machine, on x86-64 another for AVX2, from the same bodies. */
#define BODY static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define FAST(ret, name, params, args)                                                              \
	__attribute__((target("avx2,bmi,popcnt"))) static ret name##_avx2 params                   \
	{                                                                                          \
		return name##_body args;                                                           \
	}
#define CHOOSE(name, args)                                                                         \
	(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") ? name##_avx2 args        \
									 : name##_body args)
#else
#define FAST(ret, name, params, args)
#define CHOOSE(name, args) (name##_body args)
#endif

/* From so many pages of a word on, looking at all 64 is faster than finding them. */
#define DENSE 24
/* Counters side by side, so that a count need not wait for the one before. */
#define LANES	4
#define CLASSES 256

typedef uint16_t patterns __attribute__((vector_size(32)));
#define AT_ONCE 16

uint64_t *words_create(uint64_t pages)
{
	return calloc(words_of(pages), sizeof(uint64_t));
}

BODY uint64_t count_body(const uint64_t *map, size_t words)
{
	uint64_t n = 0;

	for (size_t w = 0; w < words; w++)
		n += (uint64_t)__builtin_popcountll(map[w]);
	return n;
}

FAST(uint64_t, count, (const uint64_t *map, size_t words), (map, words))

uint64_t words_count(const uint64_t *map, size_t words)
{
	return CHOOSE(count, (map, words));
}

BODY void mark_body(const uint64_t *map, size_t words, uint16_t bit, uint16_t *seen)
{
	const patterns select = {1,	  1 << 1,  1 << 2,  1 << 3, 1 << 4,  1 << 5,
				 1 << 6,  1 << 7,  1 << 8,  1 << 9, 1 << 10, 1 << 11,
				 1 << 12, 1 << 13, 1 << 14, 1 << 15};

	for (size_t w = 0; w < words; w++) {
		if (!map[w])
			continue;
		for (unsigned part = 0; part < 64 / AT_ONCE; part++) {
			uint16_t *to = seen + w * 64 + part * AT_ONCE;
			uint16_t bits = (uint16_t)(map[w] >> part * AT_ONCE);
			patterns hit, v;

			memcpy(&v, to, sizeof(v));
			hit = (patterns)((select & bits) == select);
			v |= hit & bit;
			memcpy(to, &v, sizeof(v));
		}
	}
}

FAST(void, mark, (const uint64_t *map, size_t words, uint16_t bit, uint16_t *seen),
     (map, words, bit, seen))

void words_mark(const uint64_t *map, size_t words, uint16_t bit, uint16_t *seen)
{
	CHOOSE(mark, (map, words, bit, seen));
}

BODY void join_body(uint16_t *seen, size_t n, uint16_t from, uint16_t into)
{
	for (size_t i = 0; i < n; i += AT_ONCE) {
		patterns v, had;

		memcpy(&v, seen + i, sizeof(v));
		had = (patterns)((v & from) != 0);
		v = (v & (uint16_t)~from) | (had & into);
		memcpy(seen + i, &v, sizeof(v));
	}
}

FAST(void, join, (uint16_t * seen, size_t n, uint16_t from, uint16_t into), (seen, n, from, into))

void words_join(uint16_t *seen, size_t n, uint16_t from, uint16_t into)
{
	CHOOSE(join, (seen, n, from, into));
}

BODY void histogram_body(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
			 const uint8_t *class_of, uint64_t *counts)
{
	for (size_t w = 0; w < words; w++) {
		const uint16_t *at = seen + w * 64;
		uint64_t bits = map[w];

		if (bits == ~0ull) {
			for (unsigned i = 0; i < 64; i++)
				counts[i % LANES * CLASSES + class_of[at[i] & known]]++;
			continue;
		}
		for (unsigned i = 0; bits; bits &= bits - 1, i++)
			counts[i % LANES * CLASSES + class_of[at[__builtin_ctzll(bits)] & known]]++;
	}
}

FAST(void, histogram,
     (const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
      const uint8_t *class_of, uint64_t *counts),
     (map, words, seen, known, class_of, counts))

static void add_lanes(const uint64_t *lanes, uint64_t *counts)
{
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned lane = 0; lane < LANES; lane++)
			if (lanes[lane * CLASSES + c])
				counts[c] += lanes[lane * CLASSES + c];
}

void words_histogram(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
		     const uint8_t *class_of, uint64_t *counts)
{
	uint64_t lanes[LANES * CLASSES] = {0};

	CHOOSE(histogram, (map, words, seen, known, class_of, lanes));
	add_lanes(lanes, counts);
}

BODY void histogram_all_body(const uint16_t *seen, size_t words, size_t every, uint16_t known,
			     const uint8_t *class_of, uint64_t *counts)
{
	for (size_t w = 0; w < words; w += every) {
		const uint16_t *at = seen + w * 64;

		for (unsigned i = 0; i < 64; i++)
			counts[i % LANES * CLASSES + class_of[at[i] & known]]++;
	}
}

FAST(void, histogram_all,
     (const uint16_t *seen, size_t words, size_t every, uint16_t known, const uint8_t *class_of,
      uint64_t *counts),
     (seen, words, every, known, class_of, counts))

void words_histogram_all(const uint16_t *seen, size_t words, size_t every, uint16_t known,
			 const uint8_t *class_of, uint64_t *counts)
{
	uint64_t lanes[LANES * CLASSES] = {0};

	CHOOSE(histogram_all, (seen, words, every, known, class_of, lanes));
	for (unsigned i = 0; i < LANES * CLASSES; i++)
		lanes[i] *= every;
	add_lanes(lanes, counts);
}

/* Which of the pages `bits` of a word are hotter than the limit, and which are of that class. */
BODY void compare(const uint16_t *at, uint64_t bits, uint16_t known, const uint8_t *class_of,
		  unsigned limit, uint64_t *hotter, uint64_t *equal)
{
	uint64_t above = 0, same = 0;

	if (__builtin_popcountll(bits) >= DENSE) {
		for (unsigned i = 0; i < 64; i++) {
			unsigned class = class_of[at[i] & known];

			above |= (uint64_t)(class > limit) << i;
			same |= (uint64_t)(class == limit) << i;
		}
	} else {
		for (uint64_t left = bits; left; left &= left - 1) {
			unsigned i = (unsigned)__builtin_ctzll(left);
			unsigned class = class_of[at[i] & known];

			above |= (uint64_t)(class > limit) << i;
			same |= (uint64_t)(class == limit) << i;
		}
	}
	*hotter = above & bits;
	*equal = same & bits;
}

/* All but the first `most` pages of a word are taken away. */
BODY uint64_t first_of(uint64_t bits, uint64_t most)
{
	uint64_t first = 0;

	for (; bits && most; most--, bits &= bits - 1)
		first |= bits & -bits;
	return first;
}

BODY uint64_t colder_body(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
			  const uint8_t *class_of, unsigned limit, uint64_t but, uint64_t *keep)
{
	uint64_t out = 0;

	for (size_t w = 0; w < words; w++) {
		uint64_t bits = map[w], hotter, equal;

		keep[w] = bits;
		if (!bits)
			continue;
		compare(seen + w * 64, bits, known, class_of, limit, &hotter, &equal);
		if (equal && but) {
			equal = first_of(equal, but);
			but -= (uint64_t)__builtin_popcountll(equal);
			hotter |= equal;
		}
		keep[w] = bits & ~hotter;
		out += (uint64_t)__builtin_popcountll(hotter);
	}
	return out;
}

FAST(uint64_t, colder,
     (const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
      const uint8_t *class_of, unsigned limit, uint64_t but, uint64_t *keep),
     (map, words, seen, known, class_of, limit, but, keep))

uint64_t words_colder(const uint64_t *map, size_t words, const uint16_t *seen, uint16_t known,
		      const uint8_t *class_of, unsigned limit, uint64_t but, uint64_t *keep)
{
	return CHOOSE(colder, (map, words, seen, known, class_of, limit, but, keep));
}
