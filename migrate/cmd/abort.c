/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/uuid.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/journal.h"

static const char help[] =
	"usage: edgehop abort VM|HOP\n"
	"Ends a hop that this host is the source of: the VM runs on here. Too late once the VM "
	"was\n"
	"released to the destination; the command then says so. Waits for the hop's end. HOP is "
	"its\n"
	"UUID or the first characters of it.\n";

/*
 * Only the source can say that the VM runs on, and only as long as it has not let go: after that
 * the hop may be held for hours, which nobody who asks for an abort wants to wait for.
 */
static int require_abortable(const char *hop, struct error **err)
{
	auto_json json = NULL;
	auto_facts facts = NULL;
	auto_error why = NULL;
	enum hop_state state;
	enum hop_side side;

	if (journal_read(hop, &state, &json, &why) < 0) {
		if (why->code == ENOENT) /* it has only just begun */
			return 0;
		return error_propagate(err, steal_ptr(why));
	}
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return -1;
	if (side == HOP_DESTINATION && state == HOP_ACCEPTED)
		return error_set(err, EALREADY,
				 "hop %s: too late for an abort, this host has taken VM %s over; "
				 "nothing was aborted",
				 hop, facts->vm->name);
	if (side != HOP_SOURCE)
		return error_set(err, EINVAL,
				 "hop %s: it is aborted at its source, host %s; nothing was "
				 "aborted",
				 hop, facts->source);
	if (state == HOP_RELEASED || state == HOP_GONE)
		return error_set(err, EALREADY,
				 "hop %s: too late for an abort, VM %s was released to host %s; "
				 "nothing was aborted",
				 hop, facts->vm->name, facts->destination);
	return 0;
}

int cmd_abort(int argc, char **argv)
{
	static const struct option known[] = {{"help", no_argument, NULL, 'h'}, {0}};
	auto_error why = NULL;
	auto_json answer = NULL;
	char hop[UUID_SIZE];
	int option, status;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		return CMD_USAGE;
	}
	if (argc - optind != 1) {
		cmd_complain("found %d arguments, expected VM or HOP (see --help)", argc - optind);
		return CMD_USAGE;
	}
	if (hops_find_open(argv[optind], hop, &why) < 0 || require_abortable(hop, &why) < 0)
		return cmd_fail(why);
	answer = ctl_ask(hop, "abort", clock_ns() + 5 * NS_PER_SEC, &why);
	if (!answer) {
		error_wrap(&why, "nothing was aborted; `edgehop recover` settles a hop without a "
				 "worker");
		return cmd_fail(why);
	}
	/* An aborted hop ends with 1: that is what was wanted here. */
	status = attach_to_hop(hop, false, false);
	if (status == CMD_DONE)
		cmd_complain("too late for an abort: the hop is done");
	return status == CMD_FAILED ? CMD_DONE : status == CMD_DONE ? CMD_FAILED : status;
}
