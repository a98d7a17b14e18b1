/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a step of the policy takes: heat of a round added, then what to send. For guests of
 * which 1, 10, 50 and 100 % of the pages are dirty, at random, so that nearly every pattern of
 * history occurs: the worst for the caches. The clock is that of the thread, so that other work on
 * the machine counts less.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "hotskip/cmd/cmd.h"
#include "hotskip/policy.h"
#include "common/random.h"
#include "hotskip/words.h"

#define RUNS_MOST     101
#define ROUNDS_BEFORE 20 /* windows are being joined by then */

static const char help[] = "usage: edgehop-hotskip step [--pages N] [--runs N] [--json]\n"
			   "Measures one step of the policy: heat added, pages chosen.\n\n"
			   "  --pages N  of the guest (default 16777216: 64 GiB)\n"
			   "  --runs N   of each case; the median counts (default 7)\n"
			   "  --json     for machines\n";

struct bench {
	uint64_t pages, runs;
	uint64_t *dirty, *send;
	struct heat *heat;
	double times[RUNS_MOST];
	struct random random;
};

static double thread_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec * 1e-6;
}

/* Each page with this chance; as sums of random words, which is fast: parts are of 1024. */
static void fill(struct bench *bench, unsigned part)
{
	for (size_t w = 0; w < words_of(bench->pages); w++) {
		uint64_t bits = part >= 1024 ? ~0ull : 0;

		for (unsigned b = 0; b < 10 && part < 1024; b++)
			bits = part >> b & 1 ? bits | random_next(&bench->random)
					     : bits & random_next(&bench->random);
		bench->dirty[w] = bits;
	}
	if (bench->pages % 64)
		bench->dirty[words_of(bench->pages) - 1] &= ~0ull >> (64 - bench->pages % 64);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The hottest half of the dirty pages is skipped, so that every pass is made. */
static double one_step(struct bench *bench, unsigned part)
{
	const struct policy_config config = {.rule = POLICY_EXPECTED};
	const struct policy_link link = {.rate = 30000, .target = 30000};
	struct policy_counts counts;
	struct policy policy;
	double begun;

	fill(bench, part);
	policy_init(&policy, &config, NULL);
	begun = thread_ms();
	heat_add_round(bench->heat, bench->dirty, 1 + (double)random_below(&bench->random, 5));
	policy_step(&policy, bench->heat, bench->dirty, &link, bench->send, &counts);
	if (counts.skip == 0)
		words_colder(bench->dirty, words_of(bench->pages), bench->heat->seen,
			     bench->heat->known, bench->heat->class_of, HEAT_CLASSES / 2, 0,
			     bench->send);
	return thread_ms() - begun;
}

static int measure(struct bench *bench, unsigned part, double *median, struct error **err)
{
	bench->heat = heat_create(bench->pages, HEAT_LOG, err);
	if (!bench->heat)
		return -1;
	for (unsigned round = 0; round < ROUNDS_BEFORE; round++) {
		fill(bench, part < 512 ? part : 512);
		heat_add_round(bench->heat, bench->dirty, 1 + round % 5);
	}
	for (uint64_t i = 0; i < bench->runs; i++)
		bench->times[i] = one_step(bench, part);
	qsort(bench->times, bench->runs, sizeof(*bench->times), by_size);
	*median = bench->times[bench->runs / 2];
	heat_destroy(bench->heat);
	return 0;
}

static int run(struct bench *bench, bool as_json, struct error **err)
{
	static const unsigned parts[] = {10, 102, 512, 1024};
	auto_json cases = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		double percent = parts[i] * 100.0 / 1024, ms;

		if (measure(bench, parts[i], &ms, err) < 0)
			return -1;
		json_array_append_new(
			cases, json_pack("{s:f, s:f}", "dirty_percent", percent, "step_ms", ms));
		if (!as_json)
			printf("%5.1f %% dirty  %7.2f ms\n", percent, ms);
	}
	if (as_json) {
		auto_json all =
			json_pack("{s:I, s:O}", "pages", (json_int_t)bench->pages, "cases", cases);

		json_dumpf(all, stdout, JSON_REAL_PRECISION(5));
		putchar('\n');
	}
	return 0;
}

static int read_options(struct bench *bench, bool *as_json, int argc, char **argv)
{
	static const struct option options[] = {
		{"pages", required_argument, NULL, 'p'},
		{"runs", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : -1;
		if (option == 'j')
			*as_json = true;
		else if (option == '?')
			return CMD_USAGE;
		else if (!(option == 'p'
				   ? units_parse_number(optarg, 1, 1ull << 32, &bench->pages)
				   : units_parse_number(optarg, 1, RUNS_MOST, &bench->runs))) {
			cmd_complain("found \"%s\", expected a number from 1 to %s", optarg,
				     option == 'p' ? "2^32" : "101");
			return CMD_USAGE;
		}
	}
	return optind < argc ? CMD_USAGE : CMD_DONE;
}

int cmd_step(int argc, char **argv)
{
	struct bench bench = {.pages = 1 << 24, .runs = 7};
	auto_free uint64_t *dirty = NULL;
	auto_free uint64_t *send = NULL;
	auto_error why = NULL;
	bool as_json = false;
	int status = read_options(&bench, &as_json, argc, argv);

	if (status != CMD_DONE)
		return status < 0 ? CMD_DONE : status;
	bench.dirty = dirty = words_create(bench.pages);
	bench.send = send = words_create(bench.pages);
	if (!dirty || !send) {
		cmd_complain("no memory for %llu pages", (unsigned long long)bench.pages);
		return CMD_FAILED;
	}
	random_seed(&bench.random, 1);
	return run(&bench, as_json, &why) < 0 ? cmd_fail(why) : CMD_DONE;
}
