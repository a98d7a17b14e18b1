/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PAYLOAD_LANES_H
#define CODEC_PAYLOAD_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/front.h"
#include "migrate/codec/payload.h"

/*
 * Payload coders side by side, a thread each: batches go to them in turn, and come out in the order
 * in which they went in. With one lane there is no thread: a batch is coded where it is given.
 *
 *	front --> batch() -- give() --> lane 0, 1, ... --> next() --> the stream
 *
 * A batch that is given is one of the PAYLOAD_BATCHES of each lane, so what is under way is
 * bounded: whoever has filled them all waits for the oldest.
 *
 * Each lane looks back at its own payloads only, so of n lanes each sees an nth of what one would:
 * docs/design/codec.md has what that costs.
 *
 * Memory: of each lane a coder's (payload.h), and PAYLOAD_BATCHES batches twice. One thread uses
 * it.
 */
struct payload_lanes;

#define PAYLOAD_BATCHES 2u

/* lanes: 1 to CODEC_LANES_MOST; the others as payload_coder_create and unit_batch_create. */
struct payload_lanes *payload_lanes_create(unsigned lanes, unsigned window, size_t batch_bytes,
					   struct error **err);
void payload_lanes_destroy(struct payload_lanes *l); /* takes NULL; ends the threads */

/* The batch to fill, the same one until it is given. NULL: all are under way; take next() first. */
struct unit_batch *payload_lanes_batch(struct payload_lanes *l);

/* The batch is closed (front.h), and is coded in this way. */
void payload_lanes_give(struct payload_lanes *l, struct payload_way way);

/* How many were given and not taken. */
unsigned payload_lanes_behind(const struct payload_lanes *l);

struct coded_batch {
	const struct unit_batch *batch;
	const uint8_t *coded;
	size_t coded_size;
	enum codec_method method;
	unsigned lane, flags;
	double coder_s; /* that coding took, by the clock */
};

/*
 * The oldest that was given: 1, *coded is valid until payload_lanes_taken(); 0: there is none, or
 * (unless `wait`) it is not ready; -1: ENOMEM, EIO, then only destroy is of use.
 */
int payload_lanes_next(struct payload_lanes *l, bool wait, struct coded_batch *coded,
		       struct error **err);
void payload_lanes_taken(struct payload_lanes *l);

/* Seconds so far that payload_lanes_next waited. */
double payload_lanes_waited(const struct payload_lanes *l);

#endif
