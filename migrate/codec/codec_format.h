/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_FORMAT_H
#define CODEC_FORMAT_H

#include <stdint.h>

/*
 * What flows between encoder and decoder. Integers are big-endian. A stream is a header, batches,
 * and an end.
 *
 *	header	be32 magic, be16 version, be16 lowest version that can read it, be32 features (0),
 *		be32 slots (pieces that the cache holds), be32 versions (units whose last version is
 *		known), be32 batch (most bytes of payload), u8 window (log 2 of zstd's), u8 lanes,
 *		be16 0, be64 seed (of the checksum, and of the encoder's hashes)
 *	batch	u8 1, u8 method, u8 lane, u8 flags, be32 units, be32 bytes of operations,
 *		be32 bytes of payload, be32 bytes of payload as coded, be64 checksum;
 *		operations; payload as coded
 *	end	u8 2, and zeroes up to the size of a batch's header but for units: be32, of the
 *		whole stream modulo 2^32
 *
 * A unit is a page, or a block of a disk: a number and 1 to CODEC_UNIT_PIECES pieces of 1 KiB.
 * Units of a batch are in the order in which they were put, and so are batches.
 *
 * Both ends have a ring of slots for pieces, and of units that were sent last which slots their
 * pieces are in. Every operation changes them in the same way at both ends, so they never differ:
 * what enters, what is replaced, and where, follows from the stream alone.
 *
 * An operation is a byte: bit 7, that the unit's number follows (else it is the last one plus 1) as
 * a zigzag varint, its difference from the last one plus 1; bit 6, that a varint of its pieces
 * follows (else there are 4); bits 0 to 5, its shape. All varints are little-endian groups of 7
 * bits, at most 10 of them.
 *
 *	zeroes	   a varint n: this unit and the n that follow it by number are all zeroes
 *	filled	   8 bytes, least significant first, of which all of it consists
 *	literal	   all pieces are literal
 *	copy	   the first piece is a reference, the others are in the slots that follow its one
 *	unchanged  all pieces are
 *	known	   a zigzag varint: the page of the other end's offer (known_pages.h), less the
 *		   expected one, the last one's plus 1; for units of 4 pieces. Those that are not
 *		   zero or filled enter the ring, in order, and are this unit's last version
 *	mixed	   a nibble for each piece (low one first, in as many bytes as needed), then what
 *		   each needs, in their order
 *
 *	zero	   nothing
 *	filled	   8 bytes
 *	reference  a zigzag varint: slot less the expected one, the last reference's plus 1
 *	next	   a reference to the expected slot
 *	unchanged  as in this unit's last version
 *	delta	   from the payload (pieces.h), against this unit's last version, whose place
 *		   in the ring the new piece takes
 *	sparse	   a delta against zeroes, from the payload; the piece enters the ring
 *	literal	   1 KiB from the payload; the piece enters the ring
 *
 * Zeroes and filled leave the unit's last version as it is.
 *
 * In a batch without the flag LEARN nothing changes in ring and versions, and only the shapes and
 * pieces zeroes, filled, known, zero and literal occur.
 *
 * The checksum: of each piece that is not zero, filled or of a unit that is, in order, the hash h
 * of pieces.h: sum = (rotl(sum, 5) ^ h) * an odd constant; 0 without LEARN.
 *
 * The payload of all batches of a lane is one stream for its method: one zstd frame, flushed after
 * each batch, or one stream of lz4 blocks, each with the 64 KiB before it as dictionary. The flag
 * RESTART: with this batch it begins anew. Lanes don't depend on each other, so they can be coded
 * in parallel.
 */
#define CODEC_MAGIC	  0x45485043u /* "EHPC" */
#define CODEC_VERSION	  1
#define CODEC_HEADER_SIZE 36u
#define CODEC_BATCH_SIZE  28u

#define CODEC_UNIT_PIECES  64u
#define CODEC_PAGE_PIECES  4u
#define CODEC_SLOTS_LEAST  1024u
#define CODEC_SLOTS_MOST   ((1u << 24) - 1)
#define CODEC_BATCH_LEAST  (CODEC_UNIT_PIECES * 2048u)
#define CODEC_BATCH_MOST   (4u << 20)
#define CODEC_WINDOW_LEAST 10
#define CODEC_WINDOW_MOST  23
#define CODEC_LANES_MOST   16

/* Units of a batch, and bytes of its operations, whatever they are. */
#define CODEC_UNITS_MOST 4096u
#define CODEC_OPS_MOST	 (64u << 10)
/* One unit's at the most: a byte, two varints, nibbles, and for each piece a varint or a word. */
#define CODEC_OP_MOST (1u + 10 + 10 + CODEC_UNIT_PIECES / 2 + CODEC_UNIT_PIECES * 10)

enum codec_record {
	RECORD_BATCH = 1,
	RECORD_END
};

enum codec_method {
	METHOD_RAW,
	METHOD_LZ4,
	METHOD_ZSTD,
	CODEC_METHODS
};

enum codec_flag {
	FLAG_LEARN = 1,
	FLAG_RESTART = 2
};

enum codec_op {
	OP_NUMBER = 0x80,
	OP_PIECES = 0x40,
	OP_SHAPE = 0x3f
};

enum codec_shape {
	SHAPE_ZEROES,
	SHAPE_FILLED,
	SHAPE_LITERAL,
	SHAPE_COPY,
	SHAPE_UNCHANGED,
	SHAPE_MIXED,
	SHAPE_KNOWN,
	CODEC_SHAPES
};

enum codec_piece {
	PIECE_ZERO,
	PIECE_FILLED,
	PIECE_REFERENCE,
	PIECE_NEXT,
	PIECE_UNCHANGED,
	PIECE_DELTA,
	PIECE_SPARSE,
	PIECE_LITERAL,
	CODEC_PIECES
};

/* One step of the checksum. */
static inline uint64_t codec_sum(uint64_t sum, uint64_t hash)
{
	return ((sum << 5 | sum >> 59) ^ hash) * 0x9e3779b97f4a7c15ull;
}

static inline uint64_t codec_zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static inline int64_t codec_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

#endif
