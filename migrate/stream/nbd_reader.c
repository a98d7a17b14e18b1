/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/nbd_reader.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "migrate/stream/cutter.h"

/*
 * Theory of operation
 *
 *	flags -> head --option: its data--> head --request--> rest -> [blocks] [tail] -> head
 *
 * A head is as much of an option or a request as both have; which one it is tells the magic. Once
 * there was a request there are no more options.
 */
#define FLAGS_SIZE	 4u
#define HEAD_SIZE	 16u
#define COMPACT_REST	 12u /* be64 offset, be32 length */
#define EXTENDED_REST	 16u /* be64 offset, be64 length */
#define MAGIC_OPTION	 0x49484156454f5054ull
#define MAGIC_REQUEST	 0x25609513u
#define MAGIC_EXTENDED	 0x21e41c71u
#define FLAG_PAYLOAD_LEN (1u << 5) /* of an extended request: the length is a payload's */
#define CMD_WRITE	 1u

static_assert(NBD_BLOCK <= CUTTER_ITEM_MOST, "the cutter puts a block together");

enum part {
	PART_FLAGS,
	PART_HEAD,
	PART_COMPACT,
	PART_EXTENDED,
	PART_BLOCK
};

struct nbd_reader {
	struct nbd_sink sink;
	struct cutter cutter;
	bool asked;	       /* there was a request */
	uint16_t flags, type;  /* of this one */
	uint64_t offset, left; /* of a write's payload: where on the disk, bytes to come */
};

static void await_head(struct nbd_reader *r, uint64_t pass)
{
	cutter_await(&r->cutter, pass, PART_HEAD, HEAD_SIZE);
}

/* The next block of the payload; what makes no whole piece is passed on. */
static void await_block(struct nbd_reader *r)
{
	uint64_t room = NBD_BLOCK - r->offset % NBD_BLOCK;
	uint64_t size = (r->left < room ? r->left : room) / NBD_PIECE * NBD_PIECE;

	if (size == 0 && r->left >= NBD_PIECE)
		size = NBD_PIECE;
	if (size)
		cutter_await(&r->cutter, 0, PART_BLOCK, (size_t)size);
	else
		await_head(r, r->left);
}

static void take_head(struct nbd_reader *r, const uint8_t *bytes)
{
	uint32_t magic = get_be32(bytes);

	r->flags = get_be16(bytes + 4);
	r->type = get_be16(bytes + 6);
	if (get_be64(bytes) == MAGIC_OPTION && !r->asked)
		await_head(r, get_be32(bytes + 12));
	else if (magic == MAGIC_REQUEST)
		cutter_await(&r->cutter, 0, PART_COMPACT, COMPACT_REST);
	else if (magic == MAGIC_EXTENDED)
		cutter_await(&r->cutter, 0, PART_EXTENDED, EXTENDED_REST);
	else
		await_head(r, UINT64_MAX);
}

static void take_request(struct nbd_reader *r, uint64_t offset, uint64_t payload)
{
	r->asked = true;
	r->offset = offset;
	r->left = payload;
	if (r->type == CMD_WRITE)
		await_block(r);
	else
		await_head(r, payload);
}

static int take_block(struct nbd_reader *r, const uint8_t *bytes, struct error **err)
{
	size_t size = r->cutter.need;

	if (r->sink.block(r->sink.arg, r->offset / NBD_BLOCK, bytes, (unsigned)(size / NBD_PIECE),
			  err) < 0)
		return -1;
	r->offset += size;
	r->left -= size;
	await_block(r);
	return 1;
}

static int on_item(void *arg, const uint8_t *bytes, struct error **err)
{
	struct nbd_reader *r = arg;
	uint64_t length;

	switch (r->cutter.state) {
	case PART_FLAGS:
		await_head(r, 0);
		return 0;
	case PART_HEAD:
		take_head(r, bytes);
		return 0;
	case PART_COMPACT:
		take_request(r, get_be64(bytes), r->type == CMD_WRITE ? get_be32(bytes + 8) : 0);
		return 0;
	case PART_EXTENDED:
		length = get_be64(bytes + 8);
		take_request(r, get_be64(bytes), r->flags & FLAG_PAYLOAD_LEN ? length : 0);
		return 0;
	default:
		return take_block(r, bytes, err);
	}
}

static int on_pass(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct nbd_reader *r = arg;

	return r->sink.pass(r->sink.arg, bytes, n, err);
}

static const struct cutter_calls calls = {on_item, on_pass};

struct nbd_reader *nbd_reader_create(const struct nbd_sink *sink, struct error **err)
{
	struct nbd_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for a disk's stream");
		return NULL;
	}
	r->sink = *sink;
	cutter_await(&r->cutter, 0, PART_FLAGS, FLAGS_SIZE);
	return r;
}

void nbd_reader_destroy(struct nbd_reader *r)
{
	free(r);
}

int nbd_reader_feed(struct nbd_reader *r, const uint8_t *bytes, size_t n, struct error **err)
{
	return cutter_feed(&r->cutter, &calls, r, bytes, n, err);
}

bool nbd_reader_asked(const struct nbd_reader *r)
{
	return r->asked;
}

int nbd_reader_end(struct nbd_reader *r, struct error **err)
{
	size_t held = r->cutter.held;

	r->cutter.held = 0;
	return held ? on_pass(r, r->cutter.hold, held, err) : 0;
}
