/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
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
	"usage: edgehop limit VM|HOP RATE\n"
	"Changes the rate limit of a hop that runs: RATE in bit/s, such as 50M, or\n"
	"\"off\". Given at the hop's source.\n";

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

/* The rate is that of what the source sends. */
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
		return error_set(err, EINVAL, "hop %s: its rate is set at its source, host %s", hop,
				 facts->source);
	return 0;
}

static int set_limit(const char *hop, uint64_t rate, struct error **err)
{
	auto_json request = json_pack("{s:s, s:I}", "op", "limit", "rate", (json_int_t)rate);
	auto_json answer = NULL;
	const char *text;

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
	auto_error why = NULL;
	char hop[UUID_SIZE];
	uint64_t rate;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return CMD_DONE;
	}
	if (argc != 3) {
		cmd_complain("found %d arguments, expected VM or HOP, and RATE (see --help)",
			     argc - 1);
		return CMD_USAGE;
	}
	if (!read_rate(argv[2], &rate))
		return CMD_USAGE;
	if (hops_find_open(argv[1], hop, &why) < 0 || set_limit(hop, rate, &why) < 0)
		return cmd_fail(why);
	return CMD_DONE;
}
