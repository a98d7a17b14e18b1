/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an encoder learns of its link, and of what has arrived there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "migrate/codec/link_meter.h"

#define LOOK_NS (50 * NS_PER_MS)
#define SECOND	(NS_PER_SEC / LINK_WINDOW_NS) /* windows */

struct link {
	struct link_meter meter;
	int64_t now;
	uint64_t delivered, under_way;
};

/* A window in which the link took `rate` bytes/s; what it has not taken yet at each look. */
static void window(struct link *l, double rate, size_t waiting, bool to_code)
{
	struct link_look look = {.waiting = waiting, .to_code = to_code};

	do {
		l->now += LOOK_NS;
		l->delivered += (uint64_t)(rate * LOOK_NS / NS_PER_SEC);
		look.now_ns = l->now;
		look.delivered = l->delivered;
		look.given = l->delivered + l->under_way;
	} while (!link_meter_look(&l->meter, &look));
}

static void begin(struct link *l)
{
	*l = (struct link){.now = 7 * NS_PER_SEC};
	link_meter_begin(&l->meter, l->now);
	/* of the first one it is not known whether the link was busy from its beginning */
	window(l, 1e6, 1000, false);
}

static void test_believed_after_some_windows(void **unused)
{
	struct link l;

	(void)unused;
	begin(&l);
	for (int i = 0; i <= LINK_WINDOWS; i++) {
		assert_true(link_meter_rate(&l.meter) == 0);
		window(&l, 10e6, 1000, false);
	}
	assert_true(link_meter_rate(&l.meter) > 9.9e6 && link_meter_rate(&l.meter) < 10.1e6);
}

/* A connection that begins slowly is not a slow link. */
static void test_slow_start(void **unused)
{
	struct link l;
	double rate = 0.5e6;

	(void)unused;
	begin(&l);
	for (int i = 0; i < 10; i++, rate *= 1.5) {
		window(&l, rate, 1000, false);
		assert_true(link_meter_rate(&l.meter) == 0);
	}
	for (int i = 0; i < 2 * LINK_WINDOWS; i++)
		window(&l, rate, 1000, false);
	assert_true(link_meter_rate(&l.meter) > 0.95 * rate);
}

static void test_idle_link_tells_nothing(void **unused)
{
	struct link l;
	double before;

	(void)unused;
	begin(&l);
	for (int i = 0; i < 20; i++)
		window(&l, 1e6, 0, false);
	assert_true(link_meter_rate(&l.meter) == 0);
	for (int i = 0; i < 10; i++)
		window(&l, 10e6, 1000, false);
	before = link_meter_rate(&l.meter);
	for (int i = 0; i < 20; i++)
		window(&l, 1e6, 0, false);
	assert_true(link_meter_rate(&l.meter) == before);
}

/* Empty for one look of a window is not busy. */
static void test_one_look_without_waiting(void **unused)
{
	struct link l;

	(void)unused;
	begin(&l);
	for (int i = 0; i < 40; i++) {
		l.now += LOOK_NS;
		l.delivered += 500000;
		link_meter_look(&l.meter, &(struct link_look){.now_ns = l.now,
							      .given = l.delivered,
							      .delivered = l.delivered,
							      .waiting = i % 5 == 2 ? 0 : 1000});
	}
	assert_true(link_meter_rate(&l.meter) == 0);
}

static void test_a_busy_coder_raises(void **unused)
{
	struct link l;

	(void)unused;
	begin(&l);
	for (int i = 0; i <= LINK_WINDOWS; i++)
		window(&l, 1e6, 1000, false);
	for (int i = 0; i < 4 * SECOND; i++)
		window(&l, 0.9e6, 0, true);
	/* 1.2^16 */
	assert_true(link_meter_rate(&l.meter) > 15e6 && link_meter_rate(&l.meter) < 22e6);
	/* and what is measured then brings it back */
	for (int i = 0; i < 4 * SECOND; i++)
		window(&l, 3e6, 1000, true);
	assert_true(link_meter_rate(&l.meter) > 2.9e6 && link_meter_rate(&l.meter) < 3.3e6);
}

/* What waits in the connection's buffers makes a link busy; what is on the line does not. */
static void test_buffers_take_all(void **unused)
{
	struct link l;

	(void)unused;
	begin(&l);
	l.under_way = 1u << 20; /* 0.1 s */
	for (int i = 0; i < 10; i++)
		window(&l, 10e6, 0, false);
	assert_true(link_meter_rate(&l.meter) == 0);
	l.under_way = 8u << 20;
	for (int i = 0; i < LINK_WINDOWS + 2; i++)
		window(&l, 10e6, 0, false);
	assert_true(link_meter_rate(&l.meter) > 9.9e6 && link_meter_rate(&l.meter) < 10.1e6);
}

static void arrive(struct link_meter *m, uint64_t bytes)
{
	link_meter_look(m, &(struct link_look){.given = bytes, .delivered = bytes, .waiting = 1});
}

static void test_what_has_arrived(void **unused)
{
	struct link_meter m = {0};

	(void)unused;
	link_meter_begin(&m, 0);
	/* ten in make one out */
	for (uint64_t out = 0; out < 100 * LINK_MARK_EVERY; out += 1000) {
		link_meter_mark(&m, 10 * out, out);
		arrive(&m, out / 2);
		assert_true(m.arrived <= 10 * (out / 2));
		assert_true(m.arrived + 10ull * (LINK_MARK_EVERY + 1000) >= 10 * (out / 2));
	}
}

/* Of too many marks the oldest go: late, but never too much. */
static void test_marks_are_bounded(void **unused)
{
	struct link_meter m = {0};
	uint64_t n = 3 * LINK_MARKS;

	(void)unused;
	for (uint64_t i = 1; i <= n; i++)
		link_meter_mark(&m, 10 * i * LINK_MARK_EVERY, i * LINK_MARK_EVERY);
	arrive(&m, LINK_MARKS * LINK_MARK_EVERY);
	assert_int_equal(m.arrived, 0);
	arrive(&m, n * LINK_MARK_EVERY);
	assert_int_equal(m.arrived, 10 * n * LINK_MARK_EVERY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_believed_after_some_windows),
		cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_idle_link_tells_nothing),
		cmocka_unit_test(test_one_look_without_waiting),
		cmocka_unit_test(test_a_busy_coder_raises),
		cmocka_unit_test(test_buffers_take_all),
		cmocka_unit_test(test_what_has_arrived),
		cmocka_unit_test(test_marks_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
