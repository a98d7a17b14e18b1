/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_CUTTER_H
#define STREAM_CUTTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A stream that arrives cut anywhere, handed to its reader item by item: the reader says how long
 * the next item is, and gets it in one piece, where it lies; only an item that a feed cuts is first
 * put together in `hold`. Between items, bytes may be passed on as they come. Allocates nothing.
 */
#define CUTTER_ITEM_MOST 4096u

struct cutter {
	unsigned state;	 /* the reader's: what the next item is */
	size_t need;	 /* bytes of it, 1 to CUTTER_ITEM_MOST */
	size_t held;	 /* of these in hold */
	uint64_t pass;	 /* bytes to be passed on before it; UINT64_MAX: all that come */
	uint64_t offset; /* of the first byte that was not handed over */
	bool failed;
	uint8_t hold[CUTTER_ITEM_MOST];
};

/* Both are called with cutter_feed's arg and return -1 with *err, which ends the reading. */
struct cutter_calls {
	/* An item; says what comes next. Returns 0: it is to be passed on, too; 1: it is not. */
	int (*item)(void *arg, const uint8_t *bytes, struct error **err);

	/* n > 0 bytes that are passed on; offset is behind them already. */
	int (*pass)(void *arg, const uint8_t *bytes, size_t n, struct error **err);
};

/* pass bytes are passed on, then the item comes. */
static inline void cutter_await(struct cutter *c, uint64_t pass, unsigned state, size_t need)
{
	c->pass = pass;
	c->state = state;
	c->need = need;
}

/* The next n bytes. After a failure no more may be fed. */
int cutter_feed(struct cutter *c, const struct cutter_calls *calls, void *arg, const uint8_t *bytes,
		size_t n, struct error **err);

/* Bytes that were fed and accepted; where an error was found, after a failure. */
static inline uint64_t cutter_offset(const struct cutter *c)
{
	return c->failed ? c->offset : c->offset + c->held;
}

#endif
