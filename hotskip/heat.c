/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Bits are places, not times: windows[] says which bit is which window, oldest first. So a round's
 * end moves no page's bits; only when all 16 are taken, two neighbours become one in a pass over
 *all pages, and the bit that is free then is the next round's.
 *
 *	windows:  [ bit 3, 640 s ][ bit 0, 210 s ] ... [ bit 7, 9 s ]      now: bit 12
 *
 * The neighbours that are joined are those whose common length is the smallest part of the time
 * since they began, so lengths grow with age as in an exponential histogram.
 *
 * The table of patterns: the likelihood of a pattern is a sum over its bits, so it is the sum of
 * what its lower and its upper byte contribute: two tables of 256 patterns for each of the rates,
 * and 2^used patterns to find the greatest sum of.
 */
#include "hotskip/heat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/words.h"

#define PATTERNS (1u << HEAT_WINDOWS)
#define RATES	 (HEAT_CLASSES - 1)

static void learn(struct heat *heat);

struct heat *heat_create(uint64_t pages, enum heat_feed feed, struct error **err)
{
	struct heat *heat;

	if (pages == 0 || pages > SIZE_MAX / 4) {
		error_set(err, EINVAL, "page heat: found %llu pages, expected a guest's",
			  (unsigned long long)pages);
		return NULL;
	}
	heat = calloc(1, sizeof(*heat));
	if (heat) {
		heat->seen = calloc(words_of(pages) * 64, sizeof(*heat->seen));
		heat->likely = calloc(2, sizeof(*heat->likely));
		heat->class_of = calloc(PATTERNS, sizeof(*heat->class_of));
		heat->rate_of = calloc(PATTERNS, sizeof(*heat->rate_of));
	}
	if (!heat || !heat->seen || !heat->likely || !heat->class_of || !heat->rate_of) {
		error_set(err, ENOMEM, "page heat: no memory for %llu pages",
			  (unsigned long long)pages);
		heat_destroy(heat);
		return NULL;
	}
	heat->pages = pages;
	heat->feed = feed;
	heat->first = true;
	heat->now = feed == HEAT_LOG ? 1 : 0;
	return heat;
}

void heat_destroy(struct heat *heat)
{
	if (!heat)
		return;
	free(heat->seen);
	free(heat->likely);
	free(heat->class_of);
	free(heat->rate_of);
	free(heat);
}

double heat_seconds(const struct heat *heat)
{
	double sum = 0;

	for (unsigned i = 0; i < heat->count; i++)
		sum += heat->windows[i].seconds;
	return sum;
}

/* The older one of the two neighbours that are shortest for their age. */
static unsigned find_pair(const struct heat *heat)
{
	unsigned pair = 0;
	double age = 0, least = INFINITY;

	for (unsigned i = heat->count - 1; i > 0; i--) {
		double both = heat->windows[i].seconds + heat->windows[i - 1].seconds;

		age += heat->windows[i].seconds;
		if (both / (age + heat->windows[i - 1].seconds) < least) {
			least = both / (age + heat->windows[i - 1].seconds);
			pair = i - 1;
		}
	}
	return pair;
}

/* Makes a bit free. */
static void join_two(struct heat *heat)
{
	unsigned older = find_pair(heat);
	struct heat_window *window = &heat->windows[older];

	words_join(heat->seen, words_of(heat->pages) * 64, window[1].bit, window[0].bit);
	window[0].seconds += window[1].seconds;
	heat->count--;
	memmove(window + 1, window + 2, (heat->count - older - 1) * sizeof(*window));
}

static uint16_t closed_bits(const struct heat *heat)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < heat->count; i++)
		bits |= heat->windows[i].bit;
	return (uint16_t)bits;
}

/* The round under way becomes a window of so many seconds; the next one gets a bit. */
static void close_window(struct heat *heat, double seconds)
{
	unsigned taken;

	heat->windows[heat->count++] = (struct heat_window){heat->now, seconds};
	if (heat->count == HEAT_WINDOWS)
		join_two(heat);
	taken = closed_bits(heat);
	heat->now = (uint16_t)(~taken & (taken + 1));
}

void heat_end_round(struct heat *heat, double seconds)
{
	if (!(seconds > 0) || !isfinite(seconds))
		return;
	if (heat->feed == HEAT_LOG) {
		close_window(heat, seconds);
		heat->known = closed_bits(heat);
	} else {
		if (!heat->first)
			close_window(heat, heat->before);
		else
			heat->now = 1;
		heat->before = seconds;
		heat->known = closed_bits(heat) | heat->now;
	}
	heat->first = false;
	learn(heat);
}

void heat_add_round(struct heat *heat, const uint64_t *dirty, double seconds)
{
	words_mark(dirty, words_of(heat->pages), heat->now, heat->seen);
	heat_end_round(heat, seconds);
}

/* ---- What patterns mean ---- */

