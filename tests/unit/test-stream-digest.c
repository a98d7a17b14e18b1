/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the destination has of each page, and the sample of pages that are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <string.h>

#include "migrate/stream/page_digest.h"
#include "migrate/stream/scheduler_sample.h"

static void test_knows_what_was_noted_last(void **unused)
{
	struct page_digests *d = page_digests_create(8, NULL);
	uint8_t one[4096] = {1}, two[4096] = {2}, zero[4096] = {0};

	(void)unused;
	assert_non_null(d);
	assert_false(page_digests_same(d, 3, one));
	assert_false(page_digests_same(d, 3, zero));
	page_digests_note(d, 3, one);
	assert_true(page_digests_same(d, 3, one));
	assert_false(page_digests_same(d, 2, one));
	page_digests_note(d, 3, two);
	assert_false(page_digests_same(d, 3, one));
	assert_true(page_digests_same(d, 3, two));
	page_digests_forget(d, 3);
	assert_false(page_digests_same(d, 3, two));
	page_digests_note(d, 7, zero);
	assert_true(page_digests_same(d, 7, zero));
	page_digests_destroy(d);
}

/* Each single bit of a page counts. */
static void test_each_bit_counts(void **unused)
{
	struct page_digests *d = page_digests_create(1, NULL);
	uint8_t page[4096];

	(void)unused;
	assert_non_null(d);
	memset(page, 0xa5, sizeof(page));
	page_digests_note(d, 0, page);
	for (size_t bit = 0; bit < 8 * sizeof(page); bit++) {
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(page_digests_same(d, 0, page));
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(page_digests_same(d, 0, page));
	page_digests_destroy(d);
}

static void test_small_set_is_known_whole(void **unused)
{
	struct page_sample sample;

	(void)unused;
	assert_int_equal(page_sample_start(&sample, 1000, NULL), 0);
	for (int again = 0; again < 3; again++)
		for (uint64_t page = 0; page < 300; page++)
			assert_int_equal(page_sample_add(&sample, 3 * page), again == 0);
	assert_int_equal(sample.known, 300);
	assert_int_equal(sample.size, 300);
	for (uint64_t page = 0; page < 300; page++)
		assert_int_equal(sample.pages[page], 3 * page);
	page_sample_clear(&sample);
}

/* Pages that came early are in it as often as those that came late. */
static void test_large_set_is_sampled_evenly(void **unused)
{
	enum {
		ALL = 100000,
		PARTS = 4
	};
	struct page_sample sample;
	unsigned part[PARTS] = {0};

	(void)unused;
	assert_int_equal(page_sample_start(&sample, ALL, NULL), 0);
	for (uint64_t page = 0; page < ALL; page++)
		assert_true(page_sample_add(&sample, page));
	assert_int_equal(sample.size, SAMPLE_PAGES);
	for (unsigned i = 0; i < sample.size; i++)
		part[sample.pages[i] * PARTS / ALL]++;
	for (unsigned i = 0; i < PARTS; i++)
		assert_in_range(part[i], SAMPLE_PAGES / PARTS * 2 / 3,
				SAMPLE_PAGES / PARTS * 4 / 3);
	page_sample_clear(&sample);
}

static void test_share_errs_on_the_side_of_more(void **unused)
{
	(void)unused;
	assert_true(page_sample_share(0, 0) >= 1);
	assert_true(page_sample_share(512, 512) >= 1);
	assert_true(page_sample_share(0, 512) <= 0);
	assert_true(page_sample_share(256, 512) > 0.52);
	assert_true(page_sample_share(256, 512) < 0.53);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_knows_what_was_noted_last),
		cmocka_unit_test(test_each_bit_counts),
		cmocka_unit_test(test_small_set_is_known_whole),
		cmocka_unit_test(test_large_set_is_sampled_evenly),
		cmocka_unit_test(test_share_errs_on_the_side_of_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
