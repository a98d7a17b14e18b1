/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/hop/predict.h"

#define MIB ((uint64_t)1 << 20)

/* 100 MiB of data on disk, 100 of 256 MiB of memory are not zero, 10 MiB/s, all else still. */
static struct predict_input still(void)
{
	struct predict_input in = {.rate = 10.0 * MIB,
				   .rate_error = 0.05,
				   .rtt_ns = 20 * NS_PER_MS,
				   .ssh_ns = 500 * NS_PER_MS,
				   .downtime_ns = 300 * NS_PER_MS,
				   .agent = true};

	in.survey = (struct hv_survey){.memory = 256 * MIB,
				       .nonzero = 100 * MIB,
				       .sampled = 16384,
				       .page = 4096,
				       .disk_count = 1,
				       .dirty_count = 2,
				       .dirty = {{100 * NS_PER_MS, 0}, {3 * NS_PER_SEC, 0}}};
	in.survey.disks[0].size = 400 * MIB;
	in.survey.disks[0].allocated = 100 * MIB;
	return in;
}

/* A guest that writes at random to a set of pages: what it has touched after t seconds. */
static void write_randomly(struct predict_input *in, double set_mib, double mib_per_second)
{
	static const double at[] = {0.1, 0.3, 1, 3};

	in->survey.dirty_count = ARRAY_SIZE(at);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		double touched = mib_per_second * at[i];

		in->survey.dirty[i].within_ns = (int64_t)(at[i] * 1e9);
		in->survey.dirty[i].bytes =
			(uint64_t)((touched < set_mib ? touched : set_mib) * (double)MIB);
	}
}

static void assert_about(double value, double expected, double percent)
{
	if (value < expected * (1 - percent / 100) || value > expected * (1 + percent / 100))
		fail_msg("found %f, expected %f within %f %%", value, expected, percent);
}

static void test_still_guest(void **unused)
{
	struct predict_input in = still();
	struct prediction p;
	int64_t sum = 0;

	(void)unused;
	predict(&in, &p);
	assert_true(p.converges);
	assert_about((double)p.stage_ns[PREDICT_DISK] / 1e9, 10.8, 5);
	assert_about((double)p.stage_ns[PREDICT_MEMORY] / 1e9, 10.2, 5);
	assert_about((double)p.disk_bytes, 99.0 * MIB, 1);
	assert_about((double)p.memory_bytes, 100.5 * MIB, 1);
	for (size_t i = 0; i < PREDICT_STAGES; i++)
		sum += p.stage_ns[i];
	assert_about((double)p.total_ns, (double)sum, 0.01);
	assert_true(p.total_low_ns < p.total_ns && p.total_ns < p.total_high_ns);
	assert_true(p.total_low_ns > p.total_ns * 8 / 10);
	assert_true(p.total_high_ns < p.total_ns * 12 / 10);
}

static void test_half_the_rate_takes_twice_the_time(void **unused)
{
	struct predict_input in = still();
	struct prediction fast, slow;

	(void)unused;
	predict(&in, &fast);
	in.rate /= 2;
	predict(&in, &slow);
	assert_about((double)slow.stage_ns[PREDICT_DISK], 2.0 * (double)fast.stage_ns[PREDICT_DISK],
		     3);
	assert_about((double)slow.stage_ns[PREDICT_MEMORY],
		     2.0 * (double)fast.stage_ns[PREDICT_MEMORY], 6);
	assert_int_equal(slow.stage_ns[PREDICT_REACH], fast.stage_ns[PREDICT_REACH]);
}

/* 2 MiB/s written at 10 MiB/s: the rounds add up to a quarter more. */
static void test_writer_costs_rounds(void **unused)
{
	struct predict_input in = still();
	struct prediction quiet, busy;

	(void)unused;
	predict(&in, &quiet);
	write_randomly(&in, 1000, 2);
	predict(&in, &busy);
	assert_true(busy.converges);
	assert_true(busy.rounds > quiet.rounds);
	assert_about((double)busy.memory_bytes, 125.0 * MIB, 4);
}

/* It writes faster than the paths carry, but always to the same 2 MiB, which fit into the pause. */
static void test_small_hot_set_converges(void **unused)
{
	struct predict_input in = still();
	struct prediction p;

	(void)unused;
	write_randomly(&in, 2, 50);
	predict(&in, &p);
	assert_true(p.converges);
	assert_about((double)p.memory_bytes, 102.5 * MIB, 2);
	assert_true(p.downtime_ns > 200 * NS_PER_MS);
}

