/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/words.h"

/* A round is cut into slices of a second, or into so many parts if it is long. */
#define SLICE	    1.0 /* s */
#define SLICES_MOST 64

const struct algorithm algorithms[] = {
	{.name = "qemu", .help = "every dirty page in each round"},
	{.name = "xen5",
	 .help = "every dirty page, 5 rounds or until 50 pages are left, whatever the pause",
	 .log_at_start = true,
	 .rules = 1 << STOP_ROUNDS | 1 << STOP_FEW,
	 .no_target = true},
	{.name = "xen-skip",
	 .help = "Xen 4.5: what is dirty again when its turn comes is left for the next round",
	 .log_at_start = true,
	 .peek = true},
	{.name = "paper",
	 .help = "hot-skip: the top share of the guest's pages by write frequency is skipped",
	 .rule = POLICY_SHARE},
	{.name = "paper-dirty",
	 .help = "hot-skip: the top share of the round's dirty pages",
	 .rule = POLICY_SHARE,
	 .share_of = POLICY_OF_DIRTY},
	{.name = "threshold",
	 .help = "hot-skip: pages above a fixed write rate",
	 .rule = POLICY_THRESHOLD},
	{.name = "expected",
	 .help = "ours where only rounds are seen: skip when sending costs more than it brings",
	 .rule = POLICY_EXPECTED},
	{.name = "ours",
	 .help = "ours where the log can be read at any time: expected, with peek and slices of 1 "
		 "s",
	 .rule = POLICY_EXPECTED,
	 .peek = true,
	 .sliced = true},
};
const unsigned algorithm_count = ARRAY_SIZE(algorithms);

