/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_WAY_BACK_H
#define CODEC_WAY_BACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/known_pages.h"

/*
 * What comes back beside a coded stream: what the hypervisor, or an NBD server, answers, as it is,
 * and the decoder's offer (known_pages.h) in between, in records:
 *
 *	u8 kind, be24 n > 0; n bytes
 *
 * An answer goes before what is left of the offer, so nobody who has a time limit for it waits for
 * more than one record of that. Bytes move between non-blocking sockets.
 *
 * Memory: 4 KiB. Not thread-safe.
 */
#define BACK_HEADER_SIZE 4u
#define BACK_SIZE	 4096u

enum back_kind {
	BACK_ANSWER = 1,
	BACK_OFFER
};

struct way_back {
	uint8_t bytes[BACK_SIZE];
	size_t start, end; /* what is to be given on */
	bool ended, shut;  /* nothing more comes; whoever it goes to was told */

	/* an encoder's end: where it is in a record */
	struct known_pages *known; /* what the offer is for */
	uint8_t header[BACK_HEADER_SIZE];
	size_t header_has;
	uint32_t left;

	/* a decoder's */
	struct held_pages *held;
	bool offered; /* all of it is on its way */
};

/* `deaf`: nobody may hear what comes back any more, which is no error. 0, or -1 with the reason. */
int way_back_encoder(struct way_back *w, int link, int hypervisor, bool deaf, struct error **err);

/* asked: the offer may be made. */
int way_back_decoder(struct way_back *w, int hypervisor, int link, bool asked, bool deaf,
		     struct error **err);

/* There is something that could not be given on yet. */
bool way_back_is_full(const struct way_back *w);

/* There is more of the offer, and room for it. */
bool way_back_makes_offer(const struct way_back *w, bool asked);

#endif
