/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which way of coding is chosen: properties that hold for any machine, content and link. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "migrate/codec/control.h"

#define MB     1e6
#define SECOND 1000000000ll

/* A machine and a guest: what a way really costs. */
struct truth {
	unsigned lanes;
	double slow;	 /* how many times slower than the machine of the benchmark */
	double hardness; /* exponent of the ratios: 0 is noise */
	double noise;	 /* of each sample */
};

static const double costs_ns[CONTROL_WAYS] = {0.25, 0.5, 1.3, 1.6, 2, 3.4, 9.4, 16.4, 60.4};
static const double ratios[CONTROL_WAYS] = {1, 0.8, 0.4, 0.37, 0.32, 0.3, 0.28, 0.275, 0.27};

static uint64_t state = 99;

static double random_part(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) / 9007199254740992.0;
}

/* Codes for so long, 4 MB at a time; time goes on as coder or link take. Returns the changes. */
static unsigned live(struct codec_control *c, const struct truth *truth, double link,
		     double seconds, int64_t *now_ns)
{
	struct control_report before, after;
	double end = (double)*now_ns / 1e9 + seconds;

	codec_control_report(c, &before);
	codec_control_set_link(c, link);
	while ((double)*now_ns / 1e9 < end) {
		enum control_way way = codec_control_choose(c, *now_ns);
		double wobble = 1 + truth->noise * (2 * random_part() - 1);
		double ratio = pow(ratios[way], truth->hardness);
		double work = costs_ns[way] * 1e-9 * truth->slow * wobble, take = 4 * MB;
		double coder = truth->lanes == 1 ? work : work * fmax(0.2, 0.8 / truth->lanes);
		struct control_sample sample = {(uint64_t)take, (uint64_t)(take * ratio),
						0.2 * work * take, 0.8 * work * take};

		/* the promise, by its own model */
		assert_true(codec_control_time(c, way) <=
			    codec_control_time(c, WAY_RAW) * (1 + 1e-9));
		codec_control_note(c, &sample);
		codec_control_set_link(c, link * (1 + truth->noise * (2 * random_part() - 1)));
		*now_ns += (int64_t)(1e9 * take * fmax(coder, ratio / link)) + 1;
	}
	codec_control_report(c, &after);
	return after.changes - before.changes;
}

static enum control_way present(struct codec_control *c)
{
	struct control_report report;

	codec_control_report(c, &report);
	return report.way;
}

static void test_links(void **unused)
{
	static const struct {
		double link; /* bytes/s */
		enum control_way least, most;
	} cases[] = {
		{0.5 * MB, WAY_ZSTD_6, WAY_ZSTD_13}, {3 * MB, WAY_ZSTD_6, WAY_ZSTD_13},
		{25 * MB, WAY_ZSTD_1, WAY_ZSTD_6},   {125 * MB, WAY_ZSTD_1, WAY_ZSTD_3},
		{1250 * MB, WAY_CACHE, WAY_CACHE},   {20000 * MB, WAY_RAW, WAY_RAW},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct codec_control *c = codec_control_create(1, WAY_ZSTD_13, NULL);
		const struct truth truth = {1, 1, 1, 0.03};
		int64_t now = 0;

		live(c, &truth, cases[i].link, 20, &now);
		assert_in_range(present(c), cases[i].least, cases[i].most);
		codec_control_destroy(c);
	}
}

/* Noise that does not compress: nothing is worth the time, unless caches find something. */
static void test_noise(void **unused)
{
	struct codec_control *c = codec_control_create(1, WAY_ZSTD_13, NULL);
	const struct truth truth = {1, 1, 0.001, 0.02};
	int64_t now = 0;

	(void)unused;
	live(c, &truth, 2000 * MB, 5, &now);
	assert_int_equal(present(c), WAY_RAW);
	codec_control_destroy(c);
}

/* A link that changes, and others who take the cores. */
static void test_follows(void **unused)
{
	struct codec_control *c = codec_control_create(1, WAY_ZSTD_13, NULL);
	struct truth truth = {1, 1, 1, 0.03};
	enum control_way slow, fast;
	int64_t now = 0;

	(void)unused;
	live(c, &truth, 10 * MB, 30, &now);
	slow = present(c);
	live(c, &truth, 800 * MB, 30, &now);
	fast = present(c);
	assert_true(fast < slow);
	live(c, &truth, 10 * MB, 30, &now);
	assert_true(present(c) > fast && present(c) >= WAY_ZSTD_3); /* within CONTROL_GAIN */

	live(c, &truth, 120 * MB, 30, &now);
	fast = present(c);
	truth.slow = 8; /* the machine is busy */
	live(c, &truth, 120 * MB, 30, &now);
	assert_true(present(c) < fast);
	codec_control_destroy(c);
}

