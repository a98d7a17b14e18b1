/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/plan.h"

#include <math.h>

#define ROUNDS_MOST 48
/* A round that does not take away at least this part of the remainder leads nowhere. */
#define PROGRESS_LEAST 0.002

/* The classes that have pages, coldest first. */
struct fluid {
	unsigned count;
	unsigned class[HEAT_CLASSES];
	double rate[HEAT_CLASSES];
	double all[HEAT_CLASSES];
	double dirty[HEAT_CLASSES];
};

static double sum_of(const double *x, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += x[i];
	return sum;
}

static void fill(struct fluid *fluid, const struct plan_state *state)
{
	fluid->count = 0;
	for (unsigned c = 0; c < HEAT_CLASSES; c++) {
		unsigned n = fluid->count;
		uint64_t all = state->all[c] > state->dirty[c] ? state->all[c] : state->dirty[c];

		if (!all)
			continue;
		fluid->class[n] = c;
		fluid->rate[n] = heat_class_rate(c);
		fluid->all[n] = (double)all;
		fluid->dirty[n] = (double)state->dirty[c];
		fluid->count++;
	}
}

/* A round that sends the first `sent` classes. Returns its length. */
static double play_round(const struct fluid *fluid, double x[HEAT_CLASSES], unsigned sent,
			 double rate)
{
	double t = sum_of(x, sent) / rate;

	for (unsigned i = 0; i < fluid->count; i++) {
		double written = -expm1(-fluid->rate[i] * t);

		x[i] = i < sent ? fluid->all[i] * written : x[i] + (fluid->all[i] - x[i]) * written;
	}
	return t;
}

/* All rounds from here on, with the first `sent` classes sent in each. */
static struct plan play(const struct fluid *fluid, unsigned sent, const struct plan_state *state)
{
	struct plan plan = {.limit = sent == fluid->count ? HEAT_CLASSES - 1
							  : fluid->class[sent - 1]};
	double x[HEAT_CLASSES], time = 0, left;

	for (unsigned i = 0; i < fluid->count; i++)
		x[i] = fluid->dirty[i];
	left = sum_of(x, fluid->count);
	plan.remainder = left;
	plan.seconds = left / state->rate;
	for (unsigned round = 0; round < ROUNDS_MOST && left > state->target; round++) {
		double before = left;

		time += play_round(fluid, x, sent, state->rate);
		left = sum_of(x, fluid->count);
		if (left < plan.remainder) {
			plan.remainder = left;
			plan.seconds = time + left / state->rate;
		}
		if (left > before * (1 - PROGRESS_LEAST))
			break;
	}
	plan.converges = plan.remainder <= state->target;
	return plan;
}

static bool better(const struct plan *a, const struct plan *b)
{
	if (a->converges != b->converges)
		return a->converges;
	if (a->converges)
		return a->seconds < b->seconds;
	return a->remainder < b->remainder;
}

struct plan plan_make(const struct plan_state *state)
{
	struct fluid fluid;
	struct plan best = {.limit = HEAT_CLASSES - 1, .converges = true};

	fill(&fluid, state);
	if (fluid.count == 0)
		return best;
	best = play(&fluid, fluid.count, state);
	for (unsigned sent = fluid.count - 1; sent > 0; sent--) {
		struct plan plan = play(&fluid, sent, state);

		if (better(&plan, &best))
			best = plan;
	}
	return best;
}
