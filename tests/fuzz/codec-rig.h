/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_CODEC_RIG_H
#define FUZZ_CODEC_RIG_H

/* A decoder that is fed in parts, and a digest of what came out. */
#include <errno.h>
#include <string.h>

#include "migrate/codec/codec_format.h"
#include "migrate/codec/page_decoder.h"
#include "tests/fuzz/rig.h"

/* Small, so that an input can't have the fuzzer wait for memory to be cleared. */
static const struct decoder_limits rig_limits = {
	.cache_bytes = CODEC_SLOTS_LEAST * 2048ull,
	.batch_bytes = CODEC_BATCH_LEAST,
	.window = 12,
	.lanes = 1,
};

struct decoding {
	struct error *err;
	uint64_t units, digest;
	int code;
};

static inline int rig_unit(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
			   struct error **err)
{
	struct decoding *d = arg;

	(void)err;
	rig_check(pieces > 0 && pieces <= CODEC_UNIT_PIECES);
	d->units++;
	d->digest = codec_sum(d->digest, unit + pieces);
	for (size_t i = 0; i < (size_t)pieces * 1024; i += 64) {
		uint64_t word;

		memcpy(&word, content + i, sizeof(word));
		d->digest = codec_sum(d->digest, word);
	}
	return 0;
}

/* In parts of at most `cut` bytes, 0: at once. */
static inline void decode_all(struct decoding *d, const uint8_t *bytes, size_t n, size_t cut,
			      uint64_t seed)
{
	struct page_decoder *decoder;

	*d = (struct decoding){0};
	decoder = page_decoder_create(&rig_limits, rig_unit, d, NULL);
	rig_check(decoder != NULL);
	while (n > 0 && d->code == 0) {
		size_t part = cut ? 1 + rig_random(&seed) % cut : n;

		if (part > n)
			part = n;
		if (page_decoder_feed(decoder, bytes, part, &d->err) < 0)
			d->code = d->err->code;
		bytes += part;
		n -= part;
	}
	if (d->code == 0 && page_decoder_end(decoder, &d->err) < 0)
		d->code = d->err->code;
	page_decoder_destroy(decoder);
}

#endif
