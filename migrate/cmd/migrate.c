/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "migrate/cmd/attach.h"
#include "migrate/cmd/check.h"
#include "migrate/cmd/memory_options.h"
#include "migrate/config/values.h"
#include "migrate/hop/forecast.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/open.h"
#include "migrate/hop/source.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/transport/relay.h"

#define DOWNTIME_NS (300 * NS_PER_MS)
#define ENDING_NS   (2 * NS_PER_SEC)

struct options {
	const char *vm, *site;
	const char *rsh;
	int64_t downtime_ns, timeout_ns;
	int64_t resume_ns; /* below 0: as the fleet says */
	uint64_t rate_limit, resume_window;
	enum hop_on_timeout on_timeout;
	struct memory_options memory;
	bool json, detach, dry_run, plain, compare;
};

static const char help[] =
	"usage: edgehop migrate [OPTION...] VM SITE\n"
	"Moves the running VM to the site; its clients' MPTCP connections follow it.\n"
	"\n"
	"  --max-downtime TIME  the pause to aim at, as \"300ms\" (the default)\n"
	"  --rate-limit RATE    send no more than that, in bit/s, as \"50M\"; `edgehop limit` "
	"changes it\n"
	"  --timeout TIME       if the VM has not moved by then, as \"10m\", do what --on-timeout "
	"says\n"
	"  --on-timeout ACTION  abort (the default): undo the hop; force: let the VM pause for as "
	"long\n"
	"                       as it takes; continue: say it, and go on\n"
	"  --resume TIME        when every path is lost, wait for so long, as \"5m\", before the "
	"hop "
	"is\n"
	"                       undone; off: not at all\n"
	"  --resume-window SIZE send no more than that of a channel unacknowledged, as \"64M\" "
	"(the\n"
	"                       default): what is kept to be sent again\n"
	"  --hot-skip RULE      hold pages back that come again and are likely to come once more: "
	"auto:\n"
	"                       those that are cheaper to send later; top:N: the N % of memory "
	"written\n"
	"                       most often; rate:N: those written N times a second; off (the "
	"default)\n"
	"  --hold-memory SIZE   hold no more than that of pages, as \"256M\" (the default)\n"
	"  --on-no-converge ACTION  if what is left of memory does not get less any more: wait "
	"(the\n"
	"                       default): say it, and go on; pause: for as long as the least "
	"takes;\n"
	"                       throttle: slow the VM, stepwise; abort: undo the hop\n"
	"  --compress WHEN      memory and mirrored disks are coded with what both ends know by "
	"now: "
	"auto:\n"
	"                       as strongly as suits the link and the cores; off (the default)\n"
	"  --compress-cache SIZE  of what is known, at each end, as \"256M\" (the default), for "
	"memory\n"
	"                       and once more for disks\n"
	"  --no-encryption      disk and memory go unencrypted, for paths that are safe already; "
	"who\n"
	"                       may connect is checked all the same, and control stays encrypted\n"
	"  --compare-memory     for tests: compare the guest's memory on both sides, page by "
	"page,\n"
	"                       while it is paused, and undo the hop if a page differs\n"
	"  -e, --rsh COMMAND    reach the other host by this command (\"ssh -p 2222\") instead of\n"
	"                       the built-in SSH client\n"
	"  -d, --detach         start the hop and return; see `edgehop status`\n"
	"  -n, --dry-run        only say how long it would take, from what is measured now\n"
	"  --json               the report as JSON\n"
	"\n"
	"Ctrl-C aborts the hop: the VM runs on where it is.\n";

/* Options that take a value. Each: false, and a complaint, when it is none. */
static bool take_downtime(const char *text, struct options *options)
{
	if (units_parse_duration(text, &options->downtime_ns) && options->downtime_ns >= NS_PER_MS)
		return true;
	cmd_complain("--max-downtime: found \"%s\", expected a duration of at least 1ms such as "
		     "300ms; nothing was started",
		     text);
	return false;
}

static bool take_rate(const char *text, struct options *options)
{
	if (units_parse_rate(text, &options->rate_limit) &&
	    options->rate_limit >= UNITS_LEAST_LIMIT)
		return true;
	cmd_complain(
		"--rate-limit: found \"%s\", expected a rate in bit/s of at least 64k such as 50M; "
		"nothing was started",
		text);
	return false;
}

