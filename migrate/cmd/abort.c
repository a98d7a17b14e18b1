/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <getopt.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/uuid.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/hops.h"

static const char help[] =
	"usage: edgehop abort VM|HOP\n"
	"Ends a hop that this host is the source of: the VM runs on here. Too late once the VM "
	"was\n"
	"released to the destination; the command then says so. Waits for the hop's end. HOP is "
	"its\n"
	"UUID or the first characters of it.\n";

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
	if (hops_find_open(argv[optind], hop, &why) < 0)
		return cmd_fail(why);
	answer = ctl_ask(hop, "abort", clock_ns() + 5 * NS_PER_SEC, &why);
	if (!answer) {
		error_wrap(&why, "nothing was aborted; `edgehop recover` settles a hop without a "
				 "worker");
		return cmd_fail(why);
	}
	/* An aborted hop ends with 1: that is what was wanted here. */
	status = attach_to_hop(hop, false);
	if (status == CMD_DONE)
		cmd_complain("too late for an abort: the hop is done");
	return status == CMD_FAILED ? CMD_DONE : status == CMD_DONE ? CMD_FAILED : status;
}
