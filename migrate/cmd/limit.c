/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/units.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/journal.h"

static const char help[] =
	"usage: edgehop limit [--max-downtime TIME] VM|HOP [RATE]\n"
	"Changes the limits of a hop that runs. Given at its source.\n"
	"\n"
	"  RATE                 of what it sends, in bit/s, such as 50M, or \"off\"\n"
	"  --max-downtime TIME  the pause to aim at, as \"300ms\"\n";

struct limits {
	const char *rate_text; /* NULL: not given */
	uint64_t rate;
	int64_t downtime_ns; /* 0: not given */
};

static bool read_rate(const char *text, uint64_t *rate)
{
	if (strcmp(text, "off") == 0) {
		*rate = 0;
		return true;
	}
	if (units_parse_rate(text, rate) && *rate >= UNITS_LEAST_LIMIT)
		return true;
	cmd_complain("rate: found \"%s\", expected a rate in bit/s of at least 64k such as 50M, or "
		     "off; nothing was changed",
		     text);
	return false;
}

static bool read_downtime(const char *text, int64_t *downtime_ns)
{
	if (units_parse_duration(text, downtime_ns) && *downtime_ns >= NS_PER_MS)
		return true;
	cmd_complain("--max-downtime: found \"%s\", expected a duration of at least 1ms such as "
		     "300ms; nothing was changed",
		     text);
	return false;
}

/* It is the source that sends, and decides when the VM may pause. */
static int require_source(const char *hop, struct error **err)
{
	auto_json json = NULL;
	auto_facts facts = NULL;
	enum hop_state state;
	enum hop_side side;

	if (journal_read(hop, &state, &json, err) < 0)
		return -1;
	if (hop_state_final(state))
		return error_set(err, ESRCH, "hop %s: found it %s, expected one that runs", hop,
				 hop_state_name(state));
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return -1;
	if (side != HOP_SOURCE)
		return error_set(err, EINVAL, "hop %s: its limits are set at its source, host %s",
				 hop, facts->source);
	return 0;
}

static int set_limits(const char *hop, const struct limits *limits, struct error **err)
{
	auto_json request = json_pack("{s:s}", "op", "limit");
	auto_json answer = NULL;
	const char *text;

	if (limits->rate_text)
		json_object_set_new(request, "rate", json_integer((json_int_t)limits->rate));
	if (limits->downtime_ns)
		json_object_set_new(request, "max_downtime_ns", json_integer(limits->downtime_ns));
	if (require_source(hop, err) < 0)
		return -1;
	answer = ctl_request(hop, request, clock_ns() + 5 * NS_PER_SEC, err);
	if (!answer)
		return -1;
	if (json_is_true(json_object_get(answer, "ok")))
		return 0;
	text = json_get_string(answer, "error", NULL);
	return error_set(err, EREMOTEIO, "hop %s: %s", hop, text ? text : "refused");
}

int cmd_limit(int argc, char **argv)
{
	static const struct option known[] = {
		{"max-downtime", required_argument, NULL, 'D'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct limits limits = {0};
	auto_error why = NULL;
	char hop[UUID_SIZE];
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == '?' || (option == 'D' && !read_downtime(optarg, &limits.downtime_ns)))
			return CMD_USAGE;
	}
	if (argc - optind == 2)
		limits.rate_text = argv[optind + 1];
	if (argc - optind < 1 || argc - optind > 2 || (!limits.rate_text && !limits.downtime_ns)) {
		cmd_complain("found %d arguments, expected VM or HOP, and RATE or --max-downtime "
			     "(see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	if (limits.rate_text && !read_rate(limits.rate_text, &limits.rate))
		return CMD_USAGE;
	if (hops_find_open(argv[optind], hop, &why) < 0 || set_limits(hop, &limits, &why) < 0)
		return cmd_fail(why);
	return CMD_DONE;
}
