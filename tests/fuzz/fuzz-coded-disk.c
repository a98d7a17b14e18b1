/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target of a disk's coding. The bytes are taken for a coded stream: whatever they are, the
 * decoder ends with one of its errors or with none; neither that nor what came out depends on where
 * the stream was cut; and what is in the queue stays within what the header promises. Then they are
 * taken for what an NBD client says: coded and decoded, they are the same.
 */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/codec/disk_decoder.h"
#include "migrate/codec/disk_encoder.h"
#include "tests/fuzz/rig.h"

#define QUEUE_MOST (DECODED_FULL + (34u << 20))

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const size_t cuts[] = {1, 3, 40, 700, 9000};
static const struct codec_options options = {.cache_bytes = 1u << 20,
					     .batch_bytes = CODEC_BATCH_LEAST,
					     .window = 12,
					     .lanes = 1,
					     .seed = 3};

struct decoded {
	uint64_t digest, bytes;
	struct error *err;
};

static uint64_t chain(uint64_t digest, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		digest = (digest ^ bytes[i]) * 0x100000001b3u;
	return digest;
}

static void take(struct decoded *d, struct byte_queue *q)
{
	size_t n = byte_queue_length(q);

	rig_check(n <= QUEUE_MOST);
	if (n)
		d->digest = chain(d->digest, q->data + q->start, n);
	d->bytes += n;
	byte_queue_consume(q, n);
}

/* most 0: at once */
static void decode(struct decoded *d, const uint8_t *bytes, size_t n, size_t most)
{
	static const struct decoder_limits limits = {
		.cache_bytes = 2u << 20, .batch_bytes = 1u << 20, .window = 14};
	struct disk_decoder *decoder = disk_decoder_create(&limits, NULL);
	struct byte_queue q = {0};
	int result = 0;

	*d = (struct decoded){0};
	rig_check(decoder);
	while (n && result == 0) {
		size_t used, some = most && most < n ? most : n;

		result = disk_decoder_feed(decoder, bytes, some, &used, &q, &d->err);
		rig_check(used <= some && (result < 0 || used > 0));
		take(d, &q);
		bytes += used;
		n -= used;
	}
	if (result == 0)
		disk_decoder_end(decoder, &d->err);
	byte_queue_clear(&q);
	disk_decoder_destroy(decoder);
}

static void decode_hostile(const uint8_t *bytes, size_t n, size_t cut_most)
{
	struct decoded whole, cut;

	decode(&whole, bytes, n, 0);
	decode(&cut, bytes, n, cut_most);
	rig_check(!whole.err == !cut.err);
	rig_check(whole.bytes == cut.bytes && whole.digest == cut.digest);
	if (!whole.err)
		return;
	rig_check(whole.err->code == EPROTO || whole.err->code == ENOTSUP ||
		  whole.err->code == ENOMEM);
	rig_check(cut.err->code == whole.err->code);
	rig_check(strchr(whole.err->message, '\n') == NULL);
	error_free(whole.err);
	error_free(cut.err);
}

static void there_and_back(const uint8_t *bytes, size_t n, size_t cut)
{
	struct disk_encoder *e = disk_encoder_create(&options, NULL);
	uint64_t digest = chain(0, bytes, n);
	struct byte_queue coded = {0};
	struct decoded d;

	rig_check(e);
	for (size_t at = 0; at < n; at += cut)
		rig_check(disk_encoder_feed(e, bytes + at, n - at < cut ? n - at : cut, &coded,
					    NULL) == 0);
	rig_check(disk_encoder_end(e, &coded, NULL) == 0);
	decode(&d, coded.data, byte_queue_length(&coded), 0);
	rig_check(!d.err && d.bytes == n && d.digest == digest);
	disk_encoder_destroy(e);
	byte_queue_clear(&coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	size_t cut = cuts[n % (sizeof(cuts) / sizeof(cuts[0]))];

	decode_hostile(bytes, n, cut);
	there_and_back(bytes, n, cut);
	return 0;
}
