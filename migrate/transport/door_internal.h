/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_DOOR_INTERNAL_H
#define TRANSPORT_DOOR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "migrate/transport/door.h"
#include "migrate/transport/door.h"

/*
 * What worker and door say to each other: packets of a Unix socket, between two processes of one
 * program, so plain structs. A request may carry descriptors: the channel's local end, and what its
 * decoder offers; each gets one answer. A channel's failure comes unasked.
 */
#define DOOR_NAME     32
#define DOOR_TEXT     256
#define DOOR_CHANNELS 16
#define DOOR_FDS      (1 + HELD_FILES_MOST)

enum door_op {
	DOOR_LISTEN,
	DOOR_ATTACH,
	DOOR_CLOSE,
	DOOR_RESUME
};

struct door_request {
	enum door_op op;
	unsigned number; /* the answer's, too */
	char channel[DOOR_NAME];
	int64_t silence_ms, deadline_ns;
	bool coded;
	struct door_decoding decoding; /* its files' descriptors: those that come after the first */
	int64_t patience_ns;
	uint64_t window;
};

struct door_word {
	bool answer; /* to a request; else a channel's failure */
	unsigned number;
	int code; /* 0, or the error's */
	char channel[DOOR_NAME];
	char text[DOOR_TEXT]; /* the error's */
};

/* The door's side: serves requests from the socket until it ends. Confined before it is called. */
void door_main(int socket, const struct channel_key *key, bool plain);

#endif
