/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "hotskip/sim/report.h"

#define LIST_MOST 64

static const char help[] =
	"usage: edgehop-hotskip simulate [OPTION...]\n"
	"Plays the pre-copy of a guest that writes its memory as a model says.\n\n"
	"  --model SPEC         uniform:WRITES, zipf:WRITES:EXPONENT,\n"
	"                       sets:SIZE@RATE[,...], phases:SECONDS:SIZE@RATE or\n"
	"                       trace:FILE (default sets:16M@2,128M@0.03)\n"
	"  --memory SIZE        of the guest (default 1G)\n"
	"  --bandwidth LIST     ascending (default 50M,75M,100M,150M,200M)\n"
	"  --downtime TIME      the target (default 3s)\n"
	"  --algorithms LIST    default: all\n"
	"  --smart yes|no|both  smart stop (default no)\n"
	"  --share PART         that the paper's rule skips (default 0.1)\n"
	"  --threshold RATE     writes/s above which a page is hot (default 0.5)\n"
	"  --time-limit TIMES   of the time for one pass (default 10)\n"
	"  --units N            bits that stand for the guest's pages (default 1048576)\n"
	"  --seed N             default 1\n"
	"  --csv FILE           write a table there; - is the output\n"
	"  --json FILE          the same as JSON\n"
	"  --svg FILE           a plot of time against bandwidth\n\n"
	"Algorithms:\n";

struct options {
	const char *model, *memory, *csv, *json, *svg;
	double bandwidths[LIST_MOST];
	size_t bandwidth_count;
	const struct algorithm *algorithms[LIST_MOST];
	size_t algorithm_count;
	bool plain, smart;
	double downtime, share, threshold, limit_times;
	uint64_t units, seed;
};

enum option_code {
	OPT_MODEL = 256,
	OPT_MEMORY,
	OPT_BANDWIDTH,
	OPT_DOWNTIME,
	OPT_ALGORITHMS,
	OPT_SMART,
	OPT_SHARE,
	OPT_THRESHOLD,
	OPT_LIMIT,
	OPT_UNITS,
	OPT_SEED,
	OPT_CSV,
	OPT_JSON,
	OPT_SVG,
	OPT_HELP
};

static const struct option long_options[] = {
	{"model", required_argument, NULL, OPT_MODEL},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"bandwidth", required_argument, NULL, OPT_BANDWIDTH},
	{"downtime", required_argument, NULL, OPT_DOWNTIME},
	{"algorithms", required_argument, NULL, OPT_ALGORITHMS},
	{"smart", required_argument, NULL, OPT_SMART},
	{"share", required_argument, NULL, OPT_SHARE},
	{"threshold", required_argument, NULL, OPT_THRESHOLD},
	{"time-limit", required_argument, NULL, OPT_LIMIT},
	{"units", required_argument, NULL, OPT_UNITS},
	{"seed", required_argument, NULL, OPT_SEED},
	{"csv", required_argument, NULL, OPT_CSV},
	{"json", required_argument, NULL, OPT_JSON},
	{"svg", required_argument, NULL, OPT_SVG},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static int print_help(void)
{
	fputs(help, stdout);
	for (unsigned i = 0; i < algorithm_count; i++)
		printf("  %-11s  %s\n", algorithms[i].name, algorithms[i].help);
	return CMD_DONE;
}

static bool read_bandwidths(struct options *options, char *list)
{
	char *kept = NULL;

	options->bandwidth_count = 0;
	for (char *word = strtok_r(list, ",", &kept); word; word = strtok_r(NULL, ",", &kept)) {
		uint64_t rate;
		size_t n = options->bandwidth_count;

		if (n == LIST_MOST || !units_parse_rate(word, &rate) || rate == 0 ||
		    (n > 0 && (double)rate <= options->bandwidths[n - 1]))
			return false;
		options->bandwidths[options->bandwidth_count++] = (double)rate;
	}
	return options->bandwidth_count > 0;
}

static bool read_algorithms(struct options *options, char *list)
{
	char *kept = NULL;

	options->algorithm_count = 0;
	for (char *word = strtok_r(list, ",", &kept); word; word = strtok_r(NULL, ",", &kept)) {
		const struct algorithm *algorithm = algorithm_find(word);

		if (!algorithm || options->algorithm_count == LIST_MOST)
			return false;
		options->algorithms[options->algorithm_count++] = algorithm;
	}
	return options->algorithm_count > 0;
}

static bool read_real(const char *text, double least, double most, double *value)
{
	char *end;

	*value = strtod(text, &end);
	return end != text && !*end && *value >= least && *value <= most;
}

static bool read_smart(struct options *options, const char *text)
{
	options->smart = strcmp(text, "no") != 0;
	options->plain = strcmp(text, "yes") != 0;
	return !options->smart || !options->plain || strcmp(text, "both") == 0;
}

static bool read_downtime(struct options *options, const char *text)
{
	int64_t ns;

	if (!units_parse_duration(text, &ns) || ns <= 0)
		return false;
	options->downtime = (double)ns * 1e-9;
	return true;
}

