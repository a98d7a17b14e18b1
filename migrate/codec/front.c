/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "migrate/codec/known_pages.h"
#include "migrate/codec/piece_index.h"
#include "migrate/codec/piece_store.h"
#include "migrate/codec/pieces.h"

/*
 * Up to so many changed words a delta is sent, else the piece as such: by then zstd does as well
 * with the piece, and the piece is of use to others. Against zeroes likewise.
 */
#define DELTA_WORDS  64u
#define SPARSE_WORDS 24u

#define GROUP 4u

struct page_front {
	struct piece_store *store;
	struct piece_index *index;
	uint8_t secret[PIECE_SECRET];
	uint64_t next_unit; /* that needs no number */
	uint32_t next_slot; /* that needs none */
	struct known_pages *known;
	uint32_t next_known; /* that needs none */
	/* zero units that wait for others to follow */
	uint64_t run_first;
	uint32_t run;
	unsigned run_pieces;
	struct front_stats stats;
};

/* A unit while it is looked at. */
struct view {
	const uint8_t *content;
	unsigned pieces;
	uint8_t kinds[CODEC_UNIT_PIECES];
	uint8_t args[CODEC_OP_MOST];
	size_t args_size;
};

struct unit_batch *unit_batch_create(size_t payload_full, struct error **err)
{
	struct unit_batch *b = calloc(1, sizeof(*b));

	if (b) {
		b->ops = malloc(CODEC_OPS_MOST);
		b->payload = malloc(payload_full + CODEC_UNIT_PIECES * PIECE);
		b->payload_full = payload_full;
	}
	if (!b || !b->ops || !b->payload) {
		unit_batch_destroy(b);
		error_set(err, ENOMEM, "no memory for a batch of %zu bytes of pages", payload_full);
		return NULL;
	}
	return b;
}

void unit_batch_destroy(struct unit_batch *b)
{
	if (!b)
		return;
	free(b->ops);
	free(b->payload);
	free(b);
}

/*
 * Full is what has no room for a page: zstd cuts it into blocks of 128 KiB, and a little more than
 * two of them would end in one of a few hundred words, with a Huffman table of its own. In the
 * operations there is room for a run of zero units before the unit.
 */
bool unit_batch_full(const struct unit_batch *b)
{
	return b->payload_size + CODEC_PAGE_PIECES * PIECE > b->payload_full ||
	       b->units >= CODEC_UNITS_MOST || b->ops_size + 2 * CODEC_OP_MOST > CODEC_OPS_MOST;
}

struct page_front *page_front_create(uint32_t slots, uint32_t versions, uint64_t seed,
				     struct error **err)
{
	struct page_front *f = calloc(1, sizeof(*f));

	if (!f) {
		error_set(err, ENOMEM, "no memory for an encoder of pages");
		return NULL;
	}
	f->store = piece_store_create(slots, versions, err);
	f->index = f->store ? piece_index_create(slots, err) : NULL;
	if (!f->index) {
		page_front_destroy(f);
		return NULL;
	}
	piece_secret(f->secret, seed);
	return f;
}

void page_front_destroy(struct page_front *f)
{
	if (!f)
		return;
	piece_store_destroy(f->store);
	piece_index_destroy(f->index);
	free(f);
}

void page_front_begin(struct page_front *f, struct unit_batch *b, bool learn)
{
	(void)f;
	b->ops_size = b->payload_size = 0;
	b->units = 0;
	b->sum = 0;
	b->learn = learn;
}