const struct algorithm *algorithm_find(const char *name)
{
	for (unsigned i = 0; i < algorithm_count; i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

struct sim {
	struct model *model;
	const struct algorithm *algorithm;
	double rate; /* units/s */
	double now;
	size_t words;
	uint64_t *pending; /* the destination lacks the newest version */
	uint64_t *send;	   /* of the round, what is still to be looked at */
	uint64_t *sent;	   /* of the slice */
	uint64_t *seen;	   /* of the slice: looked at and found written again */
	uint64_t *written; /* of the slice, or the round */
	uint64_t *round;   /* written in the round, for algorithms with slices */
	struct heat *heat;
	struct policy policy;
	struct stop stop;
};

static void sim_clear(struct sim *sim)
{
	free(sim->pending);
	free(sim->send);
	free(sim->sent);
	free(sim->seen);
	free(sim->written);
	free(sim->round);
	heat_destroy(sim->heat);
}

static int sim_init(struct sim *sim, struct model *model, const struct sim_config *config,
		    struct error **err)
{
	struct policy_config policy = {.rule = config->algorithm->rule,
				       .share_of = config->algorithm->share_of,
				       .share = config->share,
				       .threshold = config->threshold};
	uint64_t units = model_units(model);
	uint64_t **maps[] = {&sim->pending, &sim->send,	   &sim->sent,
			     &sim->seen,    &sim->written, &sim->round};
	struct stop_config stop = {.downtime = config->downtime};

	*sim = (struct sim){.model = model, .algorithm = config->algorithm};
	sim->rate = config->bandwidth / 8 / model_unit_bytes(model);
	sim->words = words_of(units);
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		*maps[i] = calloc(sim->words, sizeof(**maps[i]));
		if (!*maps[i])
			return error_set(err, ENOMEM, "simulation: no memory for bitmaps");
	}
	sim->heat = heat_create(units, HEAT_LOG, err);
	if (!sim->heat || policy_init(&sim->policy, &policy, err) < 0)
		return -1;
	stop.rules = sim->algorithm->rules | 1 << STOP_TIME |
		     (sim->algorithm->no_target ? 0 : 1 << STOP_TARGET) |
		     (config->smart ? 1 << STOP_SMART : 0);
	stop.time_limit = config->limit_times * (double)units / sim->rate;
	stop_init(&sim->stop, &stop);
	for (uint64_t i = 0; i < units; i++)
		bit_set(sim->pending, i);
	model_rewind(model);
	return 0;
}

/* Sends in order what is to be sent, until `most` are. Returns how many; send loses what was looked
 * at. */
static uint64_t send_some(struct sim *sim, uint64_t most)
{
	const uint64_t *active = model_active(sim->model);
	uint64_t count = 0;

	memset(sim->sent, 0, sim->words * sizeof(*sim->sent));
	memset(sim->seen, 0, sim->words * sizeof(*sim->seen));
	for (size_t w = 0; w < sim->words && count < most; w++) {
		for (uint64_t left = sim->send[w]; left && count < most; left &= left - 1) {
			uint64_t bit = left & -left;
			uint64_t unit = w * 64 + (uint64_t)__builtin_ctzll(left);

			sim->send[w] &= ~bit;
			if (sim->algorithm->peek && (sim->round[w] & bit))
				continue;
			if (sim->algorithm->peek && (active[w] & bit) &&
			    model_written(sim->model, unit, sim->now,
					  sim->now + (double)count / sim->rate)) {
				sim->seen[w] |= bit;
				continue;
			}
			sim->sent[w] |= bit;
			count++;
		}
	}
	return count;
}

/* What the log shows after `count` units were sent: see the drawing in run.h. */
static void write_some(struct sim *sim, uint64_t count)
{
	const uint64_t *active = model_active(sim->model);
	double end = sim->now + (double)count / sim->rate;
	uint64_t before = 0;

	for (size_t w = 0; w < sim->words; w++) {
		uint64_t written = sim->seen[w];

		for (uint64_t left = active[w] & ~sim->seen[w]; left; left &= left - 1) {
			uint64_t bit = left & -left;
			uint64_t unit = w * 64 + (uint64_t)__builtin_ctzll(left);
			double from = sim->now;
			bool hit = false;

			if (sim->sent[w] & bit) {
				uint64_t rank =
					(uint64_t)__builtin_popcountll(sim->sent[w] & (bit - 1));

				from = sim->now + (double)(before + rank) / sim->rate;
				if (sim->algorithm->log_at_start && !sim->algorithm->peek)
					hit = model_written(sim->model, unit, sim->now, from);
			}
			if (model_written(sim->model, unit, from, end) || hit)
				written |= bit;
		}
		before += (uint64_t)__builtin_popcountll(sim->sent[w]);
		sim->written[w] = written;
		sim->pending[w] = (sim->pending[w] & ~sim->sent[w]) | written;
		sim->round[w] |= written;
	}
	sim->now = end;
}

static bool anything_left(const struct sim *sim)
{
	for (size_t w = 0; w < sim->words; w++)
		if (sim->send[w])
			return true;
	return false;
}

/* A round, in slices where the algorithm reads the log in between. */
static void play_round(struct sim *sim, struct stop_round *round)
{
	uint64_t to_send = words_count(sim->send, sim->words);
	double slice = fmax(fmax(SLICE * sim->rate, (double)to_send / SLICES_MOST), 1);
	uint64_t most = sim->algorithm->sliced ? (uint64_t)slice : UINT64_MAX;

	memset(sim->round, 0, sim->words * sizeof(*sim->round));
	do {
		double begun = sim->now;
		uint64_t count = send_some(sim, most);

		write_some(sim, count);
		heat_add_round(sim->heat, sim->written, sim->now - begun);
		round->sent += count;
	} while (anything_left(sim));
	round->dirtied = words_count(sim->round, sim->words);
}

static void play(struct sim *sim, struct sim_result *result)
{
	double target = (double)stop_target_pages(&sim->stop.config, sim->rate);
	struct policy_link link = {.rate = sim->rate, .target = target};
	double sent = 0;

	for (;;) {
		struct stop_round round = {.rate = sim->rate};
		struct policy_counts counts;

		policy_step(&sim->policy, sim->heat, sim->pending, &link, sim->send, &counts);
		play_round(sim, &round);
		sent += (double)round.sent;
		result->rounds++;
		round.elapsed = sim->now;
		round.remaining = words_count(sim->pending, sim->words);
		result->reason = stop_ask(&sim->stop, &round, NULL);
		if (result->reason == STOP_NOT && round.sent == 0)
			result->reason = STOP_TIME; /* no time passes any more */
		if (result->reason != STOP_NOT) {
			result->pause = (double)round.remaining / sim->rate;
			sent += (double)round.remaining;
			break;
		}
	}
	result->seconds = sim->now + result->pause;
	result->bytes = sent * model_unit_bytes(sim->model);
}

int sim_run(struct model *model, const struct sim_config *config, struct sim_result *result,
	    struct error **err)
{
	struct sim sim;
	int status = sim_init(&sim, model, config, err);

	*result = (struct sim_result){0};
	if (status == 0)
		play(&sim, result);
	sim_clear(&sim);
	return status;
}
