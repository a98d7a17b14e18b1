/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page scheduler against a guest that writes, a hypervisor that may pause it at any time, and a
 * link. */
#include "tests/unit/test-stream-guest.h"

#define MIB 256u /* pages */

/* What a guest does. Sets lie one behind the other from page `cold`, in pages; rates in pages/s. */
struct load {
	uint32_t cold;
	uint32_t used; /* pages that are not zero at the beginning */
	uint32_t hot, warm;
	double hot_rate, warm_rate, random_rate;
	int64_t idle_after_ns; /* 0: never */
};

struct writer {
	double hot_due, warm_due, random_due;
	uint32_t hot_at, warm_at;
};

static void write_some(struct guest *g, const struct load *load, struct writer *w)
{
	double seconds = (double)STEP_NS / 1e9;

	if (g->paused || (load->idle_after_ns && g->now_ns > load->idle_after_ns))
		return;
	for (w->hot_due += load->hot_rate * seconds; w->hot_due >= 1; w->hot_due--)
		guest_write(g, load->cold + w->hot_at++ % load->hot);
	for (w->warm_due += load->warm_rate * seconds; w->warm_due >= 1; w->warm_due--)
		guest_write(g, load->cold + load->hot + w->warm_at++ % load->warm);
	for (w->random_due += load->random_rate * seconds; w->random_due >= 1; w->random_due--)
		guest_write(g, (uint32_t)(next_random(g) % load->used));
}

static struct scheduler_options options(enum hot_rule rule, int64_t downtime_ns, struct guest *g)
{
	struct scheduler_options o = {.format = &stream_format_qemu,
				      .rule = rule,
				      .hot_share = 0.1,
				      .hot_rate = 1,
				      .hold_most = 64u << 20,
				      .downtime_ns = downtime_ns};

	if (g && rule == HOT_EXPECTED) {
		o.peek = guest_peek;
		o.peek_arg = g;
		o.peek_bytes = (uint64_t)(g->pages - g->screen) * QEMU_PAGE;
	}
	return o;
}

static void assert_pages_add_up(const struct scheduler_stats *stats)
{
	assert_int_equal(stats->pages_in - stats->pages_superseded - stats->pages_stale -
				 stats->pages_owed - stats->pages_there + stats->pages_fetched +
				 stats->pages_chosen,
			 stats->pages_out);
}

/* Until all has arrived, or for that long. Returns whether it has. */
static bool run(struct guest *g, const struct load *load, const struct scheduler_options *o,
		int64_t most_ns, struct scheduler_stats *stats)
{
	struct scheduler *s = scheduler_create(o, NULL);
	int64_t until_ns = g->now_ns + most_ns;
	struct writer writer = {0};
	bool done;

	assert_non_null(s);
	for (uint32_t p = 0; p < load->used; p++)
		g->version[p] = 1;
	while (!scheduler_drained(s) && g->now_ns < until_ns) {
		write_some(g, load, &writer);
		step(g, s);
	}
	done = scheduler_drained(s);
	g->done_ns = g->now_ns + DELAY_NS;
	scheduler_stats(s, g->now_ns, stats);
	if (done) {
		assert_arrived(g, s);
		assert_pages_add_up(stats);
	}
	scheduler_destroy(s);
	return done;
}

static const struct load sets = {.used = 24 * MIB,
				 .hot = 3 * MIB / 2,
				 .warm = 6 * MIB,
				 .hot_rate = 5 * MIB,
				 .warm_rate = 2.5 * MIB};

#define RATE (5u << 20) /* bytes/s: sets.warm_rate is half of it */

/* Every rule, with and without a look into the guest: all that was written last arrives. */
static void test_last_versions_arrive(void **unused)
{
	(void)unused;
	for (int rule = HOT_NONE; rule < HOT_RULES; rule++)
		for (int peek = 0; peek < 2; peek++)
			for (uint64_t seed = 1; seed <= 4; seed++) {
				struct load load = {.used = 16 * MIB,
						    .hot = MIB,
						    .warm = 4 * MIB,
						    .hot_rate = (double)(seed * MIB),
						    .warm_rate = (double)(seed * MIB) / 4,
						    .random_rate = (double)(seed * seed * 10)};
				struct scheduler_options o;
				struct scheduler_stats stats;
				struct guest g;

				guest_start(&g, 20 * MIB, RATE, seed);
				o = options(rule, NS_PER_SEC, peek ? &g : NULL);
				assert_true(run(&g, &load, &o, 120 * NS_PER_SEC, &stats));
				guest_end(&g);
			}
}

