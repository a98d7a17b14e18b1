/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/stop.h"

#include <assert.h>
#include <stdio.h>

#include "common/cleanup.h"

#define XEN_ROUNDS 5
#define XEN_PAGES  50
#define WINDOW	   4

static const char *const names[] = {
	[STOP_NOT] = "not",	  [STOP_TARGET] = "target", [STOP_QEMU] = "qemu",
	[STOP_FEW] = "few-pages", [STOP_ROUNDS] = "rounds", [STOP_SMART] = "smart",
	[STOP_TIME] = "time",
};
static_assert(ARRAY_SIZE(names) == STOP_REASONS, "each reason has a name");

const char *stop_reason_name(enum stop_reason reason)
{
	return names[reason];
}

void stop_init(struct stop *stop, const struct stop_config *config)
{
	*stop = (struct stop){.config = *config};
	if (!stop->config.xen_rounds)
		stop->config.xen_rounds = XEN_ROUNDS;
	if (!stop->config.xen_pages)
		stop->config.xen_pages = XEN_PAGES;
	if (!stop->config.window)
		stop->config.window = WINDOW;
	if (stop->config.window > STOP_WINDOW_MOST)
		stop->config.window = STOP_WINDOW_MOST;
}

/* A product that is no number of pages (not a number, negative, too large) is cut to one. */
static uint64_t whole_pages(double pages)
{
	if (!(pages > 0))
		return 0;
	return pages >= 0x1p63 ? 1ull << 63 : (uint64_t)pages;
}

uint64_t stop_target_pages(const struct stop_config *config, double rate)
{
	return whole_pages(rate * (config->downtime - config->fixed));
}

static bool has(const struct stop *stop, enum stop_reason rule)
{
	return stop->config.rules >> rule & 1;
}

/* Fewer than after each of the last `window` rounds, as far as there were so many. */
static bool is_minimum(const struct stop *stop, uint64_t remaining)
{
	unsigned window = stop->config.window;
	unsigned known = stop->rounds < window ? stop->rounds : window;

	for (unsigned i = 0; i < known; i++)
		if (stop->remainders[i] <= remaining)
			return false;
	return known > 0;
}

static enum stop_reason decide(const struct stop *stop, const struct stop_round *round)
{
	const struct stop_config *config = &stop->config;

	if (has(stop, STOP_TARGET) && round->remaining <= stop_target_pages(config, round->rate))
		return STOP_TARGET;
	if (has(stop, STOP_QEMU) && (double)round->remaining < round->rate * config->downtime)
		return STOP_QEMU;
	if (has(stop, STOP_FEW) && round->remaining < config->xen_pages)
		return STOP_FEW;
	if (has(stop, STOP_ROUNDS) && stop->rounds + 1 >= config->xen_rounds)
		return STOP_ROUNDS;
	if (has(stop, STOP_SMART) && stop->crossed && is_minimum(stop, round->remaining))
		return STOP_SMART;
	if (has(stop, STOP_TIME) && round->elapsed >= config->time_limit)
		return STOP_TIME;
	return STOP_NOT;
}

static void explain(const struct stop *stop, enum stop_reason reason,
		    const struct stop_round *round, char text[STOP_TEXT])
{
	const struct stop_config *config = &stop->config;
	unsigned long long remaining = round->remaining;

	switch (reason) {
	case STOP_TARGET:
	case STOP_QEMU:
		snprintf(text, STOP_TEXT, "%llu pages remain, which pass within %.3g s", remaining,
			 config->downtime);
		break;
	case STOP_FEW:
		snprintf(text, STOP_TEXT, "%llu pages remain, fewer than %llu", remaining,
			 (unsigned long long)config->xen_pages);
		break;
	case STOP_ROUNDS:
		snprintf(text, STOP_TEXT, "%u rounds are over; %llu pages remain", stop->rounds + 1,
			 remaining);
		break;
	case STOP_SMART:
		snprintf(text, STOP_TEXT,
			 "pages get dirty faster than they are sent; %llu remain, fewer than after "
			 "each of the last %u rounds",
			 remaining, stop->rounds < config->window ? stop->rounds : config->window);
		break;
	case STOP_TIME:
		snprintf(text, STOP_TEXT, "%.3g s are over, the limit is %.3g s; %llu pages remain",
			 round->elapsed, config->time_limit, remaining);
		break;
	default:
		snprintf(text, STOP_TEXT,
			 "%llu pages remain after round %u; none of the rules is met", remaining,
			 stop->rounds + 1);
	}
}

enum stop_reason stop_ask(struct stop *stop, const struct stop_round *round, char text[STOP_TEXT])
{
	enum stop_reason reason;

	if (round->dirtied > round->sent)
		stop->crossed = true;
	reason = decide(stop, round);
	if (text)
		explain(stop, reason, round, text);
	stop->remainders[stop->rounds % stop->config.window] = round->remaining;
	stop->rounds++;
	return reason;
}
