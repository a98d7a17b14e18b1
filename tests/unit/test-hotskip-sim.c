/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "hotskip/sim/run.h"
#include "hotskip/words.h"

static const struct model_link link_100 = {12.5e6, 12.5e6};

static struct model *make(const char *spec, uint64_t memory, uint64_t units)
{
	struct error *err = NULL;
	struct model *model = model_create(spec, memory, &link_100, units, 7, &err);

	if (!model)
		fail_msg("%s", error_text(err));
	return model;
}

static struct sim_result run(struct model *model, const char *name, double downtime)
{
	struct sim_config config = {.algorithm = algorithm_find(name),
				    .bandwidth = 100e6,
				    .downtime = downtime,
				    .limit_times = 3,
				    .share = 0.1};
	struct sim_result result;

	assert_non_null(config.algorithm);
	assert_int_equal(sim_run(model, &config, &result, NULL), 0);
	return result;
}

static void assert_near(double value, double expected, double part)
{
	if (!(fabs(value - expected) <= part * expected))
		fail_msg("found %g, expected %g within %g %%", value, expected, 100 * part);
}

static void an_idle_guest_takes_one_pass(void **test)
{
	struct model *model = make("uniform:0", 64 << 20, 1 << 20);

	(void)test;
	for (unsigned i = 0; i < algorithm_count; i++) {
		struct sim_result result = run(model, algorithms[i].name, 0.1);

		assert_near(result.seconds, (64 << 20) / 12.5e6, 1e-9);
		assert_near(result.bytes, 64 << 20, 1e-9);
		assert_int_equal(result.rounds, 1);
	}
	model_destroy(model);
}

/*
 * One page of N is sent at a time s, even over the round of length T: with KVM's log it is dirty at
 * the end with chance 1 - exp(-r (T - s)), on average 1 - (1 - exp(-r T)) / (r T); with Xen's, 1 -
 * exp(-r T).
 */
static void a_page_written_before_it_is_sent_is_not_sent_again(void **test)
{
	const double t = (256 << 20) / 12.5e6, r = 0.05;
	struct model *model = make("sets:256M@0.05", 256 << 20, 1 << 20);
	struct sim_result kvm, xen;

	(void)test;
	kvm = run(model, "qemu", 100);
	assert_int_equal(kvm.rounds, 1);
	assert_near(kvm.pause, t * (1 - (1 - exp(-r * t)) / (r * t)), 0.02);
	/* downtime of no limit does not stop xen5; its second round begins with what Xen's log has
	 */
	xen = run(model, "xen-skip", 100);
	assert_true(xen.bytes < kvm.bytes * 1.02);
	xen = run(model, "xen5", 100);
	assert_int_equal(xen.rounds, 5);
	model_destroy(model);
}

static void a_unit_stands_for_many_pages(void **test)
{
	static const char *const names[] = {"qemu", "xen-skip", "paper", "expected", "ours"};
	struct model *fine = make("sets:8M@2,64M@0.03", 256 << 20, 1 << 20);
	struct model *coarse = make("sets:8M@2,64M@0.03", 256 << 20, 1 << 13);

	(void)test;
	assert_int_equal(model_units(fine), 65536);
	assert_int_equal(model_units(coarse), 8192);
	assert_int_equal(model_memory(coarse), 256 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_near(run(coarse, names[i], 1).seconds, run(fine, names[i], 1).seconds, 0.04);
	model_destroy(fine);
	model_destroy(coarse);
}

static void the_same_seed_is_the_same_run(void **test)
{
	struct model *model = make("zipf:3000:0.9", 64 << 20, 1 << 20);
	struct model *again = make("zipf:3000:0.9", 64 << 20, 1 << 20);
	struct sim_result a = run(model, "ours", 0.3), b = run(again, "ours", 0.3);
	struct sim_result c = run(model, "ours", 0.3);

	(void)test;
	assert_memory_equal(&a.bytes, &b.bytes, sizeof(a.bytes));
	assert_memory_equal(&a.bytes, &c.bytes, sizeof(a.bytes));
	assert_true(a.rounds > 1);
	model_destroy(model);
	model_destroy(again);
}

/* The workload of the paper's argument: the order of the algorithms. */
static void hot_skip_ends_where_plain_rounds_do_not(void **test)
{
	struct model *model = make("sets:0.8t@9,6t@0.45l", 300 << 20, 1 << 20);
	struct sim_result qemu = run(model, "qemu", 1), paper = run(model, "paper", 1);
	struct sim_result ours = run(model, "ours", 1), rounds = run(model, "expected", 1);

	(void)test;
	assert_int_equal(qemu.reason, STOP_TIME);
	assert_true(qemu.pause > 1);
	assert_int_equal(paper.reason, STOP_TARGET);
	assert_int_equal(ours.reason, STOP_TARGET);
	assert_int_equal(rounds.reason, STOP_TARGET);
	assert_true(ours.pause <= 1 && paper.pause <= 1 && rounds.pause <= 1);
	assert_true(ours.seconds < paper.seconds);
	assert_true(rounds.seconds < paper.seconds * 1.02);
	model_destroy(model);
}

static double written_part(struct model *model, double from, double to)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < model_units(model); i++)
		n += bit_get(model_active(model), i) && model_written(model, i, from, to);
	return (double)n / (double)model_units(model);
}

static void models_write_as_they_say(void **test)
{
	struct model *model = make("uniform:1000", 40960000, 1 << 20);

	(void)test;
	assert_near(written_part(model, 3, 8), 1 - exp(-0.5), 0.05);
	model_destroy(model);
	/* a quarter for 4 s, then the next: at 12 s the fourth */
	model = make("phases:4:4M@50", 64 << 20, 1 << 20);
	assert_near(written_part(model, 0, 4), 4.0 / 64, 0.01);
	assert_near(written_part(model, 4, 12), 8.0 / 64, 0.01);
	assert_near(written_part(model, 31.5, 32.5), 8.0 / 64, 0.01);
	model_destroy(model);
	/* sums over all classes of a Zipf guest: writes/s, as far as few pages are written twice */
	model = make("zipf:400:0.5", 64 << 20, 1 << 20);
	assert_near(written_part(model, 0, 1) * 16384, 400, 0.15);
	model_destroy(model);
}

static void what_is_no_model_is_refused(void **test)
{
	static const char *const bad[] = {
		"",
		"sets:",
		"sets:8M",
		"sets:8M@",
		"sets:8M@-1",
		"sets:8M@x",
		"sets:9999M@1",
		"sets:8M@1,,",
		"uniform:",
		"uniform:1x",
		"zipf:1",
		"zipf:1:nan",
		"phases:0:8M@1",
		"phases:1:9M@1",
		"trace:/nonexistent",
		"sets:8M@inf",
		"sets:1e30t@1",
		"nothing:1",
	};

	(void)test;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error *err = NULL;
		struct model *model = model_create(bad[i], 64 << 20, &link_100, 1 << 20, 1, &err);

		if (model)
			fail_msg("\"%s\" is a model", bad[i]);
		assert_non_null(err);
		error_free(err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_guest_takes_one_pass),
		cmocka_unit_test(a_page_written_before_it_is_sent_is_not_sent_again),
		cmocka_unit_test(a_unit_stands_for_many_pages),
		cmocka_unit_test(the_same_seed_is_the_same_run),
		cmocka_unit_test(hot_skip_ends_where_plain_rounds_do_not),
		cmocka_unit_test(models_write_as_they_say),
		cmocka_unit_test(what_is_no_model_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