/* Whenever the hypervisor pauses the guest, what is held and on its way fits the target. */
static void test_backlog_fits_at_any_time(void **unused)
{
	(void)unused;
	for (int rule = HOT_NONE; rule < HOT_RULES; rule++)
		for (int64_t idle = 2; idle <= 9; idle++) {
			struct load load = sets;
			struct scheduler_options o;
			struct scheduler_stats stats;
			struct guest g;

			/* a hypervisor that pauses as soon as the guest does nothing */
			load.idle_after_ns = (1 + idle) * NS_PER_SEC;
			guest_start(&g, 28 * MIB, RATE, (uint64_t)idle);
			o = options(rule, NS_PER_SEC, &g);
			assert_true(run(&g, &load, &o, 120 * NS_PER_SEC, &stats));
			assert_true(g.backlog_over <= 2 * SCHEDULER_READ);
			assert_true(g.done_ns - g.paused_ns < 12 * NS_PER_SEC / 10);
			guest_end(&g);
		}
}

struct outcome {
	double seconds, pause;
	uint64_t bytes;
	bool given_up; /* at some time it was said that it would not fit */
	struct scheduler_stats stats;
};

static struct outcome outcome_of(const struct load *load, enum hot_rule rule, bool peek)
{
	struct scheduler_options o;
	struct outcome outcome;
	struct guest g;

	guest_start(&g, load->used + 4 * MIB, RATE, 7);
	o = options(rule, NS_PER_SEC, peek ? &g : NULL);
	assert_true(run(&g, load, &o, 300 * NS_PER_SEC, &outcome.stats));
	outcome.seconds = (double)(g.done_ns - NS_PER_SEC) / 1e9;
	outcome.pause = (double)(g.done_ns - g.paused_ns) / 1e9;
	outcome.bytes = g.given;
	outcome.given_up = g.stuck_seen || g.doubt_seen;
	print_message("%-8s%s %5.1f s, pause %.2f s, %.1f MB; %u rounds, %lu stale, %lu there, "
		      "%lu forced\n",
		      hot_rule_name(rule), peek ? "+peek" : "     ", outcome.seconds, outcome.pause,
		      (double)outcome.bytes / 1e6, outcome.stats.rounds, outcome.stats.pages_stale,
		      outcome.stats.pages_there, outcome.stats.pages_forced);
	guest_end(&g);
	return outcome;
}

/* A hot set that fits the target, a warm one that makes long rounds dear: what hot-skip is for. */
static void test_hot_set_is_not_sent_again_and_again(void **unused)
{
	struct outcome none = outcome_of(&sets, HOT_NONE, false);
	struct outcome top = outcome_of(&sets, HOT_TOP, false);
	struct outcome expected = outcome_of(&sets, HOT_EXPECTED, false);
	struct outcome peek = outcome_of(&sets, HOT_EXPECTED, true);

	(void)unused;
	assert_true(expected.bytes < none.bytes && expected.seconds < none.seconds);
	assert_true((double)peek.bytes <= 0.8 * (double)none.bytes);
	assert_true(peek.seconds <= 0.8 * none.seconds);
	assert_true(peek.pause < 1.2 && expected.pause < 1.2 && top.pause < 1.2);
}

/* A warm set four times what fits, rewritten at 0.62 of the link's rate, wherever it lies. */
static void test_warm_set_is_sent_when_it_pays(void **unused)
{
	struct load load = {.used = 50 * MIB,
			    .hot = 3 * MIB / 2,
			    .warm = 20 * MIB,
			    .hot_rate = 5 * MIB,
			    .warm_rate = 3.1 * MIB};

	(void)unused;
	for (uint32_t cold = 0; cold <= 28 * MIB; cold += 14 * MIB) {
		struct outcome none, peek;

		load.cold = cold;
		none = outcome_of(&load, HOT_NONE, false);
		peek = outcome_of(&load, HOT_EXPECTED, true);
		assert_false(peek.given_up);
		assert_true(peek.seconds <= 0.7 * none.seconds);
		assert_true((double)peek.bytes <= 0.7 * (double)none.bytes);
		assert_true(peek.pause < 1.2);
	}
}

