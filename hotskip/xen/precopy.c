/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/xen/precopy.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/heat.h"
#include "hotskip/words.h"

#define PAGE		   4096.0
#define RATE_MEMORY	   3.0 /* s in which a measurement loses its weight by e */
#define STUCK_ROUNDS	   8
#define HOPELESS_PART	   4
#define HOPELESS_ROUNDS	   4
#define STUCK_SECONDS	   2.0
#define STUCK_DOWNTIMES	   2
#define STUCK_PART	   32
#define SHORTEST_ROUND	   0.1 /* s, as the policy has it by default */
#define LIMITED(text, ...) snprintf(text, STOP_TEXT, __VA_ARGS__)

struct xen_precopy {
	struct xen_params params;
	struct policy policy;
	struct heat *heat; /* from the first round on */
	struct stop stop;

	unsigned rounds;
	bool in_round;
	double start;		 /* of the first round */
	double began;		 /* the round under way, or the pause */
	double rate;		 /* measured, pages/s; 0: not yet */
	enum stop_reason reason; /* of the last round's end */
	struct policy_counts chosen;
	struct xen_counts before; /* totals when the round began */
	bool skips, skipped_all;  /* this round skips; the last one that did sent next to nothing */

	/* how it gets on */
	uint64_t lowest;
	double lowest_at;
	unsigned lowest_rounds; /* since then */
	unsigned hopeless;	/* rounds in a row that the policy foresaw nothing lower */
};

struct xen_precopy *xen_precopy_create(const struct xen_params *params, struct error **err)
{
	struct xen_precopy *precopy = calloc(1, sizeof(*precopy));

	if (!precopy) {
		error_set(err, ENOMEM, "no memory for the state of pre-copy");
		return NULL;
	}
	precopy->params = *params;
	if (policy_init(&precopy->policy, &params->policy, err) < 0) {
		free(precopy);
		return NULL;
	}
	stop_init(&precopy->stop, &params->stop);
	return precopy;
}

void xen_precopy_destroy(struct xen_precopy *precopy)
{
	if (!precopy)
		return;
	heat_destroy(precopy->heat);
	free(precopy);
}

void xen_precopy_rebound(struct xen_precopy *precopy, const struct xen_params *params)
{
	struct stop_config *stop = &precopy->stop.config;

	stop->downtime = params->stop.downtime;
	stop->fixed = params->stop.fixed;
	stop->time_limit = params->stop.time_limit;
	stop->rules = params->stop.rules;
	precopy->params.rate = params->rate;
	precopy->params.abort_unmet = params->abort_unmet;
}

bool xen_precopy_in_round(const struct xen_precopy *precopy)
{
	return precopy->in_round;
}

/* pages/s; 0: not known yet */
static double link_rate(const struct xen_precopy *precopy)
{
	return precopy->params.rate > 0 ? precopy->params.rate / PAGE : precopy->rate;
}

static void measure_rate(struct xen_precopy *precopy, uint64_t contents, double seconds)
{
	double found, old;

	if (!(seconds > 0) || contents == 0)
		return;
	found = (double)contents / seconds;
	old = precopy->rate > 0 ? exp(-seconds / RATE_MEMORY) : 0;
	precopy->rate = precopy->rate * old + found * (1 - old);
}

static bool holds_back(const struct xen_precopy *precopy)
{
	return precopy->policy.config.rule != POLICY_NONE;
}

static int first_round(struct xen_precopy *precopy, double now, uint64_t pages,
		       const uint64_t *pending, struct error **err)
{
	precopy->heat = heat_create(pages, HEAT_LOG, err);
	if (!precopy->heat)
		return -1;
	precopy->start = now;
	precopy->chosen = (struct policy_counts){.dirty = words_count(pending, words_of(pages))};
	precopy->chosen.send = precopy->chosen.dirty;
	return 0;
}

static void foresee(struct xen_precopy *precopy, double target)
{
	double dirty = (double)precopy->chosen.dirty, reachable = precopy->chosen.reachable;

	if (reachable > target && reachable > dirty - dirty / HOPELESS_PART)
		precopy->hopeless++;
	else
		precopy->hopeless = 0;
}

