/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hotskip/stop.h"

/* Asks once for each remainder; returns the round (from 1) that it says stop at, or 0. */
static unsigned run(const struct stop_config *config, const uint64_t *remaining,
		    const uint64_t *sent, unsigned rounds, enum stop_reason *reason)
{
	char text[STOP_TEXT];
	struct stop stop;

	stop_init(&stop, config);
	for (unsigned i = 0; i < rounds; i++) {
		struct stop_round round = {sent[i], remaining[i], remaining[i], 10.0 * (i + 1),
					   100};

		*reason = stop_ask(&stop, &round, text);
		assert_true(strlen(text) > 10);
		if (*reason != STOP_NOT)
			return i + 1;
	}
	return 0;
}

static const uint64_t falls[] = {1000, 500, 301, 300, 299, 49, 10, 10};
static const uint64_t sends[] = {9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999};

static void target(void **test)
{
	struct stop_config config = {.rules = 1 << STOP_TARGET, .downtime = 3.5, .fixed = 0.5};
	enum stop_reason reason;

	(void)test;
	assert_int_equal(stop_target_pages(&config, 100), 300);
	assert_int_equal(run(&config, falls, sends, 8, &reason), 4);
	assert_int_equal(reason, STOP_TARGET);
	config.fixed = 5;
	assert_int_equal(stop_target_pages(&config, 100), 0);
	assert_int_equal(run(&config, falls, sends, 8, &reason), 0);
	config.fixed = 0;
	config.downtime = 1e300;
	assert_true(stop_target_pages(&config, 1e300) >= 1ull << 62);
}

static void qemu_counts_no_fixed_part_and_wants_less(void **test)
{
	struct stop_config config = {.rules = 1 << STOP_QEMU, .downtime = 3, .fixed = 1};
	enum stop_reason reason;

	(void)test;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 5);
	assert_int_equal(reason, STOP_QEMU);
}

static void xen_five_rounds_or_fifty_pages(void **test)
{
	struct stop_config config = {.rules = 1 << STOP_FEW | 1 << STOP_ROUNDS};
	enum stop_reason reason;

	(void)test;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 5);
	assert_int_equal(reason, STOP_ROUNDS);
	config.xen_rounds = 8;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 6);
	assert_int_equal(reason, STOP_FEW);
	config.xen_pages = 49;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 7);
}

static void smart_needs_the_crossover_and_a_minimum(void **test)
{
	static const uint64_t remaining[] = {900, 700, 500, 600, 550, 520, 510, 505, 560, 490};
	static const uint64_t sent[] = {2000, 900, 700, 500, 600, 550, 520, 510, 505, 560};
	static const uint64_t never[] = {2000, 901, 701, 601, 550, 520, 510, 505, 560, 490};
	static const uint64_t level[] = {900, 900, 900, 900, 900, 900, 899};
	struct stop_config config = {.rules = 1 << STOP_SMART, .window = 4};
	enum stop_reason reason;

	(void)test;
	/* round 4 dirties 600 and sends 500; the 4 before round 8 are 600 550 520 510 */
	assert_int_equal(run(&config, remaining, sent, 10, &reason), 8);
	assert_int_equal(reason, STOP_SMART);
	config.window = 3;
	assert_int_equal(run(&config, remaining, sent, 10, &reason), 7);
	config.window = 9;
	assert_int_equal(run(&config, remaining, sent, 10, &reason), 10);
	config.window = 1;
	assert_int_equal(run(&config, remaining, sent, 10, &reason), 5);
	/* as few as before is no minimum */
	config.window = 2;
	assert_int_equal(run(&config, level, sent, 6, &reason), 0);
	assert_int_equal(run(&config, level, sent, 7, &reason), 7);
	/* without a crossover no minimum counts; as many dirtied as sent is none */
	assert_int_equal(run(&config, remaining, never, 10, &reason), 0);
	/* a window larger than what is kept is that */
	config.window = 1000;
	assert_int_equal(run(&config, remaining, sent, 10, &reason), 10);
}

static void the_first_rule_that_is_met_is_the_reason(void **test)
{
	struct stop_config config = {
		.rules = 1 << STOP_TIME | 1 << STOP_TARGET, .downtime = 3, .time_limit = 30};
	enum stop_reason reason;

	(void)test;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 3);
	assert_int_equal(reason, STOP_TIME);
	config.time_limit = 40;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 4);
	assert_int_equal(reason, STOP_TARGET);
	config.rules = 0;
	assert_int_equal(run(&config, falls, sends, 8, &reason), 0);
}

static void every_reason_has_a_name_and_text_has_figures(void **test)
{
	struct stop_config config = {.rules = 1 << STOP_TARGET, .downtime = 3};
	struct stop_round round = {.remaining = 300, .rate = 100};
	char text[STOP_TEXT];
	struct stop stop;

	(void)test;
	for (int i = 0; i < STOP_REASONS; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(stop_reason_name(i), stop_reason_name(k));
	stop_init(&stop, &config);
	assert_int_equal(stop_ask(&stop, &round, text), STOP_TARGET);
	assert_string_equal(text, "300 pages remain, which pass within 3 s");
	round.remaining = 301;
	assert_int_equal(stop_ask(&stop, &round, NULL), STOP_NOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(target),
		cmocka_unit_test(qemu_counts_no_fixed_part_and_wants_less),
		cmocka_unit_test(xen_five_rounds_or_fifty_pages),
		cmocka_unit_test(smart_needs_the_crossover_and_a_minimum),
		cmocka_unit_test(the_first_rule_that_is_met_is_the_reason),
		cmocka_unit_test(every_reason_has_a_name_and_text_has_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
