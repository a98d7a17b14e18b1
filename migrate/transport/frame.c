/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/bytes.h"

/* The payload sizes that each type may have. */
static const struct {
	uint32_t least, most;
} sizes[] = {
	[FRAME_HELLO] = {HELLO_SIZE, HELLO_SIZE},
	[FRAME_DATA] = {1, FRAME_MOST},
	[FRAME_ACK] = {0, 0},
	[FRAME_EOF] = {0, 0},
	[FRAME_PING] = {8, 8},
	[FRAME_ERROR] = {0, 512},
	[FRAME_RESUME] = {0, 0},
};
static_assert(sizeof(sizes) / sizeof(sizes[0]) == FRAME_RESUME + 1, "a size for each frame type");

/* offsets in HELLO's payload */
enum {
	HELLO_AT_VERSION = 8,
	HELLO_AT_COMPATIBLE = 10,
	HELLO_AT_FEATURES = 12,
	HELLO_AT_GENERATION = 16,
	HELLO_AT_HOP = 20,
	HELLO_AT_CHANNEL = 60,
	HELLO_END = HELLO_AT_CHANNEL + HELLO_NAME_SIZE
};
static_assert(HELLO_END == HELLO_SIZE, "HELLO's layout");

void frame_encode(const struct frame *frame, uint8_t header[FRAME_HEADER_SIZE])
{
	header[0] = (uint8_t)frame->type;
	header[1] = 0;
	put_be16(header + 2, 0);
	put_be32(header + 4, frame->length);
	put_be64(header + 8, frame->sequence);
}

int frame_decode(const uint8_t header[FRAME_HEADER_SIZE], struct frame *frame, struct error **err)
{
	uint8_t type = header[0];

	if (type < FRAME_HELLO || type > FRAME_RESUME)
		return error_set(err, EPROTO, "frame: found type %u, expected 1 to %d", type,
				 FRAME_RESUME);
	if (header[1] != 0 || get_be16(header + 2) != 0)
		return error_set(err, EPROTO, "frame: found unknown flags 0x%02x%04x, expected 0",
				 header[1], get_be16(header + 2));
	frame->type = type;
	frame->length = get_be32(header + 4);
	frame->sequence = get_be64(header + 8);
	if (frame->length < sizes[type].least || frame->length > sizes[type].most)
		return error_set(err, EPROTO,
				 "frame of type %u: found length %u, expected %u to %u", type,
				 frame->length, sizes[type].least, sizes[type].most);
	return 0;
}

void hello_encode(const struct hello *hello, uint8_t out[HELLO_SIZE])
{
	memset(out, 0, HELLO_SIZE);
	memcpy(out, HELLO_MAGIC, sizeof(HELLO_MAGIC) - 1);
	put_be16(out + HELLO_AT_VERSION, hello->version);
	put_be16(out + HELLO_AT_COMPATIBLE, hello->compatible);
	put_be32(out + HELLO_AT_FEATURES, hello->features);
	put_be32(out + HELLO_AT_GENERATION, hello->generation);
	memcpy(out + HELLO_AT_HOP, hello->hop, sizeof(hello->hop) - 1);
	memcpy(out + HELLO_AT_CHANNEL, hello->channel, sizeof(hello->channel) - 1);
}

int hello_decode(const uint8_t in[HELLO_SIZE], struct hello *hello, struct error **err)
{
	if (memcmp(in, HELLO_MAGIC, sizeof(HELLO_MAGIC) - 1) != 0)
		return error_set(err, EPROTO, "hello: this is not an edgehop");
	hello->version = get_be16(in + HELLO_AT_VERSION);
	hello->compatible = get_be16(in + HELLO_AT_COMPATIBLE);
	hello->features = get_be32(in + HELLO_AT_FEATURES);
	hello->generation = get_be32(in + HELLO_AT_GENERATION);
	memcpy(hello->hop, in + HELLO_AT_HOP, sizeof(hello->hop));
	hello->hop[sizeof(hello->hop) - 1] = '\0';
	memcpy(hello->channel, in + HELLO_AT_CHANNEL, sizeof(hello->channel));
	hello->channel[sizeof(hello->channel) - 1] = '\0';
	if (hello->compatible > HELLO_VERSION || hello->version < HELLO_COMPATIBLE)
		return error_set(
			err, EPROTO,
			"hello: found wire version %u (which needs %u), expected %u or newer "
			"that still speaks %u",
			hello->version, hello->compatible, HELLO_COMPATIBLE, HELLO_VERSION);
	return 0;
}
