/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/codec_format.h"
#include "migrate/codec/piece_store.h"
#include "migrate/codec/pieces.h"

/*
 * Theory of operation
 *
 * Each operation does to ring and versions what the front did when it made it, in the same order:
 * see_piece and see_group in front.c have their counterparts here. Whatever is read comes through
 * take(), which knows what is left.
 */
#define GROUP 4u

/* What follows a batch with a wrong checksum is only to be reached by a fuzzer. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define CHECKED false
#else
#define CHECKED true
#endif
#define VARINT_MOST 10u

struct bytes {
	const uint8_t *at;
	size_t left;
	const char *name;
};

struct page_replay {
	struct piece_store *store;
	uint8_t secret[PIECE_SECRET];
	uint64_t next_unit;
	uint32_t next_slot;
	decoder_unit *unit;
	void *arg;
	decoder_known *known; /* NULL: nothing was offered */
	void *known_arg;
	uint64_t next_known;
	/* of the batch */
	struct bytes ops, payload;
	uint32_t units;
	bool learn;
	uint64_t sum;
	uint8_t content[CODEC_UNIT_PIECES * PIECE];
};

struct page_replay *page_replay_create(uint32_t slots, uint32_t versions, uint64_t seed,
				       decoder_unit *unit, void *arg, struct error **err)
{
	struct page_replay *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for a decoder of pages");
		return NULL;
	}
	r->store = piece_store_create(slots, versions, err);
	if (!r->store) {
		page_replay_destroy(r);
		return NULL;
	}
	piece_secret(r->secret, seed);
	r->unit = unit;
	r->arg = arg;
	return r;
}

void page_replay_know(struct page_replay *r, decoder_known *known, void *arg)
{
	r->known = known;
	r->known_arg = arg;
}

void page_replay_destroy(struct page_replay *r)
{
	if (!r)
		return;
	piece_store_destroy(r->store);
	free(r);
}

static const uint8_t *take(struct bytes *b, size_t n, struct error **err)
{
	const uint8_t *at = b->at;

	if (n > b->left) {
		error_set(err, EPROTO, "%s end %zu bytes too early", b->name, n - b->left);
		return NULL;
	}
	b->at += n;
	b->left -= n;
	return at;
}

static int take_varint(struct bytes *b, uint64_t *v, struct error **err)
{
	*v = 0;
	for (unsigned i = 0; i < VARINT_MOST; i++) {
		const uint8_t *p = take(b, 1, err);

		if (!p)
			return -1;
		*v |= (uint64_t)(*p & 0x7f) << 7 * i;
		if (!(*p & 0x80))
			return 0;
	}
	return error_set(err, EPROTO, "a number of more than %u bytes", VARINT_MOST);
}

static int take_word(struct bytes *b, uint64_t *word, struct error **err)
{
	const uint8_t *p = take(b, sizeof(*word), err);

	if (!p)
		return -1;
	*word = get_le64(p);
	return 0;
}

/* ---- Pieces ---- */

static int use_slot(struct page_replay *r, uint8_t *piece, uint32_t slot, struct error **err)
{
	if (slot >= piece_store_used(r->store))
		return error_set(err, EPROTO, "a reference to piece %u of the cache, which has %u",
				 slot, piece_store_used(r->store));
	memcpy(piece, piece_store_at(r->store, slot), PIECE);
	return 0;
}

static int use_reference(struct page_replay *r, uint8_t *piece, enum codec_piece kind,
			 uint32_t *slot, struct error **err)
{
	uint64_t away = 0, to;

	if (kind == PIECE_REFERENCE && take_varint(&r->ops, &away, err) < 0)
		return -1;
	to = r->next_slot + (uint64_t)codec_unzigzag(away);
	if (to >= piece_store_used(r->store))
		return error_set(err, EPROTO,
				 "a reference to piece %" PRIu64 " of the cache, which has %u", to,
				 piece_store_used(r->store));
	*slot = (uint32_t)to;
	r->next_slot = *slot + 1;
	return use_slot(r, piece, *slot, err);
}

/* A delta of the payload, checked to be there whole. */
static const uint8_t *take_delta(struct page_replay *r, struct error **err)
{
	const uint8_t *delta = take(&r->payload, PIECE_MAP_SIZE, err);

	if (!delta || !take(&r->payload, piece_delta_size(delta) - PIECE_MAP_SIZE, err))
		return NULL;
	return delta;
}

static int use_delta(struct page_replay *r, uint8_t *piece, uint32_t slot, struct error **err)
{
	const uint8_t *delta;

	if (use_slot(r, piece, slot, err) < 0)
		return -1;
	delta = take_delta(r, err);
	if (!delta)
		return -1;
	piece_delta_apply(piece, delta);
	memcpy(piece_store_change(r->store, slot), piece, PIECE);
	return 0;
}

