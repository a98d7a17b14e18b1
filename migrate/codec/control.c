/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/control.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Of a measured change, what one sample may bring at the most: a factor. */
#define JUMP 4.0
/* r stays off 0 and 1, where its logarithm says nothing about the other ways. */
#define RATIO_LEAST 0.002
#define RATIO_MOST  0.995
/* So do times, in seconds a byte: a clock that stands still must not make one 0 for ever. */
#define TIME_LEAST 1e-12
#define TIME_MOST  1e-3
/* Of two ways that are as good as equal, the one with less work. */
#define EQUAL 0.01

static const struct way {
	const char *name;
	struct codec_way way;
	double front_ns, payload_ns; /* of a byte, as bench-codec has them */
	double ratio;
} ways[] = {
	[WAY_RAW] = {"raw", {false, {METHOD_RAW, 0}}, 0.15, 0.1, 1},
	[WAY_CACHE] = {"caches only", {true, {METHOD_RAW, 0}}, 0.4, 0.1, 0.8},
	[WAY_LZ4] = {"lz4", {true, {METHOD_LZ4, 1}}, 0.4, 0.9, 0.4},
	[WAY_ZSTD_FAST] = {"zstd -1", {true, {METHOD_ZSTD, -1}}, 0.4, 1.2, 0.37},
	[WAY_ZSTD_1] = {"zstd 1", {true, {METHOD_ZSTD, 1}}, 0.4, 1.6, 0.32},
	[WAY_ZSTD_3] = {"zstd 3", {true, {METHOD_ZSTD, 3}}, 0.4, 3, 0.3},
	[WAY_ZSTD_6] = {"zstd 6", {true, {METHOD_ZSTD, 6}}, 0.4, 9, 0.28},
	[WAY_ZSTD_9] = {"zstd 9", {true, {METHOD_ZSTD, 9}}, 0.4, 16, 0.275},
	[WAY_ZSTD_13] = {"zstd 13", {true, {METHOD_ZSTD, 13}}, 0.4, 60, 0.27},
};
static_assert(sizeof(ways) / sizeof(ways[0]) == CONTROL_WAYS, "a row for each way");

struct estimate {
	double front, payload; /* seconds a byte */
	double ratio;
};

struct codec_control {
	unsigned lanes;
	enum control_way strongest, way;
	double link;
	int64_t changed_ns;
	uint64_t used_since; /* bytes of content that it was used for since then */
	bool changed;
	struct estimate estimates[CONTROL_WAYS];
	struct control_used used[CONTROL_WAYS];
	unsigned changes;
};

const char *control_way_name(enum control_way way)
{
	return ways[way].name;
}

struct codec_way control_way_of(enum control_way way)
{
	return ways[way].way;
}

struct codec_control *codec_control_create(unsigned lanes, enum control_way strongest,
					   struct error **err)
{
	struct codec_control *c = calloc(1, sizeof(*c));

	if (!c) {
		error_set(err, ENOMEM, "no memory for the choice of codings");
		return NULL;
	}
	c->lanes = lanes;
	c->strongest = strongest;
	c->way = strongest < WAY_ZSTD_1 ? strongest : WAY_ZSTD_1;
	for (unsigned i = 0; i < CONTROL_WAYS; i++)
		c->estimates[i] = (struct estimate){ways[i].front_ns * 1e-9,
						    ways[i].payload_ns * 1e-9, ways[i].ratio};
	return c;
}

void codec_control_destroy(struct codec_control *c)
{
	free(c);
}

void codec_control_set_link(struct codec_control *c, double rate)
{
	c->link = rate;
}

static double clamp(double v, double least, double most)
{
	return v < least ? least : v > most ? most : v;
}

/* By what factor an estimate changes, given a measurement that counts for `part` of it. */
static double drift(double estimate, double measured, double part)
{
	return pow(clamp(measured / estimate, 1 / JUMP, JUMP), part);
}

static void scale_time(struct estimate *e, double front, double payload)
{
	e->front = clamp(e->front * front, TIME_LEAST, TIME_MOST);
	e->payload = clamp(e->payload * payload, TIME_LEAST, TIME_MOST);
}

static void scale_ratio(struct estimate *e, double exponent)
{
	e->ratio = clamp(pow(e->ratio, exponent), RATIO_LEAST, RATIO_MOST);
}