int xen_precopy_begin(struct xen_precopy *precopy, double now, uint64_t pages,
		      const uint64_t *pending, uint64_t *dirty, bool *skip_redirtied,
		      struct error **err)
{
	struct policy_link link = {.rate = link_rate(precopy)};

	if (!precopy->heat) {
		if (first_round(precopy, now, pages, pending, err) < 0)
			return -1;
		memcpy(dirty, pending, words_of(pages) * sizeof(*dirty));
	} else {
		if (pages != precopy->heat->pages)
			return error_set(err, EINVAL, "found a guest of %llu pages, expected %llu",
					 (unsigned long long)pages,
					 (unsigned long long)precopy->heat->pages);
		/* Xen looked at its log just before, now and when the last round began */
		heat_add_round(precopy->heat, dirty, now - precopy->began);
		link.target = (double)stop_target_pages(&precopy->stop.config, link.rate);
		policy_step(&precopy->policy, precopy->heat, pending, &link, dirty,
			    &precopy->chosen);
		foresee(precopy, link.target);
	}
	precopy->began = now;
	precopy->in_round = true;
	precopy->skips = precopy->params.skip_redirtied && !precopy->skipped_all;
	*skip_redirtied = precopy->skips;
	return 0;
}

/* Most of what Xen counts in the first round are holes; a share of memory is one of what is there.
 */
static void know_memory(struct xen_precopy *precopy, const struct xen_round *round)
{
	struct policy_config *config = &precopy->policy.config;
	double there = (double)(round->contents + round->redirtied);

	if (config->rule == POLICY_SHARE && config->share_of == POLICY_OF_MEMORY)
		config->share *= there / (double)precopy->heat->pages;
}

static void note_progress(struct xen_precopy *precopy, double now, uint64_t remaining)
{
	uint64_t part = precopy->lowest / STUCK_PART + 1;

	if (precopy->rounds <= 1 || remaining + part <= precopy->lowest) {
		precopy->lowest = remaining;
		precopy->lowest_at = now;
		precopy->lowest_rounds = 0;
	} else {
		precopy->lowest_rounds++;
	}
}

/* How often over it was time to call it stuck: 0, 1 or more. */
static unsigned stuck(const struct xen_precopy *precopy, double now)
{
	double least = fmax(STUCK_SECONDS, STUCK_DOWNTIMES * precopy->stop.config.downtime);
	double times = fmin((now - precopy->lowest_at) / least,
			    (double)precopy->lowest_rounds / STUCK_ROUNDS);

	times = fmax(times, (double)precopy->hopeless / HOPELESS_ROUNDS);
	return times > 0 ? (unsigned)fmin(times, 1000) : 0;
}

static enum stop_reason decide(struct xen_precopy *precopy, double now, struct xen_round *round)
{
	struct stop_round ask = {.sent = round->sent,
				 .dirtied = round->dirtied,
				 .remaining = round->remaining,
				 .elapsed = round->elapsed,
				 .rate = link_rate(precopy)};
	unsigned times = stuck(precopy, now);
	enum stop_reason reason;

	/* the crossover, by another test */
	if (holds_back(precopy))
		ask.dirtied = times ? ask.sent + 1 : 0;
	reason = stop_ask(&precopy->stop, &ask, round->text);
	if (reason == STOP_NOT && round->remaining == 0) {
		LIMITED(round->text, "no pages remain");
		return STOP_TARGET;
	}
	if (reason == STOP_NOT && times >= 2 && precopy->stop.config.rules >> STOP_SMART & 1) {
		LIMITED(round->text, "%llu pages remain, and no fewer than %llu for %.3g s",
			(unsigned long long)round->remaining, (unsigned long long)precopy->lowest,
			now - precopy->lowest_at);
		return STOP_SMART;
	}
	if (reason == STOP_SMART && precopy->hopeless >= HOPELESS_ROUNDS)
		LIMITED(round->text,
			"the target can't be met: pages are written to as fast as they are sent; "
			"%llu remain, fewer than after each of the rounds before",
			(unsigned long long)round->remaining);
	else if (reason == STOP_SMART && holds_back(precopy))
		LIMITED(round->text,
			"no progress since %llu pages remained, %.3g s ago; %llu remain, fewer "
			"than after each of the rounds before",
			(unsigned long long)precopy->lowest, now - precopy->lowest_at,
			(unsigned long long)round->remaining);
	return reason;
}

