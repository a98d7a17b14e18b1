/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_REPLAY_H
#define CODEC_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/page_decoder.h"

/*
 * The other end of front.h: operations and payload become units. Only for page_decoder.c.
 */
struct page_replay;

struct replay_batch {
	const uint8_t *ops, *payload;
	size_t ops_size, payload_size;
	uint32_t units;
	bool learn;
	uint64_t sum;
};

/* ENOMEM. */
struct page_replay *page_replay_create(uint32_t slots, uint32_t versions, uint64_t seed,
				       decoder_unit *unit, void *arg, struct error **err);
void page_replay_destroy(struct page_replay *r); /* takes NULL */

/* As page_decoder_know. */
void page_replay_know(struct page_replay *r, decoder_known *known, void *arg);

/* EPROTO; what `unit` or `known` said. */
int page_replay(struct page_replay *r, const struct replay_batch *batch, struct error **err);

#endif
