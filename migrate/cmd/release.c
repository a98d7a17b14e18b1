/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/cmd/cmd.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/resolve.h"

static const char help[] =
	"usage: edgehop release VM|HOP\n"
	"Ends a hop that is held: the VM's old address is given up now, and its tunnel goes.\n"
	"Connections that still need it break, and are named. To be run where the VM runs.\n";

#define END_NS	(60 * NS_PER_SEC)
#define ASK_NS	(5 * NS_PER_SEC)
#define WAIT_MS 100

struct wanted {
	const char *what; /* VM's name or hop's UUID */
	struct hop_facts *facts;
	struct hop_facts *elsewhere; /* held too, but this host was its source */
};

static int match(const char *hop, enum hop_state state, const json_t *json, void *context,
		 struct error **err)
{
	struct wanted *wanted = context;
	enum hop_side side;
	auto_facts facts = hop_facts_from_json(json, &side, NULL);
	bool is_hop = strcmp(hop, wanted->what) == 0;

	(void)err;
	if (!facts || wanted->facts || (!is_hop && strcmp(facts->vm->name, wanted->what) != 0))
		return 0;
	/* By the VM's name only what is held here; by its own also what is not, which is told. */
	if (is_hop || (side == HOP_DESTINATION && state == HOP_ACCEPTED))
		wanted->facts = steal_ptr(facts);
	else if (state == HOP_GONE && !wanted->elsewhere)
		wanted->elsewhere = steal_ptr(facts);
	return 0;
}

/* The worker does it. NULL and no error: there is none. */
static json_t *ask_worker(const char *hop, struct error **err)
{
	auto_json answer = ctl_ask(hop, "release", clock_ns() + ASK_NS, NULL);
	int64_t until = clock_ns() + END_NS;

	if (!answer)
		return NULL;
	while (clock_ns() < until) {
		json_t *end = keeper_read_end(hop, err);

		if (end || (err && *err))
			return end;
		clock_sleep_ms(WAIT_MS);
	}
	error_set(err, ETIMEDOUT, "hop %s: its worker does not end", hop);
	return NULL;
}

static void print_broken(const json_t *vnic, const struct hop_facts *facts)
{
	const json_t *broken = json_object_get(vnic, "broken"), *name;
	size_t i;

	printf("VM %s: the old address of site %s is given up, hop %s is at its end\n",
	       facts->vm->name, facts->source_site, facts->hop);
	json_array_foreach (broken, i, name)
		printf("  broken: %s\n", json_string_value(name));
}

/* The destination carries the hop to its end; only its worker can give the address up. */
static int require_destination(const struct hop_facts *facts, struct error **err)
{
	enum hop_side side;
	enum hop_state state;
	auto_json json = NULL;
	auto_facts known = NULL;

	if (journal_read(facts->hop, &state, &json, err) < 0)
		return -1;
	known = hop_facts_from_json(json, &side, err);
	if (!known)
		return -1;
	if (side != HOP_DESTINATION)
		return error_set(err, EINVAL, "hop %s: it is released at its destination, host %s",
				 facts->hop, facts->destination);
	return 0;
}

static int release(const struct hop_facts *facts)
{
	auto_error why = NULL;
	auto_fleet fleet = NULL;
	auto_json report = NULL;
	auto_json end = require_destination(facts, &why) == 0 ? ask_worker(facts->hop, &why) : NULL;

	if (why)
		return cmd_fail(why);
	if (end && json_integer_value(json_object_get(end, "status")) != 0) {
		const char *text = json_string_value(json_object_get(end, "error"));

		cmd_complain("%s", text ? text : "the hop's worker failed");
		return CMD_RECOVER;
	}
	if (end) {
		print_broken(json_object_get(end, "vnic"), facts);
		return CMD_DONE;
	}
	fleet = fleet_load(NULL, &why);
	if (!fleet || release_hop(facts->hop, fleet, &report, &why) < 0)
		return cmd_fail(why);
	print_broken(report, facts);
	printf("host %s gives its end of the tunnel back when it asks next, at the latest by "
	       "`edgehop recover` there\n",
	       facts->source);
	return CMD_DONE;
}

int cmd_release(int argc, char **argv)
{
	struct wanted wanted = {0};
	auto_error why = NULL;
	auto_facts facts = NULL;
	auto_facts elsewhere = NULL;
	int status;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return CMD_DONE;
	}
	if (argc != 2) {
		cmd_complain("found %d arguments, expected VM or HOP (see --help)", argc - 1);
		return CMD_USAGE;
	}
	wanted.what = argv[1];
	status = journal_each_open(match, &wanted, &why);
	facts = wanted.facts;
	elsewhere = wanted.elsewhere;
	if (status < 0)
		return cmd_fail(why);
	if (!facts && elsewhere) {
		cmd_complain("%s: found no hop of it that is held here, but at host %s, where "
			     "`edgehop release` is to be run; nothing was changed",
			     argv[1], elsewhere->destination);
		return CMD_FAILED;
	}
	if (!facts) {
		cmd_complain("%s: found no hop of that VM or name that is held here; nothing was "
			     "changed",
			     argv[1]);
		return CMD_FAILED;
	}
	return release(facts);
}
