/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pool of held pages against a plain model of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "migrate/stream/page_pool.h"

#define MOST  1000u
#define PAGES 3000u /* that there are */
#define STEPS 60000

static uint64_t state = 0x243f6a8885a308d3ull;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* What is held: in which queue, since when, with what. order: of putting and moving. */
static struct {
	bool held;
	unsigned queue, order, version;
} model[PAGES];

static uint64_t number_of(unsigned page)
{
	return (uint64_t)page * 0x10001; /* far apart, and close together modulo a power of two */
}

static void fill(uint8_t content[PAGE_POOL_PAGE], unsigned page, unsigned version)
{
	memset(content, (int)(page * 31 + version), PAGE_POOL_PAGE);
}

static void assert_is(const struct page_pool *pool, unsigned page)
{
	uint32_t slot = page_pool_find(pool, number_of(page));
	uint8_t content[PAGE_POOL_PAGE];

	if (!model[page].held) {
		assert_int_equal(slot, PAGE_POOL_NONE);
		return;
	}
	assert_int_not_equal(slot, PAGE_POOL_NONE);
	assert_int_equal(page_pool_page(pool, slot), number_of(page));
	assert_int_equal(page_pool_put_ns(pool, slot), model[page].version);
	fill(content, page, model[page].version);
	assert_memory_equal(page_pool_content(pool, slot), content, PAGE_POOL_PAGE);
}

/* The oldest of each queue, and the counts. */
static void assert_queues(const struct page_pool *pool)
{
	unsigned first[PAGE_POOL_QUEUES], count[PAGE_POOL_QUEUES] = {0}, all = 0;

	for (unsigned page = 0; page < PAGES; page++) {
		unsigned q = model[page].queue;

		if (!model[page].held)
			continue;
		if (count[q]++ == 0 || model[page].order < model[first[q]].order)
			first[q] = page;
		all++;
	}
	assert_int_equal(page_pool_count(pool), all);
	for (unsigned q = 0; q < PAGE_POOL_QUEUES; q++) {
		uint32_t slot = page_pool_first(pool, q);

		assert_int_equal(page_pool_queued(pool, q), count[q]);
		if (count[q] == 0)
			assert_int_equal(slot, PAGE_POOL_NONE);
		else
			assert_int_equal(page_pool_page(pool, slot), number_of(first[q]));
	}
}

static void test_against_model(void **unused)
{
	struct page_pool *pool = page_pool_create(MOST, NULL);
	unsigned refused = 0;

	(void)unused;
	for (unsigned step = 1; step <= STEPS; step++) {
		unsigned page = (unsigned)(next() % PAGES);
		unsigned queue = (unsigned)(next() % PAGE_POOL_QUEUES);
		uint32_t slot = page_pool_find(pool, number_of(page));
		uint8_t content[PAGE_POOL_PAGE];
		struct error *err = NULL;

		switch (next() % 4) {
		case 0:
			if (slot == PAGE_POOL_NONE)
				break;
			page_pool_drop(pool, slot);
			model[page].held = false;
			break;
		case 1:
			if (slot == PAGE_POOL_NONE)
				break;
			page_pool_move(pool, slot, queue);
			model[page].queue = queue;
			model[page].order = step;
			break;
		default:
			fill(content, page, step);
			slot = page_pool_put(pool, number_of(page), content, queue, step, &err);
			if (slot == PAGE_POOL_NONE) {
				assert_int_equal(err->code, ENOMEM);
				error_free(err);
				assert_false(model[page].held);
				assert_int_equal(page_pool_count(pool), MOST);
				refused++;
				break;
			}
			model[page].held = true;
			model[page].queue = queue;
			model[page].order = model[page].version = step;
		}
		assert_is(pool, page);
		assert_is(pool, (unsigned)(next() % PAGES));
		if (step % 500 == 0)
			assert_queues(pool);
	}
	assert_true(refused > 100);
	page_pool_destroy(pool);
	page_pool_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
