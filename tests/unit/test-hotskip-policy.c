/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every rule has to keep, whatever the guest does. The guests here dirty pages at random, by
 * fixed rates, and as an enemy who sees what was sent. Pages carry versions: at the end the
 * destination has to have the newest of each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hotskip/plan.h"
#include "hotskip/policy.h"
#include "hotskip/words.h"

#define PAGES  1500
#define WORDS  ((PAGES + 63) / 64)
#define ROUNDS 420

static uint64_t dirty[WORDS], send[WORDS], written[WORDS];
static uint32_t source[PAGES], destination[PAGES];

enum guest {
	GUEST_RANDOM,  /* any page, any number of them */
	GUEST_SETS,    /* hot, warm and cold pages */
	GUEST_UNDOES,  /* exactly what was sent is dirtied again */
	GUEST_FEIGNS,  /* as that, but quiet for a time, so that history misleads */
	GUEST_MOVES,   /* a hot set that moves on */
	GUEST_SHRINKS, /* one page fewer each round: the slowest progress there is */
	GUESTS
};

static double random_unit(void)
{
	return (random() + 0.5) / (1.0 + RAND_MAX);
}

static bool writes(enum guest guest, unsigned page, unsigned round, double t)
{
	bool sent = bit_get(send, page);

	switch (guest) {
	case GUEST_RANDOM:
		return random_unit() < 0.02 * (1 + round % 13);
	case GUEST_SETS:
		return random_unit() < 1 - exp(-t * (page < 60 ? 3 : page < 600 ? 0.05 : 1e-5));
	case GUEST_UNDOES:
		return sent;
	case GUEST_FEIGNS:
		return sent && (round / 10 % 2 == 0 || page % 3 == round % 3);
	case GUEST_MOVES:
		return page / 100 == round / 5 % 15;
	default:
		return page + round < PAGES;
	}
}

/* The classes of what is skipped are not below those of what is sent. */
static void assert_hottest_are_skipped(const struct heat *heat)
{
	unsigned hottest_sent = 0, coldest_skipped = HEAT_CLASSES;

	for (unsigned p = 0; p < PAGES; p++) {
		unsigned class = heat_class(heat, p);

		if (bit_get(send, p) && class > hottest_sent)
			hottest_sent = class;
		else if (bit_get(dirty, p) && !bit_get(send, p) && class < coldest_skipped)
			coldest_skipped = class;
	}
	assert_true(coldest_skipped >= hottest_sent);
	assert_true(coldest_skipped > 0);
}

static void assert_partition(const struct policy_counts *counts)
{
	uint64_t sent = 0, skipped = 0;

	for (unsigned w = 0; w < WORDS; w++) {
		assert_int_equal(send[w] & ~dirty[w], 0);
		sent += (uint64_t)__builtin_popcountll(send[w]);
		skipped += (uint64_t)__builtin_popcountll(dirty[w] & ~send[w]);
	}
	assert_int_equal(counts->send, sent);
	assert_int_equal(counts->skip, skipped);
	assert_int_equal(counts->dirty, sent + skipped);
}

/* Sends what is to be sent, then the guest writes. What was sent is as it was before. */
static void play_round(enum guest guest, unsigned round, double t)
{
	memset(written, 0, sizeof(written));
	for (unsigned p = 0; p < PAGES; p++) {
		if (bit_get(send, p)) {
			destination[p] = source[p];
			bit_clear(dirty, p);
		}
		if (writes(guest, p, round, t)) {
			source[p]++;
			bit_set(written, p);
		}
	}
	for (unsigned w = 0; w < WORDS; w++)
		dirty[w] |= written[w];
}

static void begin(void)
{
	memset(dirty, 0xff, sizeof(dirty));
	dirty[WORDS - 1] >>= WORDS * 64 - PAGES;
	for (unsigned p = 0; p < PAGES; p++) {
		source[p] = 1;
		destination[p] = 0;
	}
}

