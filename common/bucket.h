/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_BUCKET_H
#define COMMON_BUCKET_H

#include <stdint.h>

/*
 * A token bucket, as plain arithmetic: a token is a byte. It fills at `rate` and holds at most what
 * comes in in 50 ms, so that whoever draws from it keeps to the rate over any time that matters on
 * a line, and can still fill a frame at once.
 */
struct bucket {
	uint64_t rate; /* bytes/s; 0: no limit */
	double tokens;
	int64_t filled_ns; /* when it was last brought up to date */
};

#define BUCKET_LEAST 4096 /* bytes; less is not worth a frame */

/* From now on another rate. What is in it stays, up to the new size. */
void bucket_set_rate(struct bucket *bucket, uint64_t rate, int64_t now_ns);

/*
 * Draws up to `want` bytes (> 0). Returns how many; 0: come again after *wait_ns. The clock is
 * monotonic.
 */
uint64_t bucket_draw(struct bucket *bucket, uint64_t want, int64_t now_ns, int64_t *wait_ns);

/* Gives back what was drawn and not used. */
void bucket_give_back(struct bucket *bucket, uint64_t bytes);

#endif
