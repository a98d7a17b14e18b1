/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/bucket.h"

#define SECOND 1000000000LL

/* Draws as a relay does, for some seconds of an imagined clock; bytes that came through. */
static uint64_t drawn_in(struct bucket *bucket, uint64_t want, int64_t *now, int64_t seconds)
{
	int64_t end = *now + seconds * SECOND;
	uint64_t sum = 0;

	while (*now < end) {
		int64_t wait = 0;
		uint64_t n = bucket_draw(bucket, want, *now, &wait);

		sum += n;
		if (!n)
			*now += wait;
	}
	return sum;
}

static void keeps_to_the_rate(void **test)
{
	const uint64_t rates[] = {1000, 125000, 6250000, 125000000};

	(void)test;
	for (size_t i = 0; i < 4; i++) {
		struct bucket bucket = {0};
		int64_t now = 77 * SECOND;
		uint64_t sum;

		bucket_set_rate(&bucket, rates[i], now);
		sum = drawn_in(&bucket, 65536, &now, 10);
		/* what it holds may come on top, or be left in it */
		assert_true(sum >= 10 * rates[i] - rates[i] / 10 - BUCKET_LEAST);
		assert_true(sum <= 10 * rates[i] + rates[i] / 10 + BUCKET_LEAST);
	}
}

static void idle_time_is_not_saved_up(void **test)
{
	struct bucket bucket = {0};
	int64_t now = SECOND, wait = 0;
	uint64_t sum = 0, n;

	(void)test;
	bucket_set_rate(&bucket, 1000000, now);
	now += 3600 * SECOND;
	while ((n = bucket_draw(&bucket, 65536, now, &wait)))
		sum += n;
	assert_true(sum <= 50000);
	assert_true(wait > 0);
}

static void no_rate_no_limit(void **test)
{
	struct bucket bucket = {0};
	int64_t wait = 0;

	(void)test;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(bucket_draw(&bucket, 65536, 1, &wait), 65536);
}

static void what_is_given_back_can_be_drawn(void **test)
{
	struct bucket bucket = {0};
	int64_t wait = 0, now = SECOND;
	uint64_t all;

	(void)test;
	bucket_set_rate(&bucket, 1000000, now);
	now += SECOND;
	all = bucket_draw(&bucket, 1 << 20, now, &wait);
	assert_int_equal(all, 50000);
	assert_int_equal(bucket_draw(&bucket, 1 << 20, now, &wait), 0);
	bucket_give_back(&bucket, all);
	assert_int_equal(bucket_draw(&bucket, 1 << 20, now, &wait), all);
}

static void rate_may_change(void **test)
{
	struct bucket bucket = {0};
	int64_t now = SECOND;
	uint64_t slow, fast;

	(void)test;
	bucket_set_rate(&bucket, 100000, now);
	slow = drawn_in(&bucket, 65536, &now, 5);
	bucket_set_rate(&bucket, 1000000, now);
	fast = drawn_in(&bucket, 65536, &now, 5);
	assert_true(fast > 9 * slow && fast < 11 * slow);
	bucket_set_rate(&bucket, 0, now);
	assert_int_equal(bucket_draw(&bucket, 65536, now, &now), 65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_to_the_rate),
		cmocka_unit_test(idle_time_is_not_saved_up),
		cmocka_unit_test(no_rate_no_limit),
		cmocka_unit_test(what_is_given_back_can_be_drawn),
		cmocka_unit_test(rate_may_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