/*
 * A block that can't be looked into, larger than the target and once written all over: it is no
 * reason to wait for ever. Nor is it if none can be looked into.
 */
static void test_other_blocks_do_not_hold_it_up(void **unused)
{
	const struct load load = {.cold = 8 * MIB,
				  .used = 24 * MIB,
				  .hot = MIB / 2,
				  .warm = 15 * MIB,
				  .hot_rate = 2 * MIB,
				  .warm_rate = 2 * MIB};

	(void)unused;
	for (int found = 0; found < 2; found++) {
		struct scheduler_stats stats;
		struct scheduler_options o;
		struct guest g;

		guest_start_with_screen(&g, 24 * MIB, 14 * MIB, RATE, 11);
		o = options(HOT_EXPECTED, NS_PER_SEC, &g);
		o.peek_bytes += found ? 0 : QEMU_PAGE;
		assert_true(run(&g, &load, &o, 60 * NS_PER_SEC, &stats));
		print_message("%s: %.1f s, pause %.2f s\n",
			      found ? "one block of two is looked into" : "no block is looked into",
			      (double)(g.done_ns - NS_PER_SEC) / 1e9,
			      (double)(g.done_ns - g.paused_ns) / 1e9);
		assert_true(g.done_ns - g.paused_ns < 12 * NS_PER_SEC / 10);
		guest_end(&g);
	}
}

/* A guest at rest costs nothing beyond its memory, under every rule. */
static void test_idle_guest(void **unused)
{
	const struct load load = {.used = 8 * MIB};

	(void)unused;
	for (int rule = HOT_NONE; rule < HOT_RULES; rule++) {
		struct outcome o = outcome_of(&load, rule, true);

		assert_int_equal(o.stats.pages_out, 8 * MIB);
		assert_true(o.seconds < 1.2 * 8 * MIB * QEMU_PAGE / RATE);
	}
}

/* A hot set that does not fit is told, early, and never taken for one that does. */
static void test_stuck_is_told(void **unused)
{
	const struct load load = {.used = 24 * MIB, .hot = 12 * MIB, .hot_rate = 40 * MIB};

	(void)unused;
	for (int peek = 0; peek < 2; peek++) {
		struct scheduler_stats stats;
		struct scheduler_options o;
		struct guest g;

		guest_start(&g, 28 * MIB, RATE, 3);
		o = options(HOT_EXPECTED, NS_PER_SEC, peek ? &g : NULL);
		assert_false(run(&g, &load, &o, 25 * NS_PER_SEC, &stats));
		assert_false(g.ready_seen);
		assert_true(g.stuck_seen);
		assert_false(stats.converges);
		assert_true(stats.foreseen > 8 * MIB * QEMU_PAGE);
		guest_end(&g);
	}
}

/* Stuck, and paused when the least is left: for as long as that takes, and not much longer. */
static void test_stuck_is_paused_at_the_least(void **unused)
{
	const struct load load = {.used = 24 * MIB, .hot = 12 * MIB, .hot_rate = 40 * MIB};

	(void)unused;
	for (int peek = 0; peek < 2; peek++) {
		struct scheduler_stats stats;
		struct scheduler_options o;
		struct guest g;

		guest_start(&g, 28 * MIB, RATE, 3);
		g.takes_best = true;
		o = options(HOT_EXPECTED, NS_PER_SEC, peek ? &g : NULL);
		assert_true(run(&g, &load, &o, 60 * NS_PER_SEC, &stats));
		assert_false(g.ready_seen);
		/* the hot set takes 2.5 s */
		assert_true(g.done_ns - g.paused_ns < 3 * NS_PER_SEC);
		guest_end(&g);
	}
}

