/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/check.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "migrate/cmd/cmd.h"

#define DOWNTIME_NS (300 * NS_PER_MS)
#define SURVEY_NS   (3 * NS_PER_SEC)

static const char help[] =
	"usage: edgehop check [OPTION...] VM SITE\n"
	"Says whether the VM could hop to the site, what each path carries, which connections "
	"would\n"
	"follow, and how long it would take. Changes nothing on either host.\n"
	"\n"
	"  --seconds N          how long each path is measured at most (2)\n"
	"  --max-downtime TIME  the pause that the hop would aim at, as \"300ms\" (the default)\n"
	"  -e, --rsh COMMAND    reach the other host by this command (\"ssh -p 2222\") instead of\n"
	"                       the built-in SSH client\n"
	"  --json               for programs\n"
	"\n"
	"Exit status: 0 a hop can go, 1 it can't, 2 usage.\n";

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

json_t *check_from_command_line(const char *vm, const char *site, struct check_options options,
				struct error **err)
{
	struct sigaction on = {.sa_handler = on_signal};
	auto_fleet fleet = fleet_load(NULL, err);

	if (!fleet)
		return NULL;
	options.survey_ns = SURVEY_NS;
	options.stop = &stop;
	if (options.burst_ns == 0)
		options.burst_ns = CHECK_SECONDS * NS_PER_SEC;
	/* What the other host holds for us goes with us, what this one holds has to be given back.
	 */
	sigaction(SIGINT, &on, NULL);
	sigaction(SIGTERM, &on, NULL);
	sigaction(SIGHUP, &on, NULL);
	return check_run(fleet, vm, site, &options, err);
}

static int complain(const char *option, const char *value, const char *expected)
{
	cmd_complain("%s: found \"%s\", expected %s; nothing was checked", option, value, expected);
	return CMD_USAGE;
}

int cmd_check(int argc, char **argv)
{
	static const struct option known[] = {
		{"seconds", required_argument, NULL, 's'},
		{"max-downtime", required_argument, NULL, 'D'},
		{"rsh", required_argument, NULL, 'e'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct check_options options = {.downtime_ns = DOWNTIME_NS};
	uint64_t seconds = CHECK_SECONDS;
	auto_error why = NULL;
	auto_json check = NULL;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "e:h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == 's' && !units_parse_number(optarg, 1, 60, &seconds))
			return complain("--seconds", optarg, "a number from 1 to 60");
		if (option == 'D' && (!units_parse_duration(optarg, &options.downtime_ns) ||
				      options.downtime_ns < NS_PER_MS))
			return complain("--max-downtime", optarg,
					"a duration of at least 1ms such as 300ms");
		if (option == '?')
			return CMD_USAGE;
		options.rsh = option == 'e' ? optarg : options.rsh;
		json |= option == 'j';
	}
	if (argc - optind != 2) {
		cmd_complain("found %d arguments, expected VM and SITE (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	options.burst_ns = (int64_t)seconds * NS_PER_SEC;
	check = check_from_command_line(argv[optind], argv[optind + 1], options, &why);
	if (!check)
		return cmd_fail(why);
	if (json) {
		json_dumpf(check, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		check_print(check, stdout);
	}
	return check_refuses(check) ? CMD_FAILED : CMD_DONE;
}
