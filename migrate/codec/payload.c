/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/payload.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* The most that lz4 looks back. */
#define LZ4_HISTORY (64u << 10)

struct payload_coder {
	unsigned window;
	struct payload_way way; /* of the payload before */
	bool begun;
	ZSTD_CCtx *zstd;
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

static int zstd_begin(struct payload_coder *c, int level, struct error **err)
{
	const struct {
		ZSTD_cParameter parameter;
		int value;
	} set[] = {
		{ZSTD_c_compressionLevel, level},
		{ZSTD_c_windowLog, (int)c->window},
		{ZSTD_c_contentSizeFlag, 0},
		{ZSTD_c_checksumFlag, 0},
	};

	if (!c->zstd)
		c->zstd = ZSTD_createCCtx();
	if (!c->zstd)
		return error_set(err, ENOMEM, "no memory for zstd");
	ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_and_parameters);
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
		size_t code = ZSTD_CCtx_setParameter(c->zstd, set[i].parameter, set[i].value);

		if (ZSTD_isError(code))
			return zstd_failed(code, err);
	}
	return 0;
}

static int zstd_code(struct payload_coder *c, const uint8_t *payload, size_t n, uint8_t *to,
		     size_t *coded, struct error **err)
{
	ZSTD_inBuffer in = {payload, n, 0};
	ZSTD_outBuffer out = {to, payload_bound(n), 0};
	size_t left = ZSTD_compressStream2(c->zstd, &out, &in, ZSTD_e_flush);

	if (ZSTD_isError(left))
		return zstd_failed(left, err);
	if (left > 0 || in.pos < n)
		return error_set(err, EIO, "zstd made more than its bound of %zu bytes", n);
	*coded = out.pos;
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