static uint64_t run(const struct policy_config *config, enum guest guest)
{
	struct heat *heat = heat_create(PAGES, HEAT_LOG, NULL);
	struct policy_link link = {.rate = 500, .target = 100};
	uint64_t last = UINT64_MAX, most = 0;
	struct policy_counts counts;
	struct policy policy;

	begin();
	assert_int_equal(policy_init(&policy, config, NULL), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		policy_step(&policy, heat, dirty, &link, send, &counts);
		assert_partition(&counts);
		assert_hottest_are_skipped(heat);
		/* monotone from the first round on that skips */
		assert_true(counts.skip <= last);
		if (counts.skip > 0 && last == UINT64_MAX)
			last = counts.skip;
		if (last != UINT64_MAX)
			last = counts.skip;
		if (counts.skip > most)
			most = counts.skip;
		/* no round is empty */
		assert_true(counts.send > 0 || counts.dirty == 0);
		assert_true(counts.send >= 50 || counts.skip == 0);
		play_round(guest, round, counts.seconds);
		heat_add_round(heat, written, counts.seconds);
	}
	/* plain pre-copy is reached: ln 1500 / ln (32/31) + ln 1500 / ln (16/15) = 231 + 114 */
	assert_int_equal(counts.skip, 0);
	for (unsigned p = 0; p < PAGES; p++)
		if (bit_get(dirty, p))
			destination[p] = source[p];
	assert_memory_equal(source, destination, sizeof(source));
	heat_destroy(heat);
	return most;
}

static void every_rule_holds_against_every_guest(void **test)
{
	const struct policy_config rules[] = {
		{.rule = POLICY_NONE},
		{.rule = POLICY_SHARE, .share = 0.1},
		{.rule = POLICY_SHARE, .share = 0.1, .share_of = POLICY_OF_DIRTY},
		{.rule = POLICY_SHARE, .share = 1},
		{.rule = POLICY_THRESHOLD, .threshold = 0},
		{.rule = POLICY_THRESHOLD, .threshold = 0.5},
		{.rule = POLICY_EXPECTED},
	};

	(void)test;
	srandom(11);
	for (unsigned r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
		for (int guest = 0; guest < GUESTS; guest++) {
			uint64_t most = run(&rules[r], guest);

			/* what is tested is not a policy that never skips */
			if (rules[r].rule == POLICY_NONE)
				assert_int_equal(most, 0);
			else if (guest == GUEST_SETS || guest == GUEST_RANDOM)
				assert_true(most > 0 || rules[r].threshold > 0 ||
					    rules[r].rule == POLICY_EXPECTED);
		}
	}
}

/*
 * 60 hot pages and 540 warm ones, target 100: plain pre-copy comes down to 121 and stays. The
 * expected rule leaves the hot ones, and is there soon.
 */
static void the_hot_set_that_fits_is_left(void **test)
{
	const struct policy_config config = {.rule = POLICY_EXPECTED};
	struct heat *heat = heat_create(PAGES, HEAT_LOG, NULL);
	struct policy_link link = {.rate = 50, .target = 100};
	struct policy_counts counts = {0};
	struct policy policy;
	unsigned round = 0, hot = 0;

	(void)test;
	srandom(12);
	begin();
	assert_int_equal(policy_init(&policy, &config, NULL), 0);
	while (round < 2 || words_count(dirty, WORDS) > 100) {
		policy_step(&policy, heat, dirty, &link, send, &counts);
		play_round(GUEST_SETS, round, counts.seconds);
		heat_add_round(heat, written, counts.seconds);
		assert_true(++round < 12);
	}
	for (unsigned p = 0; p < 60; p++)
		hot += !bit_get(send, p);
	assert_true(hot >= 55);
	assert_in_range(counts.skip, 55, 99);
	heat_destroy(heat);
}

