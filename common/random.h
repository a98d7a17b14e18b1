/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_RANDOM_H
#define COMMON_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014): the same numbers on every machine for one seed. */
struct random {
	uint64_t state;
};

static inline uint64_t random_mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline void random_seed(struct random *random, uint64_t seed)
{
	random->state = random_mix(seed + 0x9e3779b97f4a7c15ull);
}

static inline uint64_t random_next(struct random *random)
{
	random->state += 0x9e3779b97f4a7c15ull;
	return random_mix(random->state);
}

/* [0, 1) */
static inline double random_unit(struct random *random)
{
	return (double)(random_next(random) >> 11) * 0x1p-53;
}

/* 0 .. n - 1; n below 2^32 has no bias worth the name. */
static inline uint64_t random_below(struct random *random, uint64_t n)
{
	return (uint64_t)(random_unit(random) * (double)n);
}

#endif
