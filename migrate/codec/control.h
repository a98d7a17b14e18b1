/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_CONTROL_H
#define CODEC_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/codec/page_encoder.h"

/*
 * Which way of coding is the fastest now. Coder and link work at the same time, so a byte of
 * content takes
 *
 *	t = (c^3 + (r / link)^3)^(1/3)
 *	c = max(f, p / lanes)	with several lanes, each of which is a thread,
 *	c = f + p		with one, which the front does itself,
 *
 * seconds: f what the front takes for it, p what the payload's coder does, r what is left of it.
 * That is the larger of both, and 26 % more where they are alike: contents vary, and then each
 * waits for the other in turn. f and p are by the clock, so what else the machine does with its
 * cores is in them: on a busy one a coder that would have kept up, had it a core of its own, does
 * not. The way with the least t is taken; where the link is faster than any coder that is the one
 * that does nothing. (VM handoff picks a mode by the same two rates every 5 s; a sum in place of
 * the maximum would be for one thread that codes and sends in turn.)
 *
 * f, p and r are measured while a way is in use, exponentially smoothed over CONTROL_SMOOTH bytes
 * of content, over fewer after a change of the way (what was thought of it before weighs as much as
 * CONTROL_PRIOR bytes). Of the ways that are not in use no more is known than how they stood to
 * this one: what is measured to be slower than it was scales f and p of all, and a change of r
 * their logarithms of r alike, since incompressible content is so for everyone. What the first
 * CONTROL_SMOOTH bytes after a change of the way show is taken for this way's own, not for a change
 * of the world: else two ways of which too much is expected would take turns. But their r is that
 * of all levels of one method: which of them leaves less is known, and content that happened to be
 * easy while a level was in use says nothing for it. At first all are as bench-codec found them.
 *
 * A way is left for one that is CONTROL_GAIN faster, no sooner than CONTROL_DWELL_NS after the last
 * change; at once for a weaker one that is CONTROL_LEAP faster, or when it is slower than raw. So
 * noise of less than that changes nothing.
 *
 * Arithmetic; O(ways). Not thread-safe.
 */
#define CONTROL_SMOOTH	 (16u << 20)
#define CONTROL_PRIOR	 (4u << 20)
#define CONTROL_GAIN	 0.1
#define CONTROL_LEAP	 0.3
#define CONTROL_DWELL_NS 2000000000ll

enum control_way {
	WAY_RAW,   /* filled pages are seen, nothing else */
	WAY_CACHE, /* caches and deltas only */
	WAY_LZ4,
	WAY_ZSTD_FAST, /* level -1 */
	WAY_ZSTD_1,    /* what is done until the link is known */
	WAY_ZSTD_3,
	WAY_ZSTD_6,
	WAY_ZSTD_9,
	WAY_ZSTD_13,
	CONTROL_WAYS
};

const char *control_way_name(enum control_way way);
struct codec_way control_way_of(enum control_way way);

struct codec_control;

/* lanes: of the encoder (payload_lanes.h); strongest: the last way that may be taken. */
struct codec_control *codec_control_create(unsigned lanes, enum control_way strongest,
					   struct error **err);
void codec_control_destroy(struct codec_control *c); /* takes NULL */

/* bytes/s that the link takes while it is busy; 0: not known. */
void codec_control_set_link(struct codec_control *c, double rate);

/* Of pages that are not filled: what went in and out, and how long that took; of lanes the sum. */
struct control_sample {
	uint64_t in, out;	   /* bytes */
	double front_s, payload_s; /* seconds by the clock */
};
void codec_control_note(struct codec_control *c, const struct control_sample *sample);

/* The way from now on; the time is monotonic. Samples that follow are of it. */
enum control_way codec_control_choose(struct codec_control *c, int64_t now_ns);

/* What t is by the model, in seconds a byte of content; 0 as long as the link is not known. */
double codec_control_time(const struct codec_control *c, enum control_way way);

struct control_report {
	enum control_way way;
	unsigned changes;
	struct control_used {
		uint64_t in, out;
		double seconds; /* of front and lanes, by the clock */
	} used[CONTROL_WAYS];
	char why[160]; /* one line, of the present way */
};
void codec_control_report(const struct codec_control *c, struct control_report *report);

#endif
