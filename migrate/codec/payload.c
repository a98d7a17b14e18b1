/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/payload.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

/*
 * zstd's functions that keep no copy of their own. Its streaming ones copy what they are given into
 * a buffer of a window's size and go round in it, so that the window nearly always lies in two
 * parts, for which its match finder is a fifth slower.
 */
#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <zstd.h>

/* The most that lz4 looks back. */
#define LZ4_HISTORY (64u << 10)
/* The part of the time in which zstd's window lies in two pieces is one in so many. */
#define ARENA_WINDOWS 4u
#define PAYLOAD_MOST  (CODEC_BATCH_MOST + (CODEC_UNIT_PIECES << 10))

struct payload_coder {
	unsigned window;
	struct payload_way way; /* of the payload before */
	bool begun;
	ZSTD_CCtx *zstd;
	uint8_t *arena; /* what zstd was given, at least a window of it in one piece or two */
	size_t arena_size, arena_used;
	LZ4_stream_t *lz4;
	char history[LZ4_HISTORY];
};

struct payload_reader {
	ZSTD_DCtx *zstd;
	bool zstd_begun;
	size_t history_size;
	char history[LZ4_HISTORY];
};

struct payload_coder *payload_coder_create(unsigned window, struct error **err)
{
	struct payload_coder *c = calloc(1, sizeof(*c));

	if (!c) {
		error_set(err, ENOMEM, "no memory for a coder of pages");
		return NULL;
	}
	c->window = window;
	return c;
}

void payload_coder_destroy(struct payload_coder *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->zstd);
	free(c->arena);
	LZ4_freeStream(c->lz4);
	free(c);
}

size_t payload_bound(size_t n)
{
	size_t lz4 = (size_t)LZ4_COMPRESSBOUND((int)n), zstd = ZSTD_COMPRESSBOUND(n);

	/* a frame's header, and the header of a block that ends early */
	return (lz4 > zstd ? lz4 : zstd) + 64;
}

static int zstd_failed(size_t code, struct error **err)
{
	return error_set(err, EIO, "zstd: %s", ZSTD_getErrorName(code));
}

/*
 * The library's own parameters for the level, but for the shortest match of level 1, 7 bytes there:
 * with 6, bytes are 0 to 4 % fewer for 3 % more time. With 5 and a table twice as large they would
 * be 2 to 4 % fewer still, for a fifth more time.
 */
static ZSTD_parameters zstd_parameters(int level, unsigned window)
{
	ZSTD_parameters p = {ZSTD_getCParams(level, ZSTD_CONTENTSIZE_UNKNOWN, 0), {0, 0, 1}};

	p.cParams.windowLog = window;
	if (level == 1)
		p.cParams.minMatch = 6;
	return p;
}

static int zstd_begin(struct payload_coder *c, int level, struct error **err)
{
	size_t code;

	if (!c->zstd)
		c->zstd = ZSTD_createCCtx();
	if (!c->arena) {
		c->arena_size = ((size_t)ARENA_WINDOWS << c->window) + PAYLOAD_MOST;
		c->arena = malloc(c->arena_size);
	}
	if (!c->zstd || !c->arena)
		return error_set(err, ENOMEM, "no memory for zstd");
	code = ZSTD_compressBegin_advanced(c->zstd, NULL, 0, zstd_parameters(level, c->window),
					   ZSTD_CONTENTSIZE_UNKNOWN);
	return ZSTD_isError(code) ? zstd_failed(code, err) : 0;
}

static int zstd_code(struct payload_coder *c, const uint8_t *payload, size_t n, uint8_t *to,
		     size_t *coded, struct error **err)
{
	uint8_t *at;
	size_t code;

	if (c->arena_used + n > c->arena_size)
		c->arena_used = 0;
	at = c->arena + c->arena_used;
	memcpy(at, payload, n);
	c->arena_used += n;
	code = ZSTD_compressContinue(c->zstd, to, payload_bound(n), at, n);
	if (ZSTD_isError(code))
		return zstd_failed(code, err);
	*coded = code;
	return 0;
}

static int lz4_begin(struct payload_coder *c, struct error **err)
{
	if (!c->lz4)
		c->lz4 = LZ4_createStream();
	if (!c->lz4)
		return error_set(err, ENOMEM, "no memory for lz4");
	LZ4_resetStream_fast(c->lz4);
	return 0;
}

static int lz4_code(struct payload_coder *c, const uint8_t *payload, size_t n, uint8_t *to,
		    size_t *coded, struct error **err)
{
	int size = LZ4_compress_fast_continue(c->lz4, (const char *)payload, (char *)to, (int)n,
					      (int)payload_bound(n), c->way.level);

	if (size <= 0)
		return error_set(err, EIO, "lz4 could not code %zu bytes", n);
	LZ4_saveDict(c->lz4, c->history, (int)sizeof(c->history));
	*coded = (size_t)size;
	return 0;
}

