/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_LINK_METER_H
#define CODEC_LINK_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"

/*
 * What a link takes, as an encoder before it sees it: bytes that have arrived at the other end, in
 * windows of LINK_WINDOW_NS.
 *
 * The rate is what arrived in a window during which there was always something that the link did
 * not take yet. Where the coder was what held things up instead, all that is known is that the link
 * takes no less: then its rate is thought to be higher, a little more each time, until a way of
 * coding is chosen that fills it and shows. Else a strong way that was chosen while a connection
 * began slowly would hide for ever that there is a faster one. Nothing is believed before
 * LINK_WINDOWS of them: connections begin slowly.
 *
 * It also tells what has arrived in bytes of what went into the encoder, by marks of how much in
 * made how much out: exact to LINK_MARK_EVERY bytes out, or later where more than LINK_MARKS marks
 * are under way.
 *
 * Arithmetic; O(1). 16 KiB. Not thread-safe.
 */
#define LINK_WINDOW_NS	(250 * NS_PER_MS)
#define LINK_WINDOWS	3
#define LINK_MARKS	1024 /* a power of two */
#define LINK_MARK_EVERY (16u << 10)

struct link_meter {
	int64_t window_ns;	   /* when it began, */
	uint64_t window_delivered; /* with so many bytes delivered, */
	double window_coder_s;	   /* and so many seconds of coding done */
	bool busy;		   /* the link, all the time since */
	unsigned windows;	   /* in which it was */
	double rate;		   /* bytes/s; 0: nothing is known */

	struct link_mark {
		uint64_t in, out;
	} marks[LINK_MARKS];
	uint64_t first_mark, next_mark;
	uint64_t arrived; /* bytes in */
};

/* From now on: zero it before. */
void link_meter_begin(struct link_meter *m, int64_t now_ns);

/* So many bytes in have made so many bytes out. */
void link_meter_mark(struct link_meter *m, uint64_t in, uint64_t out);

/*
 * A look: bytes delivered so far, and those that the link has not taken yet. True: a window is
 * over; link_meter_close then has to have the seconds that the slower half of coding has worked so
 * far.
 */
bool link_meter_look(struct link_meter *m, int64_t now_ns, uint64_t delivered, size_t waiting);
void link_meter_close(struct link_meter *m, int64_t now_ns, uint64_t delivered, size_t waiting,
		      double coder_s);

/* bytes/s; 0: not known, or not to be believed yet. */
double link_meter_rate(const struct link_meter *m);

#endif