/* The hypervisor's log loses a page that was left out: it is seen, or read in the pause. */
static void test_lost_page_is_fetched(void **unused)
{
	struct load load = sets;
	uint64_t fetched = 0;

	(void)unused;
	for (int32_t page = 0; page < 8; page++) {
		struct scheduler_stats stats;
		struct scheduler_options o;
		struct guest g;

		guest_start(&g, 28 * MIB, RATE, 5);
		g.loses = page * 40;
		o = options(HOT_EXPECTED, NS_PER_SEC, &g);
		/* what is lost without having been left out is not to be had, so look only here */
		load.hot_rate = sets.hot_rate;
		load.idle_after_ns = 0;
		for (uint32_t p = 0; p < load.used; p++)
			g.version[p] = 1;
		struct scheduler *s = scheduler_create(&o, NULL);
		struct writer writer = {0};

		while (!scheduler_drained(s) && g.now_ns < 120 * NS_PER_SEC) {
			write_some(&g, &load, &writer);
			step(&g, s);
		}
		scheduler_stats(s, g.now_ns, &stats);
		assert_true(scheduler_drained(s));
		if (stats.pages_fetched) {
			fetched += stats.pages_fetched;
			assert_arrived(&g, s);
		}
		scheduler_destroy(s);
		guest_end(&g);
	}
	assert_true(fetched > 0);
}

/* For a while the guest's memory can't be read: what comes then is held. */
static void test_memory_hides(void **unused)
{
	(void)unused;
	for (int64_t from = 1; from <= 8; from++) {
		struct scheduler_options o;
		struct scheduler_stats stats;
		struct guest g;

		guest_start(&g, 28 * MIB, RATE, (uint64_t)from);
		g.hides_from_ns = from * NS_PER_SEC;
		g.hides_until_ns = (from + 2) * NS_PER_SEC;
		o = options(HOT_EXPECTED, NS_PER_SEC, &g);
		assert_true(run(&g, &sets, &o, 120 * NS_PER_SEC, &stats));
		guest_end(&g);
	}
}

/* However often the scheduler is called, it looks at no more memory than 800 MiB a second. */
static void test_watch_is_bounded(void **unused)
{
	const uint64_t most = (800ull << 20) / QEMU_PAGE;
	struct scheduler_options o;
	struct scheduler *s;
	struct error *err = NULL;
	struct guest g;

	(void)unused;
	guest_start(&g, 512 * MIB, RATE, 1);
	o = options(HOT_EXPECTED, NS_PER_SEC, &g);
	s = scheduler_create(&o, NULL);
	assert_non_null(s);
	for (uint32_t p = 0; p < sets.used; p++)
		g.version[p] = 1;
	while (g.now_ns < 2 * NS_PER_SEC) {
		const uint8_t *bytes;
		size_t n;

		step(&g, s);
		for (int64_t more = 0; more < STEP_NS; more += 10000)
			assert_done(
				scheduler_output(s, g.now_ns - STEP_NS + more, &bytes, &n, &err),
				&err);
	}
	/* no page is known to be written: that walk rests. What is sent and a bucketful come on
	 * top. */
	print_message("looked at %lu pages in a second\n", (unsigned long)g.looked_at);
	assert_in_range(g.looked_at, most * 2 / 5, most * 5 / 4);
	scheduler_destroy(s);
	guest_end(&g);
}

/* The guest is paused, and what is lacking can't be read: that is an error, and no guest. */
static void test_memory_is_gone(void **unused)
{
	struct writer writer = {0};
	struct error *err = NULL;
	struct scheduler_options o;
	struct scheduler *s;
	struct guest g;
	int64_t wait;

	(void)unused;
	guest_start(&g, 28 * MIB, RATE, 2);
	o = options(HOT_EXPECTED, NS_PER_SEC, &g);
	s = scheduler_create(&o, NULL);
	assert_non_null(s);
	for (uint32_t p = 0; p < sets.used; p++)
		g.version[p] = 1;
	while (g.now_ns < 5 * NS_PER_SEC) {
		write_some(&g, &sets, &writer);
		step(&g, s);
	}
	/* a log that forgets all that was written: what is lacking does not come again */
	memset(g.written, 0, g.pages);
	hypervisor_ends(&g);
	g.gone = true;
	scheduler_finish(s);
	while (!err) {
		size_t n = g.out_size - g.out_done, room = scheduler_room(s, g.now_ns, &wait);
		const uint8_t *bytes;

		assert_true(n > 0);
		if (n > room)
			n = room;
		if (scheduler_feed(s, g.out + g.out_done, n, g.now_ns, &err) == 0) {
			g.out_done += n;
			assert_done(scheduler_output(s, g.now_ns, &bytes, &n, &err), &err);
			scheduler_sent(s, n);
		}
	}
	assert_int_equal(err->code, EIO);
	assert_non_null(strstr(error_text(err), "can't be read"));
	assert_false(scheduler_drained(s));
	error_free(err);
	scheduler_destroy(s);
	guest_end(&g);
}