static bool same_method(unsigned a, unsigned b)
{
	return ways[a].way.payload.method == ways[b].way.payload.method &&
	       ways[a].way.learn == ways[b].way.learn;
}

void codec_control_note(struct codec_control *c, const struct control_sample *sample)
{
	const struct estimate now = c->estimates[c->way];
	double in = (double)sample->in, part = -expm1(-in / CONTROL_SMOOTH), front, payload, ratio;
	bool new = c->used_since < CONTROL_SMOOTH;

	if (sample->in == 0)
		return;
	part = fmax(part, in / (CONTROL_PRIOR + (double)c->used_since + in));
	c->used_since += sample->in;
	c->used[c->way].in += sample->in;
	c->used[c->way].out += sample->out;
	c->used[c->way].seconds += sample->front_s + sample->payload_s;
	front = drift(now.front, sample->front_s / in, part);
	payload = drift(now.payload, sample->payload_s / in, part);
	ratio = clamp((double)sample->out / in, RATIO_LEAST, RATIO_MOST);
	ratio = clamp(now.ratio * drift(now.ratio, ratio, part), RATIO_LEAST, RATIO_MOST);
	for (unsigned i = 0; i < CONTROL_WAYS; i++) {
		if (!new || i == c->way)
			scale_time(&c->estimates[i], front, payload);
		if ((!new || same_method(i, c->way)) && i != WAY_RAW && c->way != WAY_RAW)
			scale_ratio(&c->estimates[i], log(ratio) / log(now.ratio));
	}
}

/* What the coder alone takes for a byte. */
static double coder_time(const struct codec_control *c, enum control_way way)
{
	const struct estimate *e = &c->estimates[way];

	return c->lanes == 1 ? e->front + e->payload : fmax(e->front, e->payload / c->lanes);
}

double codec_control_time(const struct codec_control *c, enum control_way way)
{
	double coder = coder_time(c, way), link;

	if (c->link <= 0)
		return 0;
	link = c->estimates[way].ratio / c->link;
	return cbrt(coder * coder * coder + link * link * link);
}

static enum control_way best_way(const struct codec_control *c)
{
	enum control_way best = WAY_RAW;

	for (enum control_way way = WAY_RAW; way <= c->strongest; way++)
		if (codec_control_time(c, way) < codec_control_time(c, best) * (1 - EQUAL))
			best = way;
	return best;
}

/* Is the best way enough better? */
static bool may_change(const struct codec_control *c, enum control_way best, int64_t now_ns)
{
	double now = codec_control_time(c, c->way);
	double gain = 1 - codec_control_time(c, best) / now;

	if (now > codec_control_time(c, WAY_RAW) || (best < c->way && gain > CONTROL_LEAP))
		return true;
	return gain >= CONTROL_GAIN && (!c->changed || now_ns - c->changed_ns >= CONTROL_DWELL_NS);
}

enum control_way codec_control_choose(struct codec_control *c, int64_t now_ns)
{
	enum control_way best;

	if (c->link <= 0)
		return c->way;
	best = best_way(c);
	if (best == c->way || !may_change(c, best, now_ns))
		return c->way;
	c->way = best;
	c->changed = true;
	c->changed_ns = now_ns;
	c->used_since = 0;
	c->changes++;
	return best;
}

void codec_control_report(const struct codec_control *c, struct control_report *report)
{
	double coder = coder_time(c, c->way), ratio = c->estimates[c->way].ratio;

	*report = (struct control_report){.way = c->way, .changes = c->changes};
	for (unsigned i = 0; i < CONTROL_WAYS; i++)
		report->used[i] = c->used[i];
	if (c->link <= 0)
		snprintf(report->why, sizeof(report->why), "%s: the link's rate is not known",
			 ways[c->way].name);
	else
		snprintf(report->why, sizeof(report->why),
			 "%s: leaves %.3f of the bytes; the %s sets the pace, %.3g MB/s of pages "
			 "(coder %.3g, link %.3g MB/s); raw: %.3g",
			 ways[c->way].name, ratio, ratio / c->link >= coder ? "link" : "coder",
			 1e-6 / codec_control_time(c, c->way), 1e-6 / coder, 1e-6 * c->link,
			 1e-6 / codec_control_time(c, WAY_RAW));
}