/* Whether the stream of the method goes on; else it begins anew. */
static int begin(struct payload_coder *c, struct payload_way way, unsigned *flags,
		 struct error **err)
{
	if (c->begun && c->way.method == way.method && c->way.level == way.level)
		return 0;
	c->begun = false;
	if (way.method == METHOD_ZSTD && zstd_begin(c, way.level, err) < 0)
		return -1;
	if (way.method == METHOD_LZ4 && lz4_begin(c, err) < 0)
		return -1;
	c->begun = true;
	c->way = way;
	*flags = FLAG_RESTART;
	return 0;
}

int payload_code(struct payload_coder *c, struct payload_way way, const uint8_t *payload, size_t n,
		 uint8_t *to, size_t *coded, unsigned *flags, struct error **err)
{
	*flags = 0;
	*coded = n;
	if (n == 0)
		return 0;
	if (begin(c, way, flags, err) < 0)
		return -1;
	switch (way.method) {
	case METHOD_ZSTD:
		return zstd_code(c, payload, n, to, coded, err);
	case METHOD_LZ4:
		return lz4_code(c, payload, n, to, coded, err);
	default:
		memcpy(to, payload, n);
		return 0;
	}
}

struct payload_reader *payload_reader_create(unsigned window, struct error **err)
{
	struct payload_reader *r = calloc(1, sizeof(*r));

	if (r)
		r->zstd = ZSTD_createDCtx();
	if (!r || !r->zstd ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, (int)window))) {
		payload_reader_destroy(r);
		error_set(err, ENOMEM, "no memory for a decoder of pages");
		return NULL;
	}
	return r;
}

void payload_reader_destroy(struct payload_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->zstd);
	free(r);
}

static int zstd_read(struct payload_reader *r, unsigned flags, const uint8_t *coded, size_t size,
		     uint8_t *payload, size_t n, struct error **err)
{
	ZSTD_inBuffer in = {coded, size, 0};
	ZSTD_outBuffer out = {payload, n, 0};

	if (flags & FLAG_RESTART)
		ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
	else if (!r->zstd_begun)
		return error_set(err, EPROTO, "zstd's stream goes on before it began");
	r->zstd_begun = true;
	while (in.pos < size) {
		size_t in_before = in.pos, out_before = out.pos;
		size_t code = ZSTD_decompressStream(r->zstd, &out, &in);

		if (ZSTD_isError(code))
			return error_set(err, EPROTO, "zstd: %s", ZSTD_getErrorName(code));
		if (in.pos == in_before && out.pos == out_before)
			break;
	}
	if (in.pos != size || out.pos != n)
		return error_set(err, EPROTO,
				 "%zu of %zu bytes through zstd became %zu, expected %zu", in.pos,
				 size, out.pos, n);
	return 0;
}

/* Of what was read, the last LZ4_HISTORY bytes. */
static void keep_history(struct payload_reader *r, const uint8_t *payload, size_t n)
{
	size_t old = r->history_size;

	if (n >= LZ4_HISTORY) {
		memcpy(r->history, payload + n - LZ4_HISTORY, LZ4_HISTORY);
		r->history_size = LZ4_HISTORY;
		return;
	}
	if (old > LZ4_HISTORY - n) {
		memmove(r->history, r->history + old - (LZ4_HISTORY - n), LZ4_HISTORY - n);
		old = LZ4_HISTORY - n;
	}
	memcpy(r->history + old, payload, n);
	r->history_size = old + n;
}

static int lz4_read(struct payload_reader *r, unsigned flags, const uint8_t *coded, size_t size,
		    uint8_t *payload, size_t n, struct error **err)
{
	int got;

	if (flags & FLAG_RESTART)
		r->history_size = 0;
	got = LZ4_decompress_safe_usingDict((const char *)coded, (char *)payload, (int)size, (int)n,
					    r->history, (int)r->history_size);
	if (got < 0 || (size_t)got != n)
		return error_set(err, EPROTO, "%zu bytes through lz4 became %d, expected %zu", size,
				 got, n);
	keep_history(r, payload, n);
	return 0;
}

int payload_read(struct payload_reader *r, enum codec_method method, unsigned flags,
		 const uint8_t *coded, size_t coded_size, uint8_t *payload, size_t n,
		 struct error **err)
{
	if (n == 0 && coded_size == 0)
		return 0;
	switch (method) {
	case METHOD_ZSTD:
		return zstd_read(r, flags, coded, coded_size, payload, n, err);
	case METHOD_LZ4:
		return lz4_read(r, flags, coded, coded_size, payload, n, err);
	case METHOD_RAW:
		if (coded_size != n)
			return error_set(err, EPROTO, "%zu bytes of payload as such, expected %zu",
					 coded_size, n);
		memcpy(payload, coded, n);
		return 0;
	default:
		return error_set(err, EPROTO, "method %d, expected 0 to %d", (int)method,
				 CODEC_METHODS - 1);
	}
}