/* No more is held than was allowed, even where the guest writes all of a memory much larger. */
static void test_held_memory_is_bounded(void **unused)
{
	const struct load load = {.used = 24 * MIB, .hot = 20 * MIB, .hot_rate = 100 * MIB};
	struct scheduler_stats stats;
	struct scheduler_options o;
	struct guest g;

	(void)unused;
	guest_start(&g, 28 * MIB, RATE, 3);
	o = options(HOT_EXPECTED, 10 * NS_PER_SEC, &g);
	o.hold_most = 4u << 20;
	run(&g, &load, &o, 40 * NS_PER_SEC, &stats);
	assert_true(stats.held_peak > 2u << 20);
	assert_true(stats.held_peak <= 4u << 20);
	guest_end(&g);
}

/* The hypervisor pauses when it was told to; all of what is left, however much, arrives. */
static void test_forced(void **unused)
{
	const struct load load = {.used = 24 * MIB, .hot = 20 * MIB, .hot_rate = 100 * MIB};
	struct writer writer = {0};
	struct scheduler_options o;
	struct scheduler *s;
	struct guest g;

	(void)unused;
	guest_start(&g, 28 * MIB, RATE, 3);
	o = options(HOT_EXPECTED, NS_PER_SEC, &g);
	o.hold_most = 4u << 20;
	s = scheduler_create(&o, NULL);
	for (uint32_t p = 0; p < load.used; p++)
		g.version[p] = 1;
	while (!scheduler_drained(s) && g.now_ns < 120 * NS_PER_SEC) {
		if (g.now_ns == 8 * NS_PER_SEC) {
			scheduler_finish(s);
			g.limit_ns = 2000 * NS_PER_SEC;
		}
		write_some(&g, &load, &writer);
		step(&g, s);
	}
	assert_arrived(&g, s);
	scheduler_destroy(s);
	guest_end(&g);
}

/* Cut off anywhere, it is an error or not yet the end, and nothing is lost of the memory it had. */
static void test_cut_streams(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct scheduler_options o = options(HOT_EXPECTED, NS_PER_SEC, NULL);
		struct scheduler *s = scheduler_create(&o, NULL);
		struct error *err = NULL;
		struct guest g;
		size_t n;

		guest_start(&g, 2 * MIB, RATE, seed);
		for (uint32_t p = 0; p < g.pages; p++)
			g.version[p] = 1;
		hypervisor_runs(&g);
		n = next_random(&g) % g.out_size;
		for (size_t i = 0; i < n; i += SCHEDULER_READ)
			assert_int_equal(
				scheduler_feed(s, g.out + i,
					       n - i < SCHEDULER_READ ? n - i : SCHEDULER_READ,
					       g.now_ns, NULL),
				0);
		assert_int_equal(scheduler_feed_end(s, &err), -1);
		assert_non_null(err);
		error_free(err);
		scheduler_destroy(s);
		guest_end(&g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_versions_arrive),
		cmocka_unit_test(test_backlog_fits_at_any_time),
		cmocka_unit_test(test_hot_set_is_not_sent_again_and_again),
		cmocka_unit_test(test_warm_set_is_sent_when_it_pays),
		cmocka_unit_test(test_other_blocks_do_not_hold_it_up),
		cmocka_unit_test(test_idle_guest),
		cmocka_unit_test(test_stuck_is_told),
		cmocka_unit_test(test_stuck_is_paused_at_the_least),
		cmocka_unit_test(test_lost_page_is_fetched),
		cmocka_unit_test(test_memory_hides),
		cmocka_unit_test(test_memory_is_gone),
		cmocka_unit_test(test_watch_is_bounded),
		cmocka_unit_test(test_held_memory_is_bounded),
		cmocka_unit_test(test_forced),
		cmocka_unit_test(test_cut_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
