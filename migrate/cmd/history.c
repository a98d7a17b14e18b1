/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "common/uuid.h"
#include "migrate/hop/history.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/report.h"

static const char help[] =
	"usage: edgehop history [--json] [-n N] [VM|HOP]\n"
	"       edgehop history --prune AGE\n"
	"The hops of this host that are over, newest first, times in UTC; those of VM; or the "
	"report of\n"
	"one. HOP is its UUID or the first characters of it.\n"
	"\n"
	"  -n N         no more than N\n"
	"  --json       as JSON, see edgehop-json(7)\n"
	"  --prune AGE  remove what is kept of hops that ended longer ago (\"720h\"), at least "
	"1h:\n"
	"               reports, journals, run folders. A hop that is open is left alone\n";

#define PRUNE_LEAST_NS (3600 * NS_PER_SEC)
#define COUNT_MOST     1000000
#define HOP_SHOWN      8

struct options {
	const char *what;
	uint64_t most;
	int64_t prune_ns; /* 0: don't */
	bool json;
};

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static char *sent_text(const json_t *report, char buf[UNITS_TEXT])
{
	json_t *paths = json_object_get(report, "paths");
	json_int_t sum = 0;
	const char *name;
	json_t *path;

	json_object_foreach (paths, name, path)
		sum += json_integer_value(json_object_get(path, "bytes"));
	return paths ? units_bytes_text((uint64_t)sum, buf) : strcpy(buf, "-");
}

static void print_line(const json_t *report)
{
	const json_t *downtime = json_object_get(report, "downtime_ms");
	char way[80], sent[UNITS_TEXT], pause[UNITS_TEXT] = "-";

	snprintf(way, sizeof(way), "%s -> %s", text_at(json_object_get(report, "from"), "site"),
		 text_at(json_object_get(report, "to"), "site"));
	if (downtime)
		snprintf(pause, sizeof(pause), "%.0f ms", json_number_value(downtime));
	printf("%.10s %.8s  %.*s  %-12s %-18s %-7s %7.1f s  %9s  %9s\n", text_at(report, "started"),
	       strlen(text_at(report, "started")) > 11 ? text_at(report, "started") + 11 : "-",
	       HOP_SHOWN, text_at(report, "hop"), text_at(report, "vm"), way,
	       text_at(report, "result"), json_number_value(json_object_get(report, "seconds")),
	       pause, sent_text(report, sent));
}

static void print_list(const json_t *list)
{
	const json_t *report;
	size_t i;

	if (json_array_size(list) == 0) {
		puts("no hop is over");
		return;
	}
	printf("%-19s  %-*s  %-12s %-18s %-7s %9s  %9s  %9s\n", "STARTED", HOP_SHOWN, "HOP", "VM",
	       "FROM -> TO", "RESULT", "TIME", "DOWNTIME", "SENT");
	json_array_foreach (list, i, report)
		print_line(report);
}

static void print_json(const json_t *what)
{
	json_dumpf(what, stdout, JSON_INDENT(2));
	putchar('\n');
}

static int show_list(const json_t *list, bool json)
{
	if (json)
		print_json(list);
	else
		print_list(list);
	return CMD_DONE;
}

static int show_one(const char *hop, bool json)
{
	auto_error why = NULL;
	auto_json report = history_read(hop, &why);

	if (!report)
		return cmd_fail(why);
	if (json) {
		print_json(report);
		return CMD_DONE;
	}
	report_print(report, stdout);
	if (json_object_get(report, "started"))
		printf("  started %s\n", text_at(report, "started"));
	if (json_object_get(report, "error"))
		printf("  %s\n", text_at(report, "error"));
	return CMD_DONE;
}

static int show(const struct options *options)
{
	auto_error why = NULL;
	auto_json list = history_list(options->what, options->most, &why);
	char hop[UUID_SIZE];

	if (!list)
		return cmd_fail(why);
	if (!options->what || json_array_size(list) > 0)
		return show_list(list, options->json);
	/* No hop of a VM of that name: then it is a hop. */
	json_decref(list);
	list = history_list(NULL, 0, &why);
	if (!list || hops_choose(list, options->what, "no hop that is over", hop, &why) < 0)
		return cmd_fail(why);
	return show_one(hop, options->json);
}

static int prune(int64_t age_ns)
{
	auto_error why = NULL;
	size_t count = 0;
	int result = history_prune(age_ns / NS_PER_MS, &count, &why);

	printf("removed what was kept of %zu hops\n", count);
	return result < 0 ? cmd_fail(why) : CMD_DONE;
}

static int parse_option(struct options *options, int option)
{
	switch (option) {
	case 'n':
		if (units_parse_number(optarg, 1, COUNT_MOST, &options->most))
			return CMD_DONE;
		cmd_complain("-n: found \"%s\", expected a number from 1 to %d", optarg,
			     COUNT_MOST);
		return CMD_USAGE;
	case 'p':
		if (units_parse_duration(optarg, &options->prune_ns) &&
		    options->prune_ns >= PRUNE_LEAST_NS)
			return CMD_DONE;
		cmd_complain("--prune: found \"%s\", expected a duration of at least 1h such as "
			     "720h; nothing was removed",
			     optarg);
		return CMD_USAGE;
	case 'j':
		options->json = true;
		return CMD_DONE;
	default:
		return CMD_USAGE;
	}
}

int cmd_history(int argc, char **argv)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'},
					      {"prune", required_argument, NULL, 'p'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct options options = {0};
	int option;

	while ((option = getopt_long(argc, argv, "n:h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (parse_option(&options, option) != CMD_DONE)
			return CMD_USAGE;
	}
	if (argc - optind > (options.prune_ns == 0)) {
		cmd_complain("found %d arguments, expected VM or HOP or none, and none with "
			     "--prune (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	options.what = argv[optind];
	return options.prune_ns ? prune(options.prune_ns) : show(&options);
}
