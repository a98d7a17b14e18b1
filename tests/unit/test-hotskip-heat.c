/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hotskip/heat.h"
#include "hotskip/words.h"

static double random_unit(void)
{
	return (random() + 0.5) / (1.0 + RAND_MAX);
}

static void assert_near(double value, double expected, double part)
{
	if (!(fabs(value - expected) <= part * expected))
		fail_msg("found %g, expected %g within %g %%", value, expected, 100 * part);
}

/* One page per pattern of `rounds` equal windows: dirty in as many as it has bits. */
static void equal_windows_follow_the_formula(void **test)
{
	const unsigned rounds = 8;
	struct heat *heat = heat_create(1u << rounds, HEAT_LOG, NULL);

	(void)test;
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned page = 0; page < 1u << rounds; page++)
			if (page >> r & 1)
				heat_note(heat, page);
		heat_end_round(heat, 2.5);
	}
	assert_int_equal(heat_windows(heat), rounds);
	for (unsigned page = 1; page < 1u << rounds; page++) {
		double dirty = __builtin_popcount(page);

		assert_near(heat_rate(heat, page), -log(1 - (dirty + 0.5) / (rounds + 1)) / 2.5,
			    0.04);
	}
	assert_true(heat_rate(heat, 0) == 0);
	assert_int_equal(heat_class(heat, 0), 0);
	heat_destroy(heat);
}

/* The likeliest rate by search, with the half windows that heat.h adds. */
static double search_rate(unsigned pattern, const double *t, unsigned n)
{
	double best = -INFINITY, at = 0, mean = 0;

	for (unsigned i = 0; i < n; i++)
		mean += 1 / t[i] / n;
	mean = 1 / mean;
	for (unsigned step = 0; step < 1530; step++) {
		double r = 1e-5 * pow(1.01, step);
		double sum = (log(-expm1(-r * mean)) - r * mean) / 2;

		for (unsigned i = 0; i < n; i++)
			sum += pattern >> i & 1 ? log(-expm1(-r * t[i])) : -r * t[i];
		if (sum > best) {
			best = sum;
			at = r;
		}
	}
	return at;
}

static void unequal_windows_give_the_likeliest_rate(void **test)
{
	const double t[] = {640, 70, 12, 3, 3, 0.5, 0.1, 40, 9};
	struct heat *heat = heat_create(512, HEAT_LOG, NULL);

	(void)test;
	for (unsigned i = 0; i < 9; i++) {
		for (unsigned page = 0; page < 512; page++)
			if (page >> i & 1)
				heat_note(heat, page);
		heat_end_round(heat, t[i]);
	}
	for (unsigned page = 1; page < 512; page++)
		assert_near(heat_rate(heat, page), search_rate(page, t, 9), 0.06);
	heat_destroy(heat);
}

/* Pages with known rates, in rounds that get shorter: many more than there are windows. */
static void known_rates_are_found(void **test)
{
	const double rates[] = {0.002, 0.02, 0.2, 2};
	const unsigned each = 2000;
	struct heat *heat = heat_create(4 * each, HEAT_LOG, NULL);
	double all = 0;

	(void)test;
	srandom(1);
	for (unsigned round = 0; round < 60; round++) {
		double t = round < 5 ? 100 : 0.2 + 3 * random_unit();

		for (unsigned page = 0; page < 4 * each; page++)
			if (random_unit() < -expm1(-rates[page / each] * t))
				heat_note(heat, page);
		heat_end_round(heat, t);
		all += t;
	}
	assert_in_range(heat_windows(heat), HEAT_WINDOWS - 2, HEAT_WINDOWS);
	assert_near(heat_seconds(heat), all, 1e-9);
	for (unsigned k = 0; k < 4; k++) {
		double sum = 0;

		for (unsigned page = k * each; page < (k + 1) * each; page++)
			sum += heat_rate(heat, page) / each;
		/* at both ends evidence runs out: one write in all, or one in each window */
		assert_near(sum, rates[k], k == 1 || k == 2 ? 0.4 : 0.6);
		assert_near(heat_class_rate(heat_class(heat, k * each)), rates[k], 4);
	}
	heat_destroy(heat);
}

static void the_past_is_not_forgotten(void **test)
{
	struct heat *heat = heat_create(64, HEAT_LOG, NULL);

	(void)test;
	heat_note(heat, 7);
	for (unsigned round = 0; round < 200; round++) {
		heat_note(heat, 8);
		heat_end_round(heat, 1);
	}
	assert_true(heat_class(heat, 7) > 0);
	assert_true(heat_rate(heat, 7) < 0.05);
	assert_true(heat_rate(heat, 8) > 0.5);
	assert_int_equal(heat_class(heat, 9), 0);
	heat_destroy(heat);
}

