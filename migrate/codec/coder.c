/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/coder.h"

#include "migrate/codec/disk_decoder.h"
#include "migrate/codec/disk_encoder.h"
#include "migrate/codec/stream_decoder.h"

/* Both have the same calls; what differs is the objects' types. */

/* ---- Memory ---- */

static int memory_encode_feed(void *self, const uint8_t *bytes, size_t n, size_t *used,
			      struct byte_queue *out, struct error **err)
{
	*used = n;
	return stream_encoder_feed(self, bytes, n, out, err);
}

static int memory_encode_end(void *self, struct byte_queue *out, struct error **err)
{
	return stream_encoder_end(self, out, err);
}

static void memory_encode_destroy(void *self)
{
	stream_encoder_destroy(self);
}

static bool memory_encode_waits(const void *self)
{
	return stream_encoder_waits(self);
}

static int memory_encode_flush(void *self, struct byte_queue *out, struct error **err)
{
	return stream_encoder_flush(self, out, err);
}

static void memory_encode_use(void *self, struct codec_way way)
{
	stream_encoder_use(self, way);
}

static void memory_encode_stats(const void *self, struct stream_encoder_stats *stats)
{
	stream_encoder_stats(self, stats);
}

static void memory_encode_know(void *self, struct known_pages *known)
{
	stream_encoder_know(self, known);
}

/* Of both ends: memory's offer is made at once, and awaited. */
static bool memory_is_ready(const void *self)
{
	(void)self;
	return true;
}

static int memory_decode_feed(void *self, const uint8_t *bytes, size_t n, size_t *used,
			      struct byte_queue *out, struct error **err)
{
	return stream_decoder_feed(self, bytes, n, used, out, err);
}

static int memory_decode_end(void *self, struct byte_queue *out, struct error **err)
{
	(void)out;
	return stream_decoder_end(self, err);
}

static void memory_decode_destroy(void *self)
{
	stream_decoder_destroy(self);
}

const struct coder coder_memory_encoder = {
	.feed = memory_encode_feed,
	.end = memory_encode_end,
	.destroy = memory_encode_destroy,
	.waits = memory_encode_waits,
	.flush = memory_encode_flush,
	.use = memory_encode_use,
	.stats = memory_encode_stats,
	.know = memory_encode_know,
	.awaits = memory_is_ready,
};
const struct coder coder_memory_decoder = {
	.feed = memory_decode_feed,
	.end = memory_decode_end,
	.destroy = memory_decode_destroy,
	.asked = memory_is_ready,
};

/* ---- Disk ---- */

static int disk_encode_feed(void *self, const uint8_t *bytes, size_t n, size_t *used,
			    struct byte_queue *out, struct error **err)
{
	*used = n;
	return disk_encoder_feed(self, bytes, n, out, err);
}

static int disk_encode_end(void *self, struct byte_queue *out, struct error **err)
{
	return disk_encoder_end(self, out, err);
}

static void disk_encode_destroy(void *self)
{
	disk_encoder_destroy(self);
}

static bool disk_encode_waits(const void *self)
{
	return disk_encoder_waits(self);
}

static int disk_encode_flush(void *self, struct byte_queue *out, struct error **err)
{
	return disk_encoder_flush(self, out, err);
}

static void disk_encode_use(void *self, struct codec_way way)
{
	disk_encoder_use(self, way);
}

static void disk_encode_stats(const void *self, struct stream_encoder_stats *stats)
{
	disk_encoder_stats(self, stats);
}

static void disk_encode_know(void *self, struct known_pages *known)
{
	disk_encoder_know(self, known);
}

static bool disk_encode_awaits(const void *self)
{
	return disk_encoder_asks(self);
}

static int disk_decode_feed(void *self, const uint8_t *bytes, size_t n, size_t *used,
			    struct byte_queue *out, struct error **err)
{
	return disk_decoder_feed(self, bytes, n, used, out, err);
}

static int disk_decode_end(void *self, struct byte_queue *out, struct error **err)
{
	(void)out;
	return disk_decoder_end(self, err);
}

static void disk_decode_destroy(void *self)
{
	disk_decoder_destroy(self);
}

static bool disk_decode_asked(const void *self)
{
	return disk_decoder_asked(self);
}

const struct coder coder_disk_encoder = {
	.feed = disk_encode_feed,
	.end = disk_encode_end,
	.destroy = disk_encode_destroy,
	.waits = disk_encode_waits,
	.flush = disk_encode_flush,
	.use = disk_encode_use,
	.stats = disk_encode_stats,
	.know = disk_encode_know,
	.awaits = disk_encode_awaits,
};
const struct coder coder_disk_decoder = {
	.feed = disk_decode_feed,
	.end = disk_decode_end,
	.destroy = disk_decode_destroy,
	.asked = disk_decode_asked,
};
