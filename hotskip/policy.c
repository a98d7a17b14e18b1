/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/policy.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/plan.h"
#include "hotskip/words.h"

#define ROUND_LEAST   0.1 /* s */
#define PROGRESS_PART 32
#define CAP_PART      16
/* The expected rule sends this part of the dirty pages in a round, or as many as the target holds.
 */
#define ROUND_PART 4
#define COUNTS	   256 /* words.h counts by bytes */
/* A plan needs the classes' sizes in all memory, not to the page: at least so many words are
 * counted. */
#define SAMPLE_LEAST 16384

static const char *const names[] = {
	[POLICY_NONE] = "none",
	[POLICY_SHARE] = "share",
	[POLICY_THRESHOLD] = "threshold",
	[POLICY_EXPECTED] = "expected",
};
static_assert(ARRAY_SIZE(names) == POLICY_RULES, "each rule has a name");

const char *policy_rule_name(enum policy_rule rule)
{
	return names[rule];
}

int policy_init(struct policy *policy, const struct policy_config *config, struct error **err)
{
	if (config->rule >= POLICY_RULES)
		return error_set(err, EINVAL, "hot-skip: found rule %d, expected one of %d",
				 (int)config->rule, POLICY_RULES);
	if (!(config->share >= 0 && config->share <= 1))
		return error_set(err, EINVAL, "hot-skip: found a share of %g, expected 0 to 1",
				 config->share);
	if (!(config->threshold >= 0) || !(config->round_least >= 0))
		return error_set(err, EINVAL,
				 "hot-skip: found a threshold of %g writes/s and a shortest round "
				 "of %g s, expected none below 0",
				 config->threshold, config->round_least);
	*policy = (struct policy){.config = *config};
	if (policy->config.round_least <= 0)
		policy->config.round_least = ROUND_LEAST;
	return 0;
}

/* The pages of a step by their class. */
struct split {
	uint64_t dirty[COUNTS];
	uint64_t all[COUNTS];
	uint64_t total; /* of dirty */
};

static uint64_t hotter_than(const struct split *split, unsigned limit)
{
	uint64_t n = 0;

	for (unsigned c = limit + 1; c < HEAT_CLASSES; c++)
		n += split->dirty[c];
	return n;
}

/* A share of n, no more than `most`. */
static uint64_t share_of(double share, uint64_t n, uint64_t most)
{
	uint64_t part = (uint64_t)(share * (double)n);

	return part < most ? part : most;
}

/* The class below that of a rate; classes are divided by the logarithm, as heat.h says. */
static unsigned class_below(double rate)
{
	for (unsigned c = HEAT_CLASSES - 1; c > 1; c--)
		if (rate * sqrt(HEAT_RATE_STEP) >= heat_class_rate(c))
			return c - 1;
	return 0;
}

static uint64_t expected(const struct heat *heat, struct split *split,
			 const struct policy_link *link, double *reachable)
{
	struct plan_state state = {split->all, split->dirty, link->rate, link->target};
	size_t words = words_of(heat->pages);
	uint64_t planned, longest;
	struct plan plan;

	if (heat_windows(heat) == 0 || !(link->rate > 0))
		return 0;
	words_histogram_all(heat->seen, words, words / SAMPLE_LEAST + 1, heat->known,
			    heat->class_of, split->all);
	plan = plan_make(&state);
	*reachable = plan.remainder;
	planned = hotter_than(split, plan.limit);
	longest = split->total / ROUND_PART;
	if ((double)longest < link->target)
		longest =
			link->target < (double)split->total ? (uint64_t)link->target : split->total;
	return planned > split->total - longest ? planned : split->total - longest;
}

/* How many pages the rule would skip. */
static uint64_t ask_rule(const struct policy *policy, const struct heat *heat, struct split *split,
			 const struct policy_link *link, double *reachable)
{
	const struct policy_config *config = &policy->config;
	/* a page never seen written is cold by any rule */
	uint64_t warm = hotter_than(split, 0);

	switch (config->rule) {
	case POLICY_SHARE:
		return share_of(config->share,
				config->share_of == POLICY_OF_DIRTY ? split->total : heat->pages,
				warm);
	case POLICY_THRESHOLD:
		return hotter_than(split, class_below(config->threshold));
	case POLICY_EXPECTED:
		return expected(heat, split, link, reachable);
	default:
		return 0;
	}
}

/* (3): what a step sends at least. */
static uint64_t sent_least(const struct policy *policy, uint64_t dirty, double rate)
{
	double pages = rate * policy->config.round_least;

	if (!(pages >= 1))
		return dirty > 0;
	return pages >= (double)dirty ? dirty : (uint64_t)pages;
}

static uint64_t part_of(uint64_t n, unsigned part)
{
	return n ? (n + part - 1) / part : 0;
}

/* (1), (2) and (3) of the header. */
static uint64_t guard(struct policy *policy, uint64_t wanted, uint64_t dirty, double rate)
{
	uint64_t most = dirty - sent_least(policy, dirty, rate);
	uint64_t skip = wanted < most ? wanted : most;

	if (!policy->armed) {
		policy->armed = skip > 0;
		policy->lowest = dirty;
		policy->cap = skip;
		return skip;
	}
	if (dirty + part_of(policy->lowest, PROGRESS_PART) <= policy->lowest)
		policy->lowest = dirty;
	else
		policy->cap -= part_of(policy->cap, CAP_PART);
	if (skip < policy->cap)
		policy->cap = skip;
	return policy->cap;
}

/* The class that the skip-th hottest page is of, and how many of that class are skipped. */
static unsigned find_limit(const struct split *split, uint64_t skip, uint64_t *of_class)
{
	unsigned class = HEAT_CLASSES - 1;

	while (class > 0 && skip >= split->dirty[class])
		skip -= split->dirty[class --];
	*of_class = skip;
	return class;
}

void policy_step(struct policy *policy, const struct heat *heat, const uint64_t *dirty,
		 const struct policy_link *link, uint64_t *send, struct policy_counts *counts)
{
	size_t words = words_of(heat->pages);
	struct split split = {0};
	uint64_t of_class;
	unsigned limit;

	*counts = (struct policy_counts){0};
	if (policy->config.rule == POLICY_NONE) {
		split.total = words_count(dirty, words);
	} else {
		words_histogram(dirty, words, heat->seen, heat->known, heat->class_of, split.dirty);
		for (unsigned c = 0; c < HEAT_CLASSES; c++)
			split.total += split.dirty[c];
		counts->wanted = ask_rule(policy, heat, &split, link, &counts->reachable);
		counts->skip = guard(policy, counts->wanted, split.total, link->rate);
	}
	counts->dirty = split.total;
	counts->send = split.total - counts->skip;
	counts->seconds = link->rate > 0 ? (double)counts->send / link->rate : 0;
	if (counts->skip == 0) {
		memmove(send, dirty, words * sizeof(*send));
		return;
	}
	limit = find_limit(&split, counts->skip, &of_class);
	words_colder(dirty, words, heat->seen, heat->known, heat->class_of, limit, of_class, send);
}