static bool read_option(struct options *options, int option, char *value)
{
	switch (option) {
	case OPT_MODEL:
		options->model = value;
		return true;
	case OPT_MEMORY:
		options->memory = value;
		return true;
	case OPT_BANDWIDTH:
		return read_bandwidths(options, value);
	case OPT_DOWNTIME:
		return read_downtime(options, value);
	case OPT_ALGORITHMS:
		return read_algorithms(options, value);
	case OPT_SMART:
		return read_smart(options, value);
	case OPT_SHARE:
		return read_real(value, 0, 1, &options->share);
	case OPT_THRESHOLD:
		return read_real(value, 0, 1e6, &options->threshold);
	case OPT_LIMIT:
		return read_real(value, 1, 1000, &options->limit_times);
	case OPT_UNITS:
		return units_parse_number(value, 64, 1ull << 32, &options->units);
	case OPT_SEED:
		return units_parse_number(value, 0, INT64_MAX, &options->seed);
	case OPT_CSV:
		options->csv = value;
		return true;
	case OPT_JSON:
		options->json = value;
		return true;
	default:
		options->svg = value;
		return true;
	}
}

/* CMD_DONE: go on; else the exit status, or -1 after --help. */
static int read_options(struct options *options, int argc, char **argv)
{
	int option, index = 0;

	*options = (struct options){.model = "sets:16M@2,128M@0.03",
				    .memory = "1G",
				    .bandwidths = {50e6, 75e6, 100e6, 150e6, 200e6},
				    .bandwidth_count = 5,
				    .plain = true,
				    .downtime = 3,
				    .share = 0.1,
				    .threshold = 0.5,
				    .limit_times = 10,
				    .units = 1 << 20,
				    .seed = 1};
	for (unsigned i = 0; i < algorithm_count; i++)
		options->algorithms[options->algorithm_count++] = &algorithms[i];
	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (option == OPT_HELP)
			return print_help() == CMD_DONE ? -1 : CMD_FAILED;
		if (option == '?')
			return CMD_USAGE;
		if (!read_option(options, option, optarg)) {
			cmd_complain("--%s: found \"%s\", which it does not take (see --help)",
				     long_options[index].name, optarg);
			return CMD_USAGE;
		}
	}
	if (optind < argc) {
		cmd_complain("found \"%s\", expected options only (see --help)", argv[optind]);
		return CMD_USAGE;
	}
	return CMD_DONE;
}

/* All algorithms at one bandwidth. */
static int run_bandwidth(const struct options *options, double bandwidth, struct sim_table *table,
			 struct error **err)
{
	struct model_link link = {bandwidth / 8, bandwidth / 8 * options->downtime};
	struct model *model;
	uint64_t memory;
	int status = 0;

	if (!model_parse_size(options->memory, &link, &memory) || memory < 1 << 20)
		return error_set(err, EINVAL, "--memory: found \"%s\", expected at least 1M",
				 options->memory);
	model = model_create(options->model, memory, &link, options->units, options->seed, err);
	if (!model)
		return -1;
	for (size_t i = 0; i < options->algorithm_count && status == 0; i++) {
		for (int smart = !options->plain; smart <= options->smart && status == 0; smart++) {
			struct sim_row *row = &table->rows[table->count++];
			struct sim_config config = {.algorithm = options->algorithms[i],
						    .smart = smart,
						    .bandwidth = bandwidth,
						    .downtime = options->downtime,
						    .limit_times = options->limit_times,
						    .share = options->share,
						    .threshold = options->threshold};

			*row = (struct sim_row){bandwidth, model_memory(model), config.algorithm,
						smart};
			status = sim_run(model, &config, &row->result, err);
		}
	}
	model_destroy(model);
	return status;
}

static void write_json(FILE *out, const struct sim_table *table)
{
	auto_json json = report_json(table);

	json_dumpf(json, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	fputc('\n', out);
}

static int write_file(const char *path, const struct sim_table *table,
		      void (*write)(FILE *out, const struct sim_table *table), struct error **err)
{
	FILE *out;
	bool bad;

	if (!path)
		return 0;
	if (strcmp(path, "-") == 0) {
		write(stdout, table);
		return 0;
	}
	out = fopen(path, "we");
	if (!out)
		return error_errno(err, "%s", path);
	write(out, table);
	bad = ferror(out);
	if (fclose(out) != 0 || bad)
		return error_errno(err, "%s", path);
	return 0;
}

static int write_all_of(const struct options *options, const struct sim_table *table,
			struct error **err)
{
	if (!options->csv && !options->json && !options->svg)
		report_text(stdout, table);
	if (write_file(options->csv, table, report_csv, err) < 0 ||
	    write_file(options->json, table, write_json, err) < 0)
		return -1;
	return write_file(options->svg, table, report_svg, err);
}

int cmd_simulate(int argc, char **argv)
{
	auto_free struct sim_row *rows = NULL;
	struct sim_table table = {0};
	auto_error why = NULL;
	struct options options;
	int status = read_options(&options, argc, argv);

	if (status != CMD_DONE)
		return status < 0 ? CMD_DONE : status;
	rows = sim_rows_create(options.bandwidth_count * options.algorithm_count * 2);
	if (!rows) {
		cmd_complain("no memory for the results");
		return CMD_FAILED;
	}
	table = (struct sim_table){options.model, options.downtime, options.seed, rows, 0};
	for (size_t i = 0; i < options.bandwidth_count; i++)
		if (run_bandwidth(&options, options.bandwidths[i], &table, &why) < 0)
			return cmd_fail(why);
	return write_all_of(&options, &table, &why) < 0 ? cmd_fail(why) : CMD_DONE;
}