static bool take_timeout(const char *text, struct options *options)
{
	if (units_parse_duration(text, &options->timeout_ns) && options->timeout_ns >= NS_PER_MS)
		return true;
	cmd_complain(
		"--timeout: found \"%s\", expected a duration such as 10m; nothing was started",
		text);
	return false;
}

static bool take_resume(const char *text, struct options *options)
{
	if (value_duration_or_off(text, &options->resume_ns))
		return true;
	cmd_complain("--resume: found \"%s\", expected a duration up to 24h such as 5m, or off; "
		     "nothing was started",
		     text);
	return false;
}

static bool take_resume_window(const char *text, struct options *options)
{
	if (units_parse_bytes(text, &options->resume_window) &&
	    options->resume_window >= RELAY_WINDOW_LEAST &&
	    options->resume_window <= RELAY_WINDOW_MOST)
		return true;
	cmd_complain("--resume-window: found \"%s\", expected a size from 256K to 1G such as 64M; "
		     "nothing was started",
		     text);
	return false;
}

static bool take_on_timeout(const char *text, struct options *options)
{
	static const struct {
		const char *word;
		enum hop_on_timeout action;
	} actions[] = {{"abort", HOP_ABORT}, {"force", HOP_FORCE}, {"continue", HOP_CONTINUE}};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].word, text) == 0) {
			options->on_timeout = actions[i].action;
			return true;
		}
	cmd_complain("--on-timeout: found \"%s\", expected abort, force or continue; nothing was "
		     "started",
		     text);
	return false;
}

/* One option that getopt_long found; argument: its value. */
static bool take(int option, const char *argument, struct options *options)
{
	switch (option) {
	case 'D':
		return take_downtime(argument, options);
	case 'r':
		return take_rate(argument, options);
	case 't':
		return take_timeout(argument, options);
	case 'T':
		return take_on_timeout(argument, options);
	case 'R':
		return take_resume(argument, options);
	case 'W':
		return take_resume_window(argument, options);
	case 's':
		return memory_options_hot_skip(argument, &options->memory);
	case 'm':
		return memory_options_hold(argument, &options->memory);
	case 'C':
		return memory_options_compress(argument, &options->memory);
	case 'K':
		return memory_options_cache(argument, &options->memory);
	case 'c':
		return memory_options_on_stuck(argument, &options->memory);
	case 'e':
		options->rsh = argument;
		return true;
	case 'd':
		return options->detach = true;
	case 'n':
		return options->dry_run = true;
	case 'j':
		return options->json = true;
	case 'p':
		return options->plain = true;
	case 'M':
		return options->compare = true;
	case 'h':
		fputs(help, stdout);
		exit(CMD_DONE);
	default:
		return false;
	}
}