static void top_share_is_counted_exactly(void **test)
{
	struct policy_config config = {.rule = POLICY_SHARE, .share = 0.1};
	struct policy_link link = {.rate = 1};
	struct heat *heat = heat_create(PAGES, HEAT_LOG, NULL);
	struct policy_counts counts;
	struct policy policy;

	(void)test;
	/* page p is written in p / 150 of 10 rounds */
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned p = 0; p < PAGES; p++)
			if (p / 150 > round)
				heat_note(heat, p);
		heat_end_round(heat, 1);
	}
	begin();
	assert_int_equal(policy_init(&policy, &config, NULL), 0);
	policy_step(&policy, heat, dirty, &link, send, &counts);
	assert_int_equal(counts.skip, 150);
	for (unsigned p = 0; p < PAGES; p++)
		assert_int_equal(bit_get(send, p), p < 1350);
	/* of the dirty ones: 10 % of those below 300, of which 150 were never written */
	memset(dirty, 0, sizeof(dirty));
	for (unsigned p = 0; p < 300; p++)
		bit_set(dirty, p);
	config.share_of = POLICY_OF_DIRTY;
	assert_int_equal(policy_init(&policy, &config, NULL), 0);
	policy_step(&policy, heat, dirty, &link, send, &counts);
	assert_int_equal(counts.skip, 30);
	assert_false(bit_get(send, 150));
	assert_true(bit_get(send, 180));
	/* cold pages are never skipped, however large the share */
	config.share = 1;
	assert_int_equal(policy_init(&policy, &config, NULL), 0);
	policy_step(&policy, heat, dirty, &link, send, &counts);
	assert_int_equal(counts.skip, 150);
	/* a threshold is a class: pages of at least about ln 2 writes/s */
	config =
		(struct policy_config){.rule = POLICY_THRESHOLD, .threshold = heat_rate(heat, 750)};
	begin();
	assert_int_equal(policy_init(&policy, &config, NULL), 0);
	policy_step(&policy, heat, dirty, &link, send, &counts);
	assert_in_range(counts.skip, 750, 900);
	assert_true(bit_get(send, 599));
	heat_destroy(heat);
}

static void a_dead_link_skips_nothing(void **test)
{
	const struct policy_config config = {.rule = POLICY_EXPECTED};
	struct heat *heat = heat_create(PAGES, HEAT_LOG, NULL);
	const double rates[] = {0, -1, NAN};
	struct policy_counts counts;
	struct policy policy;

	(void)test;
	begin();
	heat_add_round(heat, dirty, 1);
	for (unsigned i = 0; i < 3; i++) {
		struct policy_link link = {.rate = rates[i]};

		assert_int_equal(policy_init(&policy, &config, NULL), 0);
		policy_step(&policy, heat, dirty, &link, send, &counts);
		assert_int_equal(counts.send, PAGES);
		assert_true(counts.seconds == 0);
	}
	heat_destroy(heat);
}

static void a_plan_knows_what_can_be_met(void **test)
{
	uint64_t all[HEAT_CLASSES] = {[0] = 100000}, x[HEAT_CLASSES] = {0};
	struct plan_state state = {all, x, 1000, 500};
	struct plan plan;

	(void)test;
	/* nothing dirty */
	assert_true(plan_make(&state).converges);
	/* 400 hot pages fit the target; 2000 warm ones, of 0.1/s in all 200/s, do not */
	all[28] = x[28] = 400;
	all[19] = x[19] = 2000;
	state.target = 450;
	plan = plan_make(&state);
	assert_true(plan.converges);
	assert_in_range(plan.limit, 19, 27);
	assert_true(plan.seconds > 2 && plan.seconds < 4);
	assert_true(plan.remainder <= 450);
	/* a target below the hot set can't be met: the least remainder is near it */
	state.target = 100;
	plan = plan_make(&state);
	assert_false(plan.converges);
	assert_true(plan.remainder > 300 && plan.remainder < 450);
	/* one that holds everything needs no round at all */
	state.target = 2400;
	plan = plan_make(&state);
	assert_true(plan.converges && plan.limit == HEAT_CLASSES - 1);
	assert_true(plan.seconds > 2.39 && plan.seconds < 2.41);
}

static void what_is_no_configuration_is_refused(void **test)
{
	const struct policy_config bad[] = {
		{.rule = POLICY_RULES}, {.share = -0.1},    {.share = 1.1},	 {.share = NAN},
		{.threshold = -1},	{.threshold = NAN}, {.round_least = -1},
	};
	struct policy policy;

	(void)test;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error *err = NULL;

		assert_int_equal(policy_init(&policy, &bad[i], &err), -1);
		assert_non_null(err);
		error_free(err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_rule_holds_against_every_guest),
		cmocka_unit_test(the_hot_set_that_fits_is_left),
		cmocka_unit_test(top_share_is_counted_exactly),
		cmocka_unit_test(a_dead_link_skips_nothing),
		cmocka_unit_test(a_plan_knows_what_can_be_met),
		cmocka_unit_test(what_is_no_configuration_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
