/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_CODEC_KIT_H
#define TEST_CODEC_KIT_H

/* A guest that writes what guests write, and an encoder whose output is decoded and compared. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/codec/page_decoder.h"
#include "migrate/codec/page_encoder.h"

#define KIT_UNITS  600u
#define KIT_PIECES 64u

struct kit_random {
	uint64_t state;
};

static inline uint64_t kit_next(struct kit_random *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state;
}

static inline unsigned kit_below(struct kit_random *r, unsigned n)
{
	return (unsigned)(kit_next(r) % n);
}

/* Units of 1 to KIT_PIECES pieces; most have those of a page. */
struct kit_guest {
	struct kit_random random;
	uint8_t content[KIT_UNITS][KIT_PIECES * 1024];
	unsigned pieces[KIT_UNITS];
};

/* Noise, or a little less, so that there is something to compress. */
static inline void kit_noise(struct kit_guest *g, uint8_t *to, size_t n)
{
	uint64_t mask = kit_below(&g->random, 4) ? 0x000f0f0f00000f0full : ~0ull;

	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = kit_next(&g->random) & mask;

		memcpy(to + i, &word, 8);
	}
}

/* One unit changes, in one of the ways in which pages do. */
static inline unsigned kit_write(struct kit_guest *g)
{
	unsigned unit = kit_below(&g->random, KIT_UNITS), from = kit_below(&g->random, KIT_UNITS);
	uint8_t *to = g->content[unit];
	size_t n = (size_t)g->pieces[unit] * 1024, piece = kit_below(&g->random, g->pieces[unit]);

	switch (kit_below(&g->random, 10)) {
	case 0:
		memset(to, 0, n);
		break;
	case 1:
		memset(to, (int)kit_below(&g->random, 256), n);
		break;
	case 2: /* another unit's content, or a piece of it */
		memcpy(to, g->content[from], n);
		break;
	case 3:
		memcpy(to + piece * 1024, g->content[from], 1024);
		break;
	case 4:
		memset(to + piece * 1024, 0, 1024);
		to[piece * 1024 + 77] = (uint8_t)kit_next(&g->random);
		break;
	case 5: /* as it was */
		break;
	case 6:
	case 7: /* a few words, or many */
		for (unsigned i = kit_below(&g->random, 200); i > 0; i--)
			to[kit_below(&g->random, (unsigned)n)] ^= (uint8_t)kit_next(&g->random);
		break;
	default:
		kit_noise(g, to, n);
	}
	return unit;
}

static inline struct kit_guest *kit_guest_create(uint64_t seed)
{
	struct kit_guest *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	g->random.state = seed;
	for (unsigned i = 0; i < KIT_UNITS; i++)
		g->pieces[i] = i % 8 ? 4 : 1 + kit_below(&g->random, KIT_PIECES);
	return g;
}

/* Far apart, and some of them neighbours. */
static inline uint64_t kit_number(unsigned unit)
{
	return unit < KIT_UNITS / 2 ? unit : 0xffff000000000000ull + unit * 0x100000ull;
}

/* Of what was encoded and has not come out yet: copies. */
struct kit_unit {
	uint64_t number;
	unsigned pieces;
	uint8_t *content;
};

struct kit_queue {
	struct kit_unit *units;
	size_t first, end;
	bool wrong;
};

static inline void kit_expect(struct kit_queue *q, uint64_t number, const uint8_t *content,
			      unsigned pieces)
{
	struct kit_unit *unit = &q->units[q->end++];

	*unit = (struct kit_unit){number, pieces, malloc((size_t)pieces * 1024)};
	memcpy(unit->content, content, (size_t)pieces * 1024);
}

static inline int kit_came(void *arg, uint64_t number, const uint8_t *content, unsigned pieces,
			   struct error **err)
{
	struct kit_queue *q = arg;
	struct kit_unit *unit = &q->units[q->first];

	(void)err;
	if (q->first == q->end || unit->number != number || unit->pieces != pieces ||
	    memcmp(unit->content, content, (size_t)pieces * 1024) != 0) {
		q->wrong = true;
		return 0;
	}
	free(unit->content);
	q->first++;
	return 0;
}

#endif
