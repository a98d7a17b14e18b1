/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_NBD_READER_H
#define STREAM_NBD_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * What an NBD client says (protocol of the NetworkBlockDevice project, doc/proto.md): flags and
 * options of the handshake, then requests, of which writes have a payload. Nothing of what the
 * server says is needed for it. Compact and extended requests are known; at the first thing that
 * is not, the reader passes on all that follows as it is and looks into nothing any more.
 *
 * Every byte is handed over once, in order: as one that is passed on, or in a block. So who joins
 * both again has the stream, whatever it was.
 *
 * Memory: 4 KiB. Not thread-safe.
 */
#define NBD_BLOCK 4096u /* bytes of the disk that a block is a part of */
#define NBD_PIECE 1024u

/* Each returns 0, or -1 with *err, which ends the reading. Content is valid during the call. */
struct nbd_sink {
	/* n > 0 bytes that are no block */
	int (*pass)(void *arg, const uint8_t *bytes, size_t n, struct error **err);

	/*
	 * Of what is written to the disk: `pieces` KiB, 1 to 4, that lie in block number `block`,
	 * or, where a write does not begin at a piece's start, reach into the next one.
	 */
	int (*block)(void *arg, uint64_t block, const uint8_t *content, unsigned pieces,
		     struct error **err);
	void *arg;
};

struct nbd_reader;

/* ENOMEM */
struct nbd_reader *nbd_reader_create(const struct nbd_sink *sink, struct error **err);
void nbd_reader_destroy(struct nbd_reader *r); /* takes NULL */

/* The next n bytes. What the sink said. */
int nbd_reader_feed(struct nbd_reader *r, const uint8_t *bytes, size_t n, struct error **err);

/* A request has come: the handshake is over. */
bool nbd_reader_asked(const struct nbd_reader *r);

/* The stream ended here, wherever that is: what was kept of an unfinished item is passed on. */
int nbd_reader_end(struct nbd_reader *r, struct error **err);

#endif
