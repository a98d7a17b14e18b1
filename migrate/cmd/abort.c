/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/journal.h"

static const char help[] =
	"usage: edgehop abort VM|HOP\n"
	"Ends a hop that this host is the source of: the VM runs on here. Too late once the VM "
	"was\n"
	"released to the destination; the command then says so. Waits for the hop's end.\n";

struct wanted {
	const char *what; /* VM's name or hop's UUID */
	char hop[UUID_SIZE];
};

static int match(const char *hop, enum hop_state state, const json_t *facts, void *context,
		 struct error **err)
{
	struct wanted *wanted = context;
	auto_facts known = hop_facts_from_json(facts, NULL, NULL);

	(void)state;
	(void)err;
	if (strcmp(hop, wanted->what) == 0 || (known && strcmp(known->vm->name, wanted->what) == 0))
		memcpy(wanted->hop, hop, UUID_SIZE);
	return 0;
}

int cmd_abort(int argc, char **argv)
{
	struct wanted wanted = {0};
	auto_error why = NULL;
	auto_json answer = NULL;
	int status;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return CMD_DONE;
	}
	if (argc != 2) {
		cmd_complain("found %d arguments, expected VM or HOP", argc - 1);
		return CMD_USAGE;
	}
	wanted.what = argv[1];
	if (journal_each_open(match, &wanted, &why) < 0)
		return cmd_fail(why);
	if (!wanted.hop[0]) {
		cmd_complain("%s: found no hop under way of that VM or name", argv[1]);
		return CMD_FAILED;
	}
	answer = ctl_ask(wanted.hop, "abort", clock_ns() + 5 * NS_PER_SEC, &why);
	if (!answer)
		return cmd_fail(why);
	/* An aborted hop ends with 1: that is what was wanted here. */
	status = attach_to_hop(wanted.hop, false);
	return status == CMD_FAILED ? CMD_DONE : status == CMD_DONE ? CMD_FAILED : status;
}