/* More lanes keep up with a stronger way. */
static void test_lanes(void **unused)
{
	enum control_way way[2];

	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		struct codec_control *c = codec_control_create(1 + 3 * i, WAY_ZSTD_13, NULL);
		const struct truth truth = {1 + 3 * i, 1, 1, 0.03};
		int64_t now = 0;

		live(c, &truth, 20 * MB, 30, &now);
		way[i] = present(c);
		codec_control_destroy(c);
	}
	assert_true(way[1] > way[0]);
}

/* A level that turns out to be too slow is left at once, not after the time between changes. */
static void test_leap(void **unused)
{
	struct codec_control *c = codec_control_create(1, WAY_ZSTD_13, NULL);
	const struct control_sample easy = {4 << 20, 1 << 20, 0.001, 0.006};
	const struct control_sample slow = {4 << 20, 1 << 20, 0.002, 0.25};
	int64_t now = 100 * SECOND;
	enum control_way strong;

	(void)unused;
	codec_control_set_link(c, 1 * MB);
	codec_control_note(c, &easy);
	strong = codec_control_choose(c, now);
	assert_true(strong >= WAY_ZSTD_6);
	codec_control_set_link(c, 10 * MB);
	codec_control_note(c, &slow);
	assert_true(codec_control_choose(c, now + SECOND / 10) < strong);
	codec_control_destroy(c);
}

/* Content that is easy while a level is new is so for its siblings, too: it proves nothing for it.
 */
static void test_easy_content(void **unused)
{
	struct codec_control *c = codec_control_create(1, WAY_ZSTD_13, NULL);
	struct control_sample sample = {4 << 20, 4 << 18, 0.001, 0.006};
	double before, after;
	enum control_way way;

	(void)unused;
	codec_control_set_link(c, 1 * MB);
	codec_control_note(c, &sample);
	way = codec_control_choose(c, 100 * SECOND);
	assert_true(way > WAY_ZSTD_1);
	before = codec_control_time(c, way) / codec_control_time(c, WAY_ZSTD_1);
	sample.out /= 4;
	codec_control_note(c, &sample);
	after = codec_control_time(c, way) / codec_control_time(c, WAY_ZSTD_1);
	assert_true(after > 0.8 * before && after < 1.2 * before);
	codec_control_destroy(c);
}

/*
 * On any link, machine and content it settles, and stays although all that is measured wobbles. On
 * the slowest it takes minutes until the ways that looked good are tried.
 */
static void test_no_flapping(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < 300; i++) {
		struct codec_control *c = codec_control_create(1 + i % 4, WAY_ZSTD_13, NULL);
		const struct truth truth = {1 + i % 4, pow(2, 6 * random_part() - 2),
					    2 * random_part(), 0.03};
		double link = pow(10, 5.5 + 4.5 * random_part());
		int64_t now = 0;

		live(c, &truth, link, fmax(30, 1000 * MB / link), &now);
		assert_true(live(c, &truth, link, fmax(30, 200 * MB / link), &now) <= 2);
		codec_control_destroy(c);
	}
}

static void test_unknown_link(void **unused)
{
	struct codec_control *c = codec_control_create(2, WAY_ZSTD_13, NULL);
	struct control_report report;

	(void)unused;
	codec_control_note(c, &(struct control_sample){0, 0, 0, 0});
	codec_control_note(c, &(struct control_sample){1 << 20, 0, 0, 0});
	assert_int_equal(codec_control_choose(c, 0), WAY_ZSTD_1);
	codec_control_report(c, &report);
	assert_non_null(strstr(report.why, "not known"));
	for (unsigned i = 0; i < 10000; i++)
		codec_control_note(c, &(struct control_sample){1 << 26, 0, 0, 0});
	codec_control_set_link(c, 50 * MB);
	codec_control_choose(c, 10 * SECOND);
	codec_control_report(c, &report);
	assert_non_null(strstr(report.why, "MB/s"));
	assert_true(isfinite(codec_control_time(c, report.way)));
	codec_control_destroy(c);
	c = codec_control_create(1, WAY_LZ4, NULL);
	codec_control_set_link(c, 1 * MB);
	assert_true(codec_control_choose(c, 0) <= WAY_LZ4);
	codec_control_destroy(c);
	codec_control_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_links),	    cmocka_unit_test(test_noise),
		cmocka_unit_test(test_follows),	    cmocka_unit_test(test_lanes),
		cmocka_unit_test(test_leap),	    cmocka_unit_test(test_easy_content),
		cmocka_unit_test(test_no_flapping), cmocka_unit_test(test_unknown_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
