/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/resolve.h"
#include "netswitch/endpoints.h"

static const char help[] =
	"usage: edgehop recover [--boot] [-e COMMAND]\n"
	"Brings every hop of this host whose worker died to its end: undone where the VM was not\n"
	"released, finished where it was accepted. Safe to repeat. --boot: for the start of a "
	"host, as\n"
	"without, but does not wait for the other host longer than a few seconds.\n"
	"Exit status 3: UNKNOWN where a VM runs, since the other host can't be asked; nothing was\n"
	"started.\n";

#define PATIENCE_NS	 (60 * NS_PER_SEC)
#define BOOT_PATIENCE_NS (10 * NS_PER_SEC)

struct recovery {
	const struct fleet *fleet;
	const char *rsh;
	int64_t patience_ns;
	int status; /* the worst */
	unsigned count;
};

static int recover_one(const char *hop, enum hop_state state, const json_t *facts, void *context,
		       struct error **err)
{
	struct recovery *recovery = context;
	auto_json live = ctl_ask(hop, "status", clock_ns() + 2 * NS_PER_SEC, NULL);
	auto_error why = NULL;
	int status;

	(void)facts;
	(void)err;
	if (live) {
		printf("hop %s: its worker lives, left alone\n", hop);
		return 0;
	}
	log_set_hop(hop);
	status = recover_hop(hop, recovery->fleet, recovery->rsh,
			     clock_ns() + recovery->patience_ns, &why);
	recovery->count++;
	if (status > recovery->status)
		recovery->status = status;
	if (status != 0)
		cmd_complain("hop %s, found %s: %s", hop, hop_state_name(state), error_text(why));
	else if (journal_read(hop, &state, NULL, NULL) == 0)
		printf("hop %s: %s\n", hop, hop_state_name(state));
	return 0;
}

static bool journal_knows(const char *hop, void *context)
{
	enum hop_state state;

	(void)context;
	return journal_read(hop, &state, NULL, NULL) == 0 && !hop_state_final(state);
}

int cmd_recover(int argc, char **argv)
{
	struct recovery recovery = {.patience_ns = PATIENCE_NS};
	auto_error why = NULL;
	auto_fleet fleet = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--boot") == 0) {
			recovery.patience_ns = BOOT_PATIENCE_NS;
		} else if (strcmp(argv[i], "-e") == 0 && i + 1 < argc) {
			recovery.rsh = argv[++i];
		} else if (strcmp(argv[i], "--help") == 0) {
			fputs(help, stdout);
			return CMD_DONE;
		} else {
			cmd_complain("found \"%s\", expected --boot or -e COMMAND", argv[i]);
			return CMD_USAGE;
		}
	}
	recovery.fleet = fleet = fleet_load(NULL, &why);
	if (!fleet || journal_each_open(recover_one, &recovery, &why) < 0)
		return cmd_fail(why);
	if (endpoints_purge(journal_knows, NULL, &why) < 0)
		cmd_complain("%s", error_text(why));
	if (recovery.count == 0)
		puts("nothing to recover");
	return recovery.status;
}