static enum xen_verdict judge(const struct xen_precopy *precopy, enum stop_reason reason)
{
	if (reason == STOP_NOT)
		return XEN_GO_ON;
	if (precopy->params.abort_unmet && reason != STOP_TARGET && reason != STOP_FEW)
		return XEN_GIVE_UP;
	return XEN_PAUSE;
}

static void fill(const struct xen_precopy *precopy, double now, const struct xen_counts *counts,
		 struct xen_round *round)
{
	*round = (struct xen_round){
		.round = precopy->rounds,
		.redirtied = counts->redirtied - precopy->before.redirtied,
		.sent = counts->written - precopy->before.written,
		.contents = counts->contents - precopy->before.contents,
		.dirtied = counts->logged,
		.seconds = now - precopy->began,
		.elapsed = now - precopy->start,
	};
}

enum xen_verdict xen_precopy_end(struct xen_precopy *precopy, double now,
				 const struct xen_counts *counts, struct xen_round *round)
{
	double rate;

	precopy->rounds++;
	fill(precopy, now, counts, round);
	round->dirty = precopy->chosen.dirty;
	round->held = precopy->chosen.skip;
	round->remaining = counts->pending;
	if (precopy->rounds == 1 && precopy->heat)
		know_memory(precopy, round);
	measure_rate(precopy, round->contents, counts->seconds - precopy->before.seconds);
	note_progress(precopy, now, round->remaining);

	rate = link_rate(precopy);
	round->rate = rate * PAGE;
	round->pause = precopy->stop.config.fixed;
	if (round->remaining)
		round->pause += rate > 0 ? (double)round->remaining / rate : 0;
	round->reason = precopy->reason = decide(precopy, now, round);
	round->verdict = judge(precopy, round->reason);

	precopy->skipped_all = precopy->skips && (double)round->contents < rate * SHORTEST_ROUND &&
			       round->redirtied > 0;
	precopy->before = *counts;
	precopy->in_round = false;
	return round->verdict;
}

void xen_precopy_suspend(struct xen_precopy *precopy, double now)
{
	/* a guest that is saved without pre-copy has no first round */
	if (!precopy->rounds)
		precopy->start = now;
	precopy->began = now;
}

void xen_precopy_done(struct xen_precopy *precopy, double now, const struct xen_counts *counts,
		      struct xen_round *round)
{
	precopy->rounds++;
	fill(precopy, now, counts, round);
	round->dirty = counts->pending;
	round->dirtied = 0;
	round->rate = link_rate(precopy) * PAGE;
	round->reason = precopy->reason;
	round->verdict = XEN_PAUSE;
	LIMITED(round->text, "the guest is suspended, its memory is sent");
}

static const char *const verdicts[] = {
	[XEN_GO_ON] = "go-on",
	[XEN_PAUSE] = "pause",
	[XEN_GIVE_UP] = "give-up",
};

/* What JSON has no number for is 0. */
static double number(double x)
{
	return isfinite(x) ? x : 0;
}

int xen_round_line(const struct xen_round *round, const char *event, char *line, size_t size)
{
	uint64_t skipped = round->held + round->redirtied;

	return snprintf(line, size,
			"{\"event\":\"%s\",\"round\":%u,\"dirty\":%llu,\"sent\":%llu,"
			"\"contents\":%llu,\"held\":%llu,\"redirtied\":%llu,\"skipped\":%llu,"
			"\"dirtied\":%llu,\"remaining\":%llu,\"seconds\":%.6f,\"elapsed\":%.6f,"
			"\"bytes\":%.0f,\"bytes_per_second\":%.0f,\"pause_seconds\":%.6f,"
			"\"verdict\":\"%s\",\"reason\":\"%s\",\"text\":\"%s\"}\n",
			event, round->round, (unsigned long long)round->dirty,
			(unsigned long long)round->sent, (unsigned long long)round->contents,
			(unsigned long long)round->held, (unsigned long long)round->redirtied,
			(unsigned long long)skipped, (unsigned long long)round->dirtied,
			(unsigned long long)round->remaining, number(round->seconds),
			number(round->elapsed), (double)round->contents * PAGE, number(round->rate),
			number(round->pause), verdicts[round->verdict],
			stop_reason_name(round->reason), round->text);
}
