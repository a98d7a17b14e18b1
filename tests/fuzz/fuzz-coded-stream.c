/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target of the coded stream's decoder. Whatever the bytes are, it ends with one of its errors
 * or with none; neither that nor what came out depends on where the stream was cut; and what is in
 * the queue stays within what the header promises. Some pages are offered.
 */
#include <errno.h>
#include <string.h>

#include "migrate/codec/stream_decoder.h"
#include "tests/fuzz/held-rig.h"

#define GUEST_PAGES (1u << 16)
#define QUEUE_MOST  (DECODED_FULL + (33u << 20))

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const size_t cuts[] = {1, 3, 40, 700, 9000};

struct decoded {
	uint64_t digest, bytes;
	struct error *err;
};

static void take(struct decoded *d, struct byte_queue *q)
{
	size_t n = byte_queue_length(q);

	rig_check(n <= QUEUE_MOST);
	for (size_t i = 0; i < n; i++)
		d->digest = (d->digest ^ q->data[q->start + i]) * 0x100000001b3u;
	d->bytes += n;
	byte_queue_consume(q, n);
}

/* most 0: at once */
static void decode(struct decoded *d, const uint8_t *bytes, size_t n, size_t most)
{
	static const struct decoder_limits limits = {
		.cache_bytes = 2u << 20, .batch_bytes = 1u << 20, .window = 14};
	struct stream_decoder *decoder = stream_decoder_create(&limits, GUEST_PAGES, NULL);
	/* the descriptor is one for all inputs */
	static struct held_pages *held;
	struct byte_queue q = {0};
	int result = 0;

	*d = (struct decoded){0};
	rig_check(decoder);
	if (!held)
		held = rig_hold(NULL);
	stream_decoder_know(decoder, rig_take, held);
	while (n && result == 0) {
		size_t used, some = most && most < n ? most : n;

		result = stream_decoder_feed(decoder, bytes, some, &used, &q, &d->err);
		rig_check(used <= some && (result < 0 || used > 0));
		take(d, &q);
		bytes += used;
		n -= used;
	}
	if (result == 0)
		stream_decoder_end(decoder, &d->err);
	byte_queue_clear(&q);
	stream_decoder_destroy(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct decoded whole, cut;

	decode(&whole, bytes, n, 0);
	decode(&cut, bytes, n, cuts[n % (sizeof(cuts) / sizeof(cuts[0]))]);
	rig_check(!whole.err == !cut.err);
	if (!whole.err) {
		/* sections of pages end where a cut was: the bytes may differ, their end not */
		rig_check(!whole.bytes == !cut.bytes);
		return 0;
	}
	rig_check(whole.err->code == EPROTO || whole.err->code == ENOTSUP ||
		  whole.err->code == ENOMEM);
	rig_check(cut.err->code == whole.err->code);
	rig_check(strchr(whole.err->message, '\n') == NULL);
	error_free(whole.err);
	error_free(cut.err);
	return 0;
}