/* What a window of t seconds adds to the log likelihood of rate r. */
static double dirty_likelihood(double r, double t)
{
	return log(-expm1(-r * t));
}

static double clean_likelihood(double r, double t)
{
	return -r * t;
}

/* Sums over the bits of a byte: from the sum without the lowest bit. */
static void fill_half(float likely[256][HEAT_CLASSES], const double dirty[8][RATES],
		      const double clean[8][RATES], const double base[RATES])
{
	for (unsigned g = 0; g < RATES; g++) {
		double all_clean = base[g];

		for (unsigned b = 0; b < 8; b++)
			all_clean += clean[b][g];
		for (unsigned p = 0; p < 256; p++) {
			double sum = all_clean;

			for (unsigned b = 0; b < 8; b++)
				if (p >> b & 1)
					sum += dirty[b][g] - clean[b][g];
			likely[p][g] = (float)sum;
		}
	}
}

/*
 * Half a dirty and half a clean window, as long as the harmonic mean: what a page that was always
 * dirty can tell about its rate, the short windows tell.
 */
static void fill_prior(const struct heat *heat, double prior[RATES])
{
	bool open = heat->feed == HEAT_STREAM;
	double inverse = open ? 1 / heat->before : 0;
	double mean;

	for (unsigned i = 0; i < heat->count; i++)
		inverse += 1 / heat->windows[i].seconds;
	mean = (heat->count + open) / inverse;
	for (unsigned g = 0; g < RATES; g++) {
		double r = heat_class_rate(g + 1);

		prior[g] = (dirty_likelihood(r, mean) + clean_likelihood(r, mean)) / 2;
	}
}

static void fill_likelihoods(struct heat *heat)
{
	double dirty[HEAT_WINDOWS][RATES] = {{0}}, clean[HEAT_WINDOWS][RATES] = {{0}};
	double prior[RATES], none[RATES] = {0};

	for (unsigned i = 0; i <= heat->count; i++) {
		bool open = i == heat->count;
		double t = open ? heat->before : heat->windows[i].seconds;
		unsigned place = (unsigned)__builtin_ctz(open ? heat->now : heat->windows[i].bit);

		if (open && heat->feed == HEAT_LOG)
			break;
		for (unsigned g = 0; g < RATES; g++) {
			double r = heat_class_rate(g + 1);

			dirty[place][g] = dirty_likelihood(r, t);
			clean[place][g] = open ? 0 : clean_likelihood(r, t);
		}
	}
	fill_prior(heat, prior);
	fill_half(heat->likely[0], dirty, clean, prior);
	fill_half(heat->likely[1], dirty + 8, clean + 8, none);
}

/* The top of the parabola through three points one apart, as an offset from the middle one. */
static float parabola_top(const float y[3])
{
	float bend = y[0] - 2 * y[1] + y[2];
	float top = bend < 0 ? (y[0] - y[2]) / (2 * bend) : 0;

	return top < -0.5F ? -0.5F : top > 0.5F ? 0.5F : top;
}

static void learn_pattern(struct heat *heat, unsigned pattern, const float rates[RATES])
{
	const float *lower = heat->likely[0][pattern & 0xff],
		    *upper = heat->likely[1][pattern >> 8];
	float sum[RATES], offset = 0;
	unsigned best = 0;

	for (unsigned g = 0; g < RATES; g++)
		sum[g] = lower[g] + upper[g];
	for (unsigned g = 1; g < RATES; g++)
		best = sum[g] > sum[best] ? g : best;
	if (best > 0 && best < RATES - 1)
		offset = parabola_top(sum + best - 1);
	heat->class_of[pattern] = (uint8_t)(best + 1);
	heat->rate_of[pattern] = rates[best] * exp2f(0.75F * offset);
}

/* A small guest has fewer patterns than there can be: as they are, and once noted in this round. */
static void learn_pages(struct heat *heat, const float rates[RATES])
{
	for (uint64_t page = 0; page < heat->pages; page++) {
		unsigned pattern = heat->seen[page] & heat->known;
		unsigned noted = (heat->seen[page] | heat->now) & heat->known;

		if (pattern)
			learn_pattern(heat, pattern, rates);
		if (noted != pattern)
			learn_pattern(heat, noted, rates);
	}
}

/* Classes and rates of all patterns that pages can have now. */
static void learn(struct heat *heat)
{
	float rates[RATES];
	unsigned used = heat->known, pattern = 0;

	if (!used)
		return;
	for (unsigned g = 0; g < RATES; g++)
		rates[g] = (float)heat_class_rate(g + 1);
	fill_likelihoods(heat);
	heat->class_of[0] = 0;
	heat->rate_of[0] = 0;
	if (heat->pages <= PATTERNS / 8) {
		learn_pages(heat, rates);
		return;
	}
	while ((pattern = (pattern - used) & used) != 0)
		learn_pattern(heat, pattern, rates);
}