static int use_new(struct page_replay *r, uint8_t *piece, enum codec_piece kind, uint32_t *slot,
		   struct error **err)
{
	const uint8_t *from =
		kind == PIECE_SPARSE ? take_delta(r, err) : take(&r->payload, PIECE, err);

	if (!from)
		return -1;
	if (kind == PIECE_SPARSE) {
		memset(piece, 0, PIECE);
		piece_delta_apply(piece, from);
	} else {
		memcpy(piece, from, PIECE);
	}
	if (r->learn)
		*slot = piece_store_insert(r->store, piece);
	return 0;
}

static int use_piece(struct page_replay *r, uint8_t *piece, enum codec_piece kind, uint32_t *slot,
		     struct error **err)
{
	switch (kind) {
	case PIECE_REFERENCE:
	case PIECE_NEXT:
		return use_reference(r, piece, kind, slot, err);
	case PIECE_UNCHANGED:
		return use_slot(r, piece, *slot, err);
	case PIECE_DELTA:
		return use_delta(r, piece, *slot, err);
	case PIECE_SPARSE:
	case PIECE_LITERAL:
		return use_new(r, piece, kind, slot, err);
	default:
		return error_set(err, EPROTO, "a piece of kind %d, expected 0 to %d", (int)kind,
				 CODEC_PIECES - 1);
	}
}

static int use_filled(struct page_replay *r, uint8_t *piece, enum codec_piece kind,
		      struct error **err)
{
	uint64_t word = 0;

	if (kind == PIECE_FILLED && take_word(&r->ops, &word, err) < 0)
		return -1;
	pieces_fill(piece, PIECE, word);
	return 0;
}

/* ---- Units ---- */

static int use_group(struct page_replay *r, uint64_t unit, const uint8_t *kinds, unsigned from,
		     unsigned pieces, struct error **err)
{
	unsigned n = pieces - from < GROUP ? pieces - from : GROUP;
	uint32_t slots[GROUP] = {PIECE_NOWHERE, PIECE_NOWHERE, PIECE_NOWHERE, PIECE_NOWHERE};
	uint64_t known_as = piece_store_unit(unit, from / GROUP);
	const struct piece_version *version = piece_store_version(r->store, known_as);

	if (version)
		memcpy(slots, version->slots, sizeof(slots));
	for (unsigned i = 0; i < n; i++) {
		uint8_t *piece = r->content + (size_t)(from + i) * PIECE;
		enum codec_piece kind = kinds[from + i];

		if (kind == PIECE_ZERO || kind == PIECE_FILLED) {
			slots[i] = PIECE_NOWHERE;
			if (use_filled(r, piece, kind, err) < 0)
				return -1;
			continue;
		}
		if (use_piece(r, piece, kind, &slots[i], err) < 0)
			return -1;
		if (r->learn)
			r->sum = codec_sum(r->sum, piece_hash(piece, r->secret));
	}
	if (r->learn)
		piece_store_remember(r->store, known_as, slots);
	return 0;
}

static int take_kinds(struct page_replay *r, enum codec_shape shape, unsigned pieces,
		      uint8_t *kinds, struct error **err)
{
	static const uint8_t first[CODEC_SHAPES] = {[SHAPE_LITERAL] = PIECE_LITERAL,
						    [SHAPE_COPY] = PIECE_REFERENCE,
						    [SHAPE_UNCHANGED] = PIECE_UNCHANGED};
	const uint8_t *nibbles;

	if (shape != SHAPE_MIXED) {
		memset(kinds, shape == SHAPE_COPY ? PIECE_NEXT : first[shape], pieces);
		kinds[0] = first[shape];
		return 0;
	}
	nibbles = take(&r->ops, (pieces + 1) / 2, err);
	if (!nibbles)
		return -1;
	for (unsigned i = 0; i < pieces; i++)
		kinds[i] = nibbles[i / 2] >> i % 2 * 4 & 0xf;
	return 0;
}

/* What refers to a cache can't be in a batch that leaves it alone. */
static int check_kinds(const struct page_replay *r, const uint8_t *kinds, unsigned pieces,
		       struct error **err)
{
	for (unsigned i = 0; i < pieces && !r->learn; i++)
		if (kinds[i] != PIECE_ZERO && kinds[i] != PIECE_FILLED && kinds[i] != PIECE_LITERAL)
			return error_set(err, EPROTO,
					 "a piece of kind %u in a batch that has no cache",
					 kinds[i]);
	return 0;
}

static int give(struct page_replay *r, uint64_t unit, unsigned pieces, struct error **err)
{
	if (r->units == 0)
		return error_set(err, EPROTO, "more units than the batch says");
	r->units--;
	return r->unit(r->arg, unit, r->content, pieces, err);
}

static int use_pieces(struct page_replay *r, enum codec_shape shape, uint64_t unit, unsigned pieces,
		      struct error **err)
{
	uint8_t kinds[CODEC_UNIT_PIECES];