static void chance_and_class_follow_the_rate(void **test)
{
	struct heat *heat = heat_create(2, HEAT_LOG, NULL);
	unsigned last = 0;

	(void)test;
	heat_note(heat, 0);
	heat_end_round(heat, 4);
	assert_near(heat_chance(heat, 0, 3), 1 - exp(-3 * heat_rate(heat, 0)), 1e-6);
	assert_true(heat_chance(heat, 1, 1e9) == 0);
	assert_near(heat_class_rate(heat_class(heat, 0)), heat_rate(heat, 0), 0.31);
	for (unsigned i = 1; i < HEAT_CLASSES; i++) {
		assert_true(heat_class_rate(i) > heat_class_rate(last));
		last = i;
	}
	heat_destroy(heat);
}

/* Rounds 20, 5, 3 s. In the stream a page that comes in round n + 1 was written in round n. */
static void a_stream_is_a_round_behind(void **test)
{
	struct heat *stream = heat_create(4, HEAT_STREAM, NULL);
	struct heat *log = heat_create(4, HEAT_LOG, NULL);

	(void)test;
	for (uint64_t page = 0; page < 4; page++)
		heat_note(stream, page);
	assert_int_equal(heat_class(stream, 0), 0);
	heat_end_round(stream, 20);
	assert_int_equal(heat_class(stream, 0), 0);
	heat_note(log, 0);
	heat_note(log, 1);
	heat_end_round(log, 20);
	heat_note(stream, 0);
	/* at once, and with the first round's length */
	assert_near(heat_rate(stream, 0), heat_rate(log, 0), 1e-6);
	/* page 1 is not yet seen: that is no evidence that it was clean */
	assert_int_equal(heat_class(stream, 1), 0);
	heat_note(stream, 1);
	heat_end_round(stream, 5);
	/* 2 is not seen in round 3 either, until it is over */
	heat_note(log, 0);
	heat_end_round(log, 5);
	heat_note(stream, 0);
	assert_near(heat_rate(stream, 0), heat_rate(log, 0), 0.02);
	assert_true(heat_rate(stream, 1) > heat_rate(log, 1) * 1.1);
	heat_end_round(stream, 3);
	assert_near(heat_rate(stream, 1), heat_rate(log, 1), 0.2);
	assert_int_equal(heat_class(stream, 2), 0);
	assert_int_equal(heat_windows(stream), 2);
	assert_near(heat_seconds(stream), 25, 1e-9);
	heat_destroy(stream);
	heat_destroy(log);
}

static void a_bitmap_is_many_notes(void **test)
{
	const uint64_t pages = 64 * 37 + 5;
	struct heat *noted = heat_create(pages, HEAT_LOG, NULL);
	struct heat *added = heat_create(pages, HEAT_LOG, NULL);
	uint64_t map[38];

	(void)test;
	srandom(3);
	for (unsigned round = 0; round < 40; round++) {
		memset(map, 0, sizeof(map));
		for (uint64_t page = 0; page < pages; page++) {
			/* empty, full and mixed words */
			if (page / 64 % 3 == 0 || (page / 64 % 3 == 1 && random() & 4))
				continue;
			bit_set(map, page);
			heat_note(noted, page);
		}
		heat_end_round(noted, 1 + round % 7);
		heat_add_round(added, map, 1 + round % 7);
		assert_memory_equal(noted->seen, added->seen, pages * sizeof(uint16_t));
	}
	heat_destroy(noted);
	heat_destroy(added);
}

static void a_round_without_time_is_no_evidence(void **test)
{
	struct heat *heat = heat_create(2, HEAT_LOG, NULL);

	(void)test;
	heat_note(heat, 1);
	heat_end_round(heat, 0);
	heat_end_round(heat, -1);
	heat_end_round(heat, NAN);
	heat_end_round(heat, INFINITY);
	assert_int_equal(heat_windows(heat), 0);
	assert_int_equal(heat_class(heat, 1), 0);
	heat_end_round(heat, 2);
	assert_int_equal(heat_windows(heat), 1);
	assert_true(heat_class(heat, 1) > 0);
	heat_destroy(heat);
}

static void extremes_stay_numbers(void **test)
{
	const double lengths[] = {1e-9, 1e-3, 1e9};
	struct error *err = NULL;

	(void)test;
	for (unsigned i = 0; i < 3; i++) {
		struct heat *heat = heat_create(2, HEAT_LOG, NULL);

		for (unsigned round = 0; round < 20; round++) {
			heat_note(heat, 0);
			heat_end_round(heat, lengths[i]);
		}
		assert_true(heat_rate(heat, 0) > 0 && heat_rate(heat, 0) <= 46);
		assert_true(heat_chance(heat, 0, 1) > 0 && heat_chance(heat, 0, 1) <= 1);
		heat_destroy(heat);
	}
	assert_null(heat_create(0, HEAT_LOG, &err));
	assert_non_null(err);
	error_free(err);
	heat_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_windows_follow_the_formula),
		cmocka_unit_test(unequal_windows_give_the_likeliest_rate),
		cmocka_unit_test(known_rates_are_found),
		cmocka_unit_test(the_past_is_not_forgotten),
		cmocka_unit_test(chance_and_class_follow_the_rate),
		cmocka_unit_test(a_stream_is_a_round_behind),
		cmocka_unit_test(a_bitmap_is_many_notes),
		cmocka_unit_test(a_round_without_time_is_no_evidence),
		cmocka_unit_test(extremes_stay_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