static size_t put_varint(uint8_t *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

/* The byte, the number if it needs one, and the pieces. */
static void put_op(struct page_front *f, struct unit_batch *b, enum codec_shape shape,
		   uint64_t unit, unsigned pieces)
{
	uint8_t *op = b->ops + b->ops_size++;

	*op = (uint8_t)shape;
	if (unit != f->next_unit) {
		*op |= OP_NUMBER;
		b->ops_size += put_varint(b->ops + b->ops_size,
					  codec_zigzag((int64_t)(unit - f->next_unit)));
	}
	if (pieces != CODEC_PAGE_PIECES) {
		*op |= OP_PIECES;
		b->ops_size += put_varint(b->ops + b->ops_size, pieces);
	}
	f->next_unit = unit + 1;
}

static void end_run(struct page_front *f, struct unit_batch *b)
{
	if (f->run == 0)
		return;
	put_op(f, b, SHAPE_ZEROES, f->run_first, f->run_pieces);
	b->ops_size += put_varint(b->ops + b->ops_size, f->run - 1);
	f->next_unit += f->run - 1;
	f->run = 0;
}

static void put_zeroes(struct page_front *f, struct unit_batch *b, uint64_t unit, unsigned pieces)
{
	if (f->run > 0 && (unit != f->run_first + f->run || pieces != f->run_pieces))
		end_run(f, b);
	if (f->run++ == 0) {
		f->run_first = unit;
		f->run_pieces = pieces;
	}
	f->stats.pieces[PIECE_ZERO] += pieces;
}

static void put_filled(struct page_front *f, struct unit_batch *b, uint64_t unit, unsigned pieces,
		       uint64_t word)
{
	put_op(f, b, SHAPE_FILLED, unit, pieces);
	put_le64(b->ops + b->ops_size, word);
	b->ops_size += sizeof(word);
	f->stats.pieces[PIECE_FILLED] += pieces;
}

static enum codec_piece see_filled(struct view *v, uint64_t word)
{
	if (word == 0)
		return PIECE_ZERO;
	put_le64(v->args + v->args_size, word);
	v->args_size += sizeof(word);
	return PIECE_FILLED;
}

static enum codec_piece see_reference(struct page_front *f, struct view *v, uint32_t slot)
{
	int64_t away = (int64_t)slot - (int64_t)f->next_slot;

	f->next_slot = slot + 1;
	if (away == 0)
		return PIECE_NEXT;
	v->args_size += put_varint(v->args + v->args_size, codec_zigzag(away));
	return PIECE_REFERENCE;
}

static enum codec_piece see_delta(struct page_front *f, struct unit_batch *b, const uint8_t *piece,
				  uint64_t hash, uint32_t slot, const struct piece_map *map)
{
	uint8_t *old = piece_store_change(f->store, slot);
	size_t n = piece_delta_write(b->payload + b->payload_size, piece, old, map);

	b->payload_size += n;
	f->stats.delta_bytes += n;
	memcpy(old, piece, PIECE);
	piece_index_add(f->index, hash, slot);
	return PIECE_DELTA;
}

static enum codec_piece see_new(struct page_front *f, struct unit_batch *b, const uint8_t *piece,
				uint64_t hash, uint32_t *slot)
{
	uint8_t *to = b->payload + b->payload_size;
	struct piece_map map;

	*slot = piece_store_insert(f->store, piece);
	piece_index_add(f->index, hash, *slot);
	if (piece_diff(piece, NULL, &map) <= SPARSE_WORDS) {
		size_t n = piece_delta_write(to, piece, NULL, &map);

		b->payload_size += n;
		f->stats.delta_bytes += n;
		return PIECE_SPARSE;
	}
	memcpy(to, piece, PIECE);
	b->payload_size += PIECE;
	return PIECE_LITERAL;
}

/* *slot: where the last version of the piece is, and then where this one is. */
static enum codec_piece see_piece(struct page_front *f, struct unit_batch *b, struct view *v,
				  const uint8_t *piece, uint64_t hash, uint32_t *slot)
{
	uint32_t same;

	b->sum = codec_sum(b->sum, hash);
	if (*slot < piece_store_used(f->store)) {
		struct piece_map map;
		unsigned changed = piece_diff(piece, piece_store_at(f->store, *slot), &map);

		if (changed == 0)
			return PIECE_UNCHANGED;
		if (changed <= DELTA_WORDS)
			return see_delta(f, b, piece, hash, *slot, &map);
	}
	same = piece_index_find(f->index, f->store, hash, piece);
	if (same == PIECE_NOWHERE)
		return see_new(f, b, piece, hash, slot);
	*slot = same;
	return see_reference(f, v, same);
}

/* Up to four pieces, which have one version. */
static void see_group(struct page_front *f, struct unit_batch *b, struct view *v, uint64_t unit,
		      unsigned from)
{
	unsigned n = v->pieces - from < GROUP ? v->pieces - from : GROUP;
	const uint8_t *content = v->content + (size_t)from * PIECE;
	uint32_t slots[GROUP] = {PIECE_NOWHERE, PIECE_NOWHERE, PIECE_NOWHERE, PIECE_NOWHERE};
	uint64_t word[GROUP], hash[GROUP];
	bool filled[GROUP];
	const struct piece_version *version;

	unit = piece_store_unit(unit, from / GROUP);
	piece_store_expect(f->store, unit);
	for (unsigned i = 0; i < n; i++) {
		filled[i] = pieces_filled(content + (size_t)i * PIECE, PIECE, &word[i]);
		if (filled[i])
			continue;
		hash[i] = piece_hash(content + (size_t)i * PIECE, f->secret);
		piece_index_expect(f->index, hash[i]);
	}
	version = piece_store_version(f->store, unit);
	if (version)
		memcpy(slots, version->slots, sizeof(slots));
	for (unsigned i = 0; i < n; i++) {
		if (filled[i]) {
			slots[i] = PIECE_NOWHERE;
			v->kinds[from + i] = (uint8_t)see_filled(v, word[i]);
		} else {
			v->kinds[from + i] = (uint8_t)see_piece(
				f, b, v, content + (size_t)i * PIECE, hash[i], &slots[i]);
		}
		f->stats.pieces[v->kinds[from + i]]++;
	}
	piece_store_remember(f->store, unit, slots);
}

static bool all(const struct view *v, unsigned from, enum codec_piece kind)
{
	for (unsigned i = from; i < v->pieces; i++)
		if (v->kinds[i] != kind)
			return false;
	return true;
}

static enum codec_shape shape_of(const struct view *v)
{
	if (all(v, 0, PIECE_LITERAL))
		return SHAPE_LITERAL;
	if (all(v, 0, PIECE_UNCHANGED))
		return SHAPE_UNCHANGED;
	if (v->kinds[0] == PIECE_REFERENCE && all(v, 1, PIECE_NEXT))
		return SHAPE_COPY;
	return SHAPE_MIXED;
}

static void put_view(struct page_front *f, struct unit_batch *b, const struct view *v,
		     uint64_t unit)
{
	enum codec_shape shape = shape_of(v);

	put_op(f, b, shape, unit, v->pieces);
	for (unsigned i = 0; shape == SHAPE_MIXED && i < v->pieces; i += 2)
		b->ops[b->ops_size++] =
			(uint8_t)(v->kinds[i] | (i + 1 < v->pieces ? v->kinds[i + 1] << 4 : 0));
	memcpy(b->ops + b->ops_size, v->args, v->args_size);
	b->ops_size += v->args_size;
}

static void put_literal(struct page_front *f, struct unit_batch *b, uint64_t unit,
			const uint8_t *content, unsigned pieces)
{
	put_op(f, b, SHAPE_LITERAL, unit, pieces);
	memcpy(b->payload + b->payload_size, content, (size_t)pieces * PIECE);
	b->payload_size += (size_t)pieces * PIECE;
	f->stats.pieces[PIECE_LITERAL] += pieces;
}

/* ---- What the other end offered ---- */

/* Its pieces are from now on as those of a unit that was sent. */
static void learn_known(struct page_front *f, struct unit_batch *b, uint64_t unit,
			const uint8_t *content)
{
	uint32_t slots[GROUP];

	for (unsigned i = 0; i < GROUP; i++) {
		const uint8_t *piece = content + (size_t)i * PIECE;
		uint64_t word, hash;

		slots[i] = PIECE_NOWHERE;
		if (pieces_filled(piece, PIECE, &word))
			continue;
		hash = piece_hash(piece, f->secret);
		b->sum = codec_sum(b->sum, hash);
		slots[i] = piece_store_insert(f->store, piece);
		piece_index_add(f->index, hash, slots[i]);
	}
	piece_store_remember(f->store, piece_store_unit(unit, 0), slots);
}

/* What has a last version here is a delta against it, or not worth the digest. */
static bool may_be_known(const struct page_front *f, const struct unit_batch *b, uint64_t unit,
			 unsigned pieces)
{
	return f->known && pieces == CODEC_PAGE_PIECES &&
	       !(b->learn && piece_store_version(f->store, piece_store_unit(unit, 0)));
}

static bool put_known(struct page_front *f, struct unit_batch *b, uint64_t unit,
		      const uint8_t *content)
{
	int64_t begun = clock_ns();
	uint32_t page = known_pages_find(f->known, content);

	f->stats.known_s += (double)(clock_ns() - begun) / NS_PER_SEC;
	if (page == KNOWN_NOWHERE)
		return false;
	put_op(f, b, SHAPE_KNOWN, unit, CODEC_PAGE_PIECES);
	b->ops_size += put_varint(b->ops + b->ops_size,
				  codec_zigzag((int64_t)page - (int64_t)f->next_known));
	f->next_known = page + 1;
	f->stats.known++;
	if (b->learn)
		learn_known(f, b, unit, content);
	return true;
}

void page_front_know(struct page_front *f, struct known_pages *known)
{
	f->known = known;
}

void page_front_put(struct page_front *f, struct unit_batch *b, uint64_t unit,
		    const uint8_t *content, unsigned pieces)
{
	struct view v;
	uint64_t word;
	bool filled = pieces_filled(content, (size_t)pieces * PIECE, &word);

	b->units++;
	f->stats.units++;
	if (filled && word == 0) {
		put_zeroes(f, b, unit, pieces);
		return;
	}
	end_run(f, b);
	if (filled) {
		put_filled(f, b, unit, pieces, word);
		return;
	}
	if (may_be_known(f, b, unit, pieces) && put_known(f, b, unit, content))
		return;
	if (!b->learn) {
		put_literal(f, b, unit, content, pieces);
		return;
	}
	v.content = content;
	v.pieces = pieces;
	v.args_size = 0;
	v.kinds[0] = PIECE_LITERAL; /* for the analyzer: there is one piece at least */
	for (unsigned from = 0; from < pieces; from += GROUP)
		see_group(f, b, &v, unit, from);
	put_view(f, b, &v, unit);
}

void page_front_close(struct page_front *f, struct unit_batch *b)
{
	end_run(f, b);
}

void page_front_stats(const struct page_front *f, struct front_stats *stats)
{
	*stats = f->stats;
}
