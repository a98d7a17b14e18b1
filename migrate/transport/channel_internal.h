/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_CHANNEL_INTERNAL_H
#define TRANSPORT_CHANNEL_INTERNAL_H

#include "migrate/transport/channel.h"
#include "migrate/transport/frame.h"

/* A channel on its way: what both sides do until the HELLOs are exchanged. */
struct opening {
	struct channel *channel;
	bool shaken;
	uint32_t features; /* what this side names in its HELLO */
	size_t out_done, in_done;
	uint8_t out[FRAME_HEADER_SIZE + HELLO_SIZE];
	uint8_t in[FRAME_HEADER_SIZE + HELLO_SIZE];
	int64_t deadline_ns; /* the listener's */
};

/* 1: open; 0: wait for tls_wants(); -1: failed. */
int opening_step(struct opening *o, struct error **err);

void opening_prepare_hello(struct opening *o, const struct channel_key *key, const char *name,
			   uint32_t generation, uint64_t received);
/* Settles what both sides agree on, too. */
int opening_check_hello(struct opening *o, const struct channel_key *key, struct hello *hello,
			struct error **err);

#endif
