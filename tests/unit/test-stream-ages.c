/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ages of lacking pages: who is next, against guests whose writes are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/random.h"
#include "migrate/stream/page_ages.h"

#define SLOT_NS (100 * NS_PER_MS)
#define PAGES	2000u

static struct page_ages *create(void)
{
	struct page_ages *a = page_ages_create(PAGES, SLOT_NS, NULL);

	assert_non_null(a);
	page_ages_advance(a, NS_PER_SEC);
	return a;
}

/* A slot goes by, in which each page is looked at once. */
static void slot(struct page_ages *a, int64_t *now_ns, const uint8_t written[PAGES])
{
	*now_ns += SLOT_NS;
	page_ages_advance(a, *now_ns);
	for (unsigned p = 0; p < PAGES; p++) {
		if (written[p])
			page_ages_written(a, p, SLOT_NS);
		else
			page_ages_kept(a, p, SLOT_NS);
	}
}

/* A set that is written in a circle: whoever was written last stays longest. */
static void test_circle(void **unused)
{
	struct page_ages *a = create();
	int64_t now_ns = NS_PER_SEC;
	unsigned at = 0;

	(void)unused;
	for (int i = 0; i < 100; i++) {
		uint8_t written[PAGES] = {0};

		for (unsigned n = 0; n < PAGES / 40; n++)
			written[at++ % PAGES] = 1;
		slot(a, &now_ns, written);
	}
	for (unsigned p = 0; p < PAGES; p++)
		page_ages_add(a, p);
	/* one after the other, from the one written last back */
	for (unsigned n = 0; n < PAGES; n++) {
		uint64_t page = page_ages_best(a);
		unsigned ago = (unsigned)((at - 1 - page) % PAGES);

		assert_in_range(page, 0, PAGES - 1);
		if (n < PAGES * 3 / 4)
			assert_in_range(ago, n < PAGES / 20 ? 0 : n - PAGES / 20, n + PAGES / 20);
		page_ages_remove(a, page);
	}
	assert_int_equal(page_ages_best(a), AGES_NONE);
	page_ages_destroy(a);
}

/* Of hot pages and cool ones, the cool ones are sent, that is the oldest. */
static void test_hot_and_cool(void **unused)
{
	struct page_ages *a = create();
	struct random random;
	int64_t now_ns = NS_PER_SEC;
	unsigned hot = 0;

	(void)unused;
	random_seed(&random, 3);
	for (int i = 0; i < 200; i++) {
		uint8_t written[PAGES];

		for (unsigned p = 0; p < PAGES; p++)
			written[p] = random_unit(&random) < (p % 2 ? 0.4 : 0.01);
		slot(a, &now_ns, written);
	}
	for (unsigned p = 0; p < PAGES; p++)
		page_ages_add(a, p);
	for (unsigned n = 0; n < PAGES / 3; n++) {
		uint64_t page = page_ages_best(a);

		hot += page % 2;
		page_ages_remove(a, page);
	}
	assert_in_range(hot, 0, PAGES / 60);
	page_ages_destroy(a);
}

/* Random writes: what is expected is known, at every age that many have reached. */
static void test_stays_as_long_as_it_does(void **unused)
{
	struct page_ages *a = create();
	struct random random;
	int64_t now_ns = NS_PER_SEC;
	int last[PAGES] = {0};
	unsigned young = 0, off = 0; /* pages */
	double sum = 0;
	const double chance = 0.05, expected = 1 / (chance + 1.0 / AGES_HORIZON);

	(void)unused;
	random_seed(&random, 4);
	for (int i = 0; i < 150; i++) {
		uint8_t written[PAGES];

		for (unsigned p = 0; p < PAGES; p++) {
			written[p] = random_unit(&random) < chance;
			if (written[p])
				last[p] = i;
		}
		slot(a, &now_ns, written);
	}
	page_ages_advance(a, now_ns + SLOT_NS);
	for (unsigned p = 0; p < PAGES; p++) {
		double slots = (double)page_ages_stays_ns(a, p) / SLOT_NS;

		if (last[p] < 150 - 40)
			continue;
		young++;
		off += slots < 0.75 * expected || slots > 1.25 * expected;
		sum += slots;
	}
	assert_true(sum / young > 0.9 * expected && sum / young < 1.1 * expected);
	assert_true(off < young / 10); /* few have lived as long as those before */
	page_ages_destroy(a);
}

/* Whatever is done: the best is one that is lacking, and none of those stays longer. */
static void test_best_is_best(void **unused)
{
	struct page_ages *a = create();
	uint8_t lacking[PAGES] = {0};
	struct random random;
	uint64_t count = 0;
	int64_t now_ns = NS_PER_SEC;

	(void)unused;
	random_seed(&random, 5);
	for (int i = 0; i < 40000; i++) {
		uint64_t page = random_below(&random, PAGES), best;

		switch (random_below(&random, 8)) {
		case 0:
			page_ages_written(a, page * page / PAGES,
					  (int64_t)random_below(&random, 5 * SLOT_NS));
			break;
		case 1:
			page_ages_kept(a, page, SLOT_NS);
			break;
		case 2:
		case 3:
		case 4:
			count += !lacking[page];
			lacking[page] = 1;
			page_ages_add(a, page);
			break;
		case 5:
		case 6:
			count -= lacking[page];
			lacking[page] = 0;
			page_ages_remove(a, page);
			break;
		default: /* now and then for longer than anybody has ages for */
			now_ns += (int64_t)random_below(&random, 2 * SLOT_NS) +
				  (i % 9973 == 0 ? 300 * SLOT_NS : 0);
			page_ages_advance(a, now_ns);
		}
		best = page_ages_best(a);
		if (i % 50)
			continue;
		assert_int_equal(best == AGES_NONE, count == 0);
		if (count > 0)
			assert_int_equal(lacking[best], 1);
		for (unsigned p = 0; p < PAGES && count > 0; p++)
			if (lacking[p])
				assert_true(page_ages_stays_ns(a, p) <=
					    page_ages_stays_ns(a, best));
	}
	/* none is lost, none is there twice */
	for (uint64_t page; (page = page_ages_best(a)) != AGES_NONE; count--) {
		assert_int_equal(lacking[page], 1);
		lacking[page] = 0;
		page_ages_remove(a, page);
	}
	assert_int_equal(count, 0);
	page_ages_destroy(a);
}

static void test_too_many(void **unused)
{
	struct error *err = NULL;

	(void)unused;
	assert_null(page_ages_create(UINT32_MAX, SLOT_NS, &err));
	assert_non_null(strstr(error_text(err), "4294967295 pages"));
	error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_circle),
		cmocka_unit_test(test_hot_and_cool),
		cmocka_unit_test(test_stays_as_long_as_it_does),
		cmocka_unit_test(test_best_is_best),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