static void test_large_hot_set_does_not(void **unused)
{
	struct predict_input in = still();
	auto_json json = NULL;
	struct prediction p;

	(void)unused;
	write_randomly(&in, 50, 50);
	predict(&in, &p);
	assert_false(p.converges);
	assert_true(p.why_not[0]);
	json = prediction_to_json(&p);
	assert_true(json_is_false(json_object_get(json, "converges")));

	/* A pause that is long enough lets it. */
	in.downtime_ns = 6 * NS_PER_SEC;
	predict(&in, &p);
	assert_true(p.converges);
	assert_true(p.downtime_ns > 4 * NS_PER_SEC);
}

static void test_disk_writer(void **unused)
{
	struct predict_input in = still();
	struct prediction p;

	(void)unused;
	in.survey.disks[0].write_rate = 5 * MIB;
	predict(&in, &p);
	assert_true(p.converges);
	assert_true(p.disk_bytes > 200 * MIB);
	in.survey.disks[0].write_rate = 10 * MIB;
	predict(&in, &p);
	assert_false(p.converges);
}

/* Hosts whose processes wait for a CPU: longer, and less certain. */
static void test_busy_hosts(void **unused)
{
	struct predict_input in = still();
	struct prediction idle, busy;

	(void)unused;
	predict(&in, &idle);
	in.busy = 1;
	predict(&in, &busy);
	assert_true(busy.total_ns > idle.total_ns * 11 / 10);
	assert_true(busy.total_high_ns - busy.total_ns > idle.total_high_ns - idle.total_ns);
	assert_int_equal(busy.memory_bytes / MIB, idle.memory_bytes / MIB);
}

static void test_no_path(void **unused)
{
	struct predict_input in = still();
	struct prediction p;

	(void)unused;
	in.rate = 0;
	predict(&in, &p);
	assert_false(p.converges);
	assert_true(p.why_not[0]);
}

/* Less certain figures widen the band, on both sides. */
static void test_errors_widen_the_band(void **unused)
{
	struct predict_input in = still();
	struct prediction sure, unsure;

	(void)unused;
	write_randomly(&in, 20, 1);
	predict(&in, &sure);
	in.rate_error = 0.3;
	predict(&in, &unsure);
	assert_int_equal(sure.total_ns, unsure.total_ns);
	assert_true(unsure.total_high_ns > sure.total_high_ns);
	assert_true(unsure.total_low_ns < sure.total_low_ns);
	assert_true(unsure.downtime_high_ns >= unsure.downtime_ns);
	assert_true(unsure.downtime_low_ns <= unsure.downtime_ns);
}

static void test_rate_to_count_on(void **unused)
{
	struct predict_rate steady = predict_rate(100, 0.02, 200),
			    holed = predict_rate(28, 1.3, 171);

	(void)unused;
	assert_about(steady.rate, 100, 2); /* they share a line */
	assert_true(steady.error < 0.05);
	assert_true(holed.rate > 100 && holed.rate < 171);
	assert_true(holed.error > steady.error);
	assert_about(predict_rate(50, 0.3, 50).rate, 48, 5);
	assert_true(predict_rate(0, 0, 100).rate == 0 && predict_rate(10, 0, 0).rate == 10);
}

static void test_dirty_between_and_beyond(void **unused)
{
	struct predict_input in = still();

	(void)unused;
	in.survey.dirty_count = 2;
	in.survey.dirty[0] = (struct hv_dirty){NS_PER_SEC, 10 * MIB};
	in.survey.dirty[1] = (struct hv_dirty){3 * NS_PER_SEC, 14 * MIB};
	assert_about(predict_dirty(&in.survey, 0.5), 5.0 * MIB, 0.1);
	assert_about(predict_dirty(&in.survey, 2), 12.0 * MIB, 0.1);
	assert_about(predict_dirty(&in.survey, 8), 24.0 * MIB, 0.1);
	assert_about(predict_dirty(&in.survey, 1e6), 256.0 * MIB, 0.1);
	in.survey.dirty_count = 0;
	assert_about(predict_dirty(&in.survey, 1) + 1, 1, 0.1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_still_guest),
		cmocka_unit_test(test_half_the_rate_takes_twice_the_time),
		cmocka_unit_test(test_writer_costs_rounds),
		cmocka_unit_test(test_small_hot_set_converges),
		cmocka_unit_test(test_large_hot_set_does_not),
		cmocka_unit_test(test_disk_writer),
		cmocka_unit_test(test_busy_hosts),
		cmocka_unit_test(test_no_path),
		cmocka_unit_test(test_errors_widen_the_band),
		cmocka_unit_test(test_rate_to_count_on),
		cmocka_unit_test(test_dirty_between_and_beyond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