	if (take_kinds(r, shape, pieces, kinds, err) < 0 || check_kinds(r, kinds, pieces, err) < 0)
		return -1;
	for (unsigned from = 0; from < pieces; from += GROUP)
		if (use_group(r, unit, kinds, from, pieces, err) < 0)
			return -1;
	return give(r, unit, pieces, err);
}

/* As learn_known in front.c. */
static void learn_known(struct page_replay *r, uint64_t unit)
{
	uint32_t slots[GROUP];

	for (unsigned i = 0; i < GROUP; i++) {
		const uint8_t *piece = r->content + (size_t)i * PIECE;
		uint64_t word;

		slots[i] = PIECE_NOWHERE;
		if (pieces_filled(piece, PIECE, &word))
			continue;
		r->sum = codec_sum(r->sum, piece_hash(piece, r->secret));
		slots[i] = piece_store_insert(r->store, piece);
	}
	piece_store_remember(r->store, piece_store_unit(unit, 0), slots);
}

static int use_known(struct page_replay *r, uint64_t unit, unsigned pieces, struct error **err)
{
	uint64_t away, page;

	if (take_varint(&r->ops, &away, err) < 0)
		return -1;
	page = r->next_known + (uint64_t)codec_unzigzag(away);
	r->next_known = page + 1;
	if (!r->known || pieces != CODEC_PAGE_PIECES)
		return error_set(err, EPROTO,
				 "a reference to page %" PRIu64
				 " of an offer, for a unit of %u pieces: none was made for such",
				 page, pieces);
	if (r->known(r->known_arg, page, r->content, err) < 0)
		return -1;
	if (r->learn)
		learn_known(r, unit);
	return give(r, unit, pieces, err);
}

static int use_zeroes(struct page_replay *r, uint64_t unit, unsigned pieces, struct error **err)
{
	uint64_t more;

	if (take_varint(&r->ops, &more, err) < 0)
		return -1;
	if (more >= r->units)
		return error_set(err, EPROTO, "%" PRIu64 " zero units more, with %u left", more,
				 r->units);
	memset(r->content, 0, (size_t)pieces * PIECE);
	for (uint64_t i = 0; i <= more; i++)
		if (give(r, unit + i, pieces, err) < 0)
			return -1;
	r->next_unit = unit + more + 1;
	return 0;
}

static int use_op(struct page_replay *r, struct error **err)
{
	const uint8_t *op = take(&r->ops, 1, err);
	uint64_t away = 0, pieces = CODEC_PAGE_PIECES, unit, word;

	if (!op || (*op & OP_NUMBER && take_varint(&r->ops, &away, err) < 0) ||
	    (*op & OP_PIECES && take_varint(&r->ops, &pieces, err) < 0))
		return -1;
	if (pieces == 0 || pieces > CODEC_UNIT_PIECES)
		return error_set(err, EPROTO, "a unit of %" PRIu64 " pieces, expected 1 to %u",
				 pieces, CODEC_UNIT_PIECES);
	unit = r->next_unit + (uint64_t)codec_unzigzag(away);
	r->next_unit = unit + 1;
	switch (*op & OP_SHAPE) {
	case SHAPE_ZEROES:
		return use_zeroes(r, unit, (unsigned)pieces, err);
	case SHAPE_FILLED:
		if (take_word(&r->ops, &word, err) < 0)
			return -1;
		pieces_fill(r->content, pieces * PIECE, word);
		return give(r, unit, (unsigned)pieces, err);
	case SHAPE_KNOWN:
		return use_known(r, unit, (unsigned)pieces, err);
	case SHAPE_LITERAL:
	case SHAPE_COPY:
	case SHAPE_UNCHANGED:
	case SHAPE_MIXED:
		return use_pieces(r, *op & OP_SHAPE, unit, (unsigned)pieces, err);
	default:
		return error_set(err, EPROTO, "an operation of shape %d, expected 0 to %d",
				 *op & OP_SHAPE, CODEC_SHAPES - 1);
	}
}

int page_replay(struct page_replay *r, const struct replay_batch *batch, struct error **err)
{
	r->ops = (struct bytes){batch->ops, batch->ops_size, "operations"};
	r->payload = (struct bytes){batch->payload, batch->payload_size, "payload"};
	r->units = batch->units;
	r->learn = batch->learn;
	r->sum = 0;
	while (r->ops.left > 0)
		if (use_op(r, err) < 0)
			return -1;
	if (r->units > 0)
		return error_set(err, EPROTO, "%u units fewer than the batch says", r->units);
	if (r->payload.left > 0)
		return error_set(err, EPROTO, "%zu bytes of payload are nobody's", r->payload.left);
	if (CHECKED && r->sum != batch->sum)
		return error_set(err, EPROTO,
				 "contents have the checksum %016" PRIx64 ", expected %016" PRIx64
				 ": they are not what was sent",
				 r->sum, batch->sum);
	return 0;
}
