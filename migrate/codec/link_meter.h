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
 * not take yet, or what is under way was more than LINK_QUEUE_S of what arrives: connections have
 * buffers of megabytes, and of what is there for long the larger part waits in them. Nothing is
 * believed before LINK_WINDOWS of them in a row in which it hardly rose: connections begin slowly.
 * Where the coder was what held things up instead, all that is known is that the link takes no
 * less: then its rate is thought to be higher, a little more each time, until a way of coding is
 * chosen that fills it and shows. Else a strong way that was chosen for a link that was slow for a
 * while would hide for ever that it is faster. That the coder holds things up is seen by what waits
 * before it while the link has nothing to do, not by its processor time: on a busy machine it gets
 * little of that.
 *
 * It also tells what has arrived in bytes of what went into the encoder, by marks of how much in
 * made how much out: exact to LINK_MARK_EVERY bytes out, or later where more than LINK_MARKS marks
 * are under way.
 *
 * Arithmetic; O(1). 16 KiB. Not thread-safe.
 */
#define LINK_WINDOW_NS	(250 * NS_PER_MS)
#define LINK_WINDOWS	3
#define LINK_QUEUE_S	0.3  /* longer than a round trip takes */
#define LINK_MARKS	1024 /* a power of two */
#define LINK_MARK_EVERY (16u << 10)

struct link_meter {
	int64_t window_ns;	   /* when it began, */
	uint64_t window_delivered; /* with so many bytes delivered */
	bool busy;		   /* the link, all the time since */
	unsigned looks, hungry;	   /* since then; those at which the link waited for the coder */
	unsigned windows;	   /* in a row: it was, and hardly faster than before */
	bool known;
	double recent;	   /* bytes/s, of the last window; of the last busy one; what is thought */
	double last, rate; /* 0: nothing is known */

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
 * A look: bytes given to the link and delivered so far, bytes that it has not taken yet, and
 * whether there is something to be coded. True: a window is over, and the rate may be another.
 */
struct link_look {
	int64_t now_ns;
	uint64_t given, delivered;
	size_t waiting;
	bool to_code;
};
bool link_meter_look(struct link_meter *m, const struct link_look *look);

/* bytes/s; 0: not known, or not to be believed yet. */
double link_meter_rate(const struct link_meter *m);

#endif
