/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/pieces.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* What is compared before it is asked whether to go on. */
#define STRIDE 256u

typedef uint64_t words __attribute__((vector_size(32)));
#define AT_ONCE (sizeof(words) / sizeof(uint64_t))

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* Whether STRIDE bytes are all of this word. */
static bool stride_filled(const uint8_t *p, uint64_t word)
{
	words differ = {0};

	for (size_t i = 0; i < STRIDE; i += sizeof(words)) {
		words v;

		memcpy(&v, p + i, sizeof(v));
		differ |= v ^ word;
	}
	return (differ[0] | differ[1] | differ[2] | differ[3]) == 0;
}

bool pieces_filled(const uint8_t *content, size_t n, uint64_t *word)
{
	uint64_t first = word_at(content);

	if (word_at(content + sizeof(first)) != first ||
	    word_at(content + n - sizeof(first)) != first)
		return false;
	for (size_t i = 0; i < n; i += STRIDE)
		if (!stride_filled(content + i, first))
			return false;
	*word = first;
	return true;
}

void pieces_fill(uint8_t *content, size_t n, uint64_t word)
{
	for (size_t i = 0; i < n; i += sizeof(word))
		memcpy(content + i, &word, sizeof(word));
}

static void diff_plain(const uint8_t *piece, const uint8_t *old, struct piece_map *map)
{
	for (unsigned half = 0; half < 2; half++) {
		uint64_t bits = 0;

		for (unsigned i = 0; i < 64; i++) {
			size_t at = (half * 64 + i) * sizeof(uint64_t);

			bits |= (uint64_t)(word_at(piece + at) != word_at(old + at)) << i;
		}
		map->bits[half] = bits;
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void diff_avx2(const uint8_t *piece, const uint8_t *old,
						      struct piece_map *map)
{
	for (unsigned half = 0; half < 2; half++) {
		uint64_t same = 0;

		for (unsigned i = 0; i < 64; i += 4) {
			size_t at = (half * 64 + i) * sizeof(uint64_t);
			__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(piece + at));
			__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(old + at));
			__m256d equal = _mm256_castsi256_pd(_mm256_cmpeq_epi64(a, b));

			same |= (uint64_t)(unsigned)_mm256_movemask_pd(equal) << i;
		}
		map->bits[half] = ~same;
	}
}
#endif

unsigned piece_diff(const uint8_t *piece, const uint8_t *old, struct piece_map *map)
{
	static const uint8_t zeroes[PIECE];

	if (!old)
		old = zeroes;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		diff_avx2(piece, old, map);
	else
#endif
		diff_plain(piece, old, map);
	return (unsigned)(__builtin_popcountll(map->bits[0]) + __builtin_popcountll(map->bits[1]));
}

size_t piece_delta_write(uint8_t *to, const uint8_t *piece, const uint8_t *old,
			 const struct piece_map *map)
{
	uint8_t *at = to + PIECE_MAP_SIZE;

	for (unsigned half = 0; half < 2; half++) {
		put_le64(to + half * sizeof(uint64_t), map->bits[half]);
		for (uint64_t left = map->bits[half]; left; left &= left - 1) {
			size_t i = (half * 64 + (unsigned)__builtin_ctzll(left)) * sizeof(uint64_t);
			uint64_t word = word_at(piece + i) ^ (old ? word_at(old + i) : 0);

			memcpy(at, &word, sizeof(word));
			at += sizeof(word);
		}
	}
	return (size_t)(at - to);
}

size_t piece_delta_size(const uint8_t *delta)
{
	unsigned n = (unsigned)(__builtin_popcountll(get_le64(delta)) +
				__builtin_popcountll(get_le64(delta + sizeof(uint64_t))));

	return PIECE_MAP_SIZE + n * sizeof(uint64_t);
}

void piece_delta_apply(uint8_t *piece, const uint8_t *delta)
{
	const uint8_t *at = delta + PIECE_MAP_SIZE;

	for (unsigned half = 0; half < 2; half++)
		for (uint64_t left = get_le64(delta + half * sizeof(left)); left;
		     left &= left - 1) {
			size_t i = (half * 64 + (unsigned)__builtin_ctzll(left)) * sizeof(uint64_t);
			uint64_t word = word_at(piece + i) ^ word_at(at);

			memcpy(piece + i, &word, sizeof(word));
			at += sizeof(word);
		}
}

void piece_put_away(uint8_t *to, const uint8_t *piece)
{
#if defined(__x86_64__)
	for (size_t i = 0; i < PIECE; i += sizeof(__m128i))
		_mm_stream_si128((__m128i *)(void *)(to + i),
				 _mm_loadu_si128((const __m128i *)(const void *)(piece + i)));
#else
	memcpy(to, piece, PIECE);
#endif
}

void piece_secret(uint8_t secret[PIECE_SECRET], uint64_t seed)
{
	uint8_t bytes[sizeof(seed)];

	put_le64(bytes, seed);
	XXH3_generateSecret(secret, PIECE_SECRET, bytes, sizeof(bytes));
}

uint64_t piece_hash(const uint8_t *piece, const uint8_t secret[PIECE_SECRET])
{
	return XXH3_64bits_withSecret(piece, PIECE, secret, PIECE_SECRET);
}
