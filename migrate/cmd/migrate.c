/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/open.h"
#include "migrate/hop/source.h"

#define DOWNTIME_NS (300 * NS_PER_MS)

struct options {
	const char *vm, *site;
	const char *rsh;
	int64_t downtime_ns;
	bool json, detach;
};

static const char help[] =
	"usage: edgehop migrate [OPTION...] VM SITE\n"
	"Moves the running VM to the site; its clients' MPTCP connections follow it.\n"
	"\n"
	"  --max-downtime TIME  the pause to aim at, as \"300ms\" (the default)\n"
	"  -e, --rsh COMMAND    reach the other host by this command (\"ssh -p 2222\") instead of\n"
	"                       the built-in SSH client\n"
	"  -d, --detach         start the hop and return; see `edgehop status`\n"
	"  --json               the report as JSON\n"
	"\n"
	"Ctrl-C aborts the hop: the VM runs on where it is.\n";

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"max-downtime", required_argument, NULL, 'D'},
		{"rsh", required_argument, NULL, 'e'},
		{"detach", no_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	*options = (struct options){.downtime_ns = DOWNTIME_NS};
	while ((option = getopt_long(argc, argv, "e:dh", known, NULL)) != -1) {
		switch (option) {
		case 'D':
			if (!units_parse_duration(optarg, &options->downtime_ns) ||
			    options->downtime_ns < NS_PER_MS) {
				cmd_complain("--max-downtime: found \"%s\", expected a duration of "
					     "at least 1ms such as 300ms; nothing was started",
					     optarg);
				return CMD_USAGE;
			}
			break;
		case 'e':
			options->rsh = optarg;
			break;
		case 'd':
			options->detach = true;
			break;
		case 'j':
			options->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			exit(CMD_DONE);
		default:
			return CMD_USAGE;
		}
	}
	if (argc - optind != 2) {
		cmd_complain("found %d arguments, expected VM and SITE (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	options->vm = argv[optind];
	options->site = argv[optind + 1];
	return CMD_DONE;
}

int cmd_migrate(int argc, char **argv)
{
	struct options options;
	auto_error why = NULL;
	auto_fleet fleet = NULL;
	auto_facts facts = NULL;
	int status = parse(argc, argv, &options);

	if (status != CMD_DONE)
		return status;
	fleet = fleet_load(NULL, &why);
	if (fleet)
		facts = hop_plan(fleet, options.vm, options.site, &why);
	if (!facts)
		return cmd_fail(why);

	struct source_job job = {.facts = facts,
				 .fleet = fleet,
				 .rsh = options.rsh,
				 .downtime_ns = options.downtime_ns};
	const struct keeper_job keeper = {
		.hop = facts->hop, .work = source_work, .recover = source_recover, .context = &job};

	if (keeper_start(&keeper, &why) < 0)
		return cmd_fail(why);
	if (options.detach) {
		puts(facts->hop);
		return CMD_DONE;
	}
	return attach_to_hop(facts->hop, options.json);
}