static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"max-downtime", required_argument, NULL, 'D'},
		{"rate-limit", required_argument, NULL, 'r'},
		{"timeout", required_argument, NULL, 't'},
		{"on-timeout", required_argument, NULL, 'T'},
		{"resume", required_argument, NULL, 'R'},
		{"resume-window", required_argument, NULL, 'W'},
		{"hot-skip", required_argument, NULL, 's'},
		{"hold-memory", required_argument, NULL, 'm'},
		{"on-no-converge", required_argument, NULL, 'c'},
		{"compress", required_argument, NULL, 'C'},
		{"compress-cache", required_argument, NULL, 'K'},
		{"no-encryption", no_argument, NULL, 'p'},
		{"compare-memory", no_argument, NULL, 'M'},
		{"rsh", required_argument, NULL, 'e'},
		{"detach", no_argument, NULL, 'd'},
		{"dry-run", no_argument, NULL, 'n'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	*options = (struct options){.downtime_ns = DOWNTIME_NS,
				    .resume_ns = -1,
				    .resume_window = RELAY_WINDOW,
				    .memory = memory_options_default};
	while ((option = getopt_long(argc, argv, "e:dnh", known, NULL)) != -1)
		if (!take(option, optarg, options))
			return CMD_USAGE;
	if (argc - optind != 2) {
		cmd_complain("found %d arguments, expected VM and SITE (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	options->vm = argv[optind];
	options->site = argv[optind + 1];
	return CMD_DONE;
}

/*
 * Measures, predicts, and keeps the prediction for the next hop's report. What hot-skip saves can't
 * be told beforehand: it depends on which pages the guest will write again.
 */
static int dry_run(const struct options *options)
{
	auto_error why = NULL;
	struct check_options wanted = {.rsh = options->rsh,
				       .rate_limit = options->rate_limit,
				       .downtime_ns = options->downtime_ns};
	auto_json check = check_from_command_line(options->vm, options->site, wanted, &why);
	const json_t *prediction = json_object_get(check, "prediction");
	const char *host = json_string_value(json_object_get(json_object_get(check, "to"), "host"));

	if (!check)
		return cmd_fail(why);
	if (prediction && host && !options->memory.hot_skip &&
	    forecast_keep(options->vm, host, options->downtime_ns, prediction, &why) < 0)
		cmd_complain("the prediction was not kept: %s", error_text(why));
	if (options->json) {
		json_dumpf(check, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		check_print_prediction(check, stdout);
		if (options->memory.hot_skip)
			puts("without --hot-skip, that is; with it, expect less");
		check_print_refusals(check, stderr);
	}
	return check_refuses(check) ? CMD_FAILED : CMD_DONE;
}

/* A hop that a worker carries away from here. What is GONE is at most held at its destination. */
static bool leaves(const json_t *entry, const char *vm)
{
	const char *side = json_string_value(json_object_get(entry, "side"));
	const char *state = json_string_value(json_object_get(entry, "state"));
	const char *whose = json_string_value(json_object_get(entry, "vm"));

	return json_is_true(json_object_get(entry, "worker")) && whose && strcmp(whose, vm) == 0 &&
	       (!side || strcmp(side, "source") == 0) && state && strcmp(state, "GONE") != 0;
}

/* Fails when the VM is under way already; a hop that is just ending is waited for. */
static int require_no_hop(const char *vm, struct error **err)
{
	int64_t deadline = clock_ns() + ENDING_NS;

	for (;;) {
		auto_json open = hops_open(NULL);
		const json_t *entry = NULL;
		size_t i;

		json_array_foreach (open, i, entry)
			if (leaves(entry, vm))
				break;
		if (i == json_array_size(open))
			return 0;
		if (clock_ns() > deadline)
			return error_set(err, EBUSY,
					 "VM %s: found hop %s of it under way (`edgehop status "
					 "--watch %s` follows it); nothing was started",
					 vm, json_string_value(json_object_get(entry, "hop")), vm);
		clock_sleep_ms(100);
	}
}

/* What can be seen at once is not worth a hop that is undone, in the history for good. */
static int require_ready(const struct vm_def *vm, struct error **err)
{
	auto_hv hv = require_no_hop(vm->name, err) == 0 ? hv_open(vm, err) : NULL;

	if (!hv)
		return -1;
	if (!hv_alive(hv))
		return error_set(
			err, ESRCH,
			"VM %s: found it stopped, expected it to run (`edgehop start %s`); "
			"nothing was started",
			vm->name, vm->name);
	return 0;
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
	if (options.dry_run)
		return dry_run(&options);
	fleet = fleet_load(NULL, &why);
	if (fleet)
		facts = hop_plan(fleet, options.vm, options.site, &why);
	if (!facts || require_ready(facts->vm, &why) < 0)
		return cmd_fail(why);

	forecast_settle(facts->vm->name, facts->destination, options.downtime_ns);

	struct source_job job = {.facts = facts,
				 .fleet = fleet,
				 .rsh = options.rsh,
				 .downtime_ns = options.downtime_ns,
				 .rate_limit = options.rate_limit,
				 .timeout_ns = options.timeout_ns,
				 .on_timeout = options.on_timeout,
				 .hot_skip = options.memory.hot_skip,
				 .pages = options.memory.pages,
				 .on_stuck = options.memory.on_stuck,
				 .coding = options.memory.coding,
				 .coding_cache = options.memory.coding_cache,
				 .plain = options.plain,
				 .compare_memory = options.compare,
				 .resume_ns = options.resume_ns < 0 ? fleet->resume_ns
								    : options.resume_ns,
				 .resume_window = options.resume_window};

	const struct keeper_job keeper = {
		.hop = facts->hop, .work = source_work, .recover = source_recover, .context = &job};

	if (keeper_start(&keeper, &why) < 0)
		return cmd_fail(why);
	if (options.detach) {
		puts(facts->hop);
		return CMD_DONE;
	}
	return attach_to_hop(facts->hop, true, options.json);
}
