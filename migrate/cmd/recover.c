/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/hop/fence.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/recover_later.h"
#include "migrate/hop/resolve.h"
#include "netswitch/endpoints.h"

static const char help[] =
	"usage: edgehop recover [--boot] [--fenced HOST] [-e COMMAND] [VM|HOP]\n"
	"Brings every hop of this host whose worker died, or the one named, to its end: undone "
	"where\n"
	"the VM was not released, finished where it was accepted. Safe to repeat.\n"
	"\n"
	"  --boot         for the start of a host: does not wait for the other host longer than a\n"
	"                 few seconds, but goes on in the background for ten minutes, and asks\n"
	"                 whether VMs were taken back in the meantime\n"
	"  --fenced HOST  you vouch that HOST is off, and won't run before it can ask this host:\n"
	"                 VMs that were released to it and of which nothing is known are taken "
	"back;\n"
	"                 what they may have done there is lost\n"
	"  -e COMMAND     reach the other host by this command, as `edgehop migrate -e`\n"
	"\n"
	"Exit status 3: UNKNOWN where a VM runs, since the other host can't be asked; nothing was\n"
	"started.\n";

#define PATIENCE_NS	 (60 * NS_PER_SEC)
#define BOOT_PATIENCE_NS (10 * NS_PER_SEC)

struct recovery {
	const struct fleet *fleet;
	const char *rsh;
	const char *fenced; /* host, or NULL */
	bool boot, unreadable;
	int64_t patience_ns;
	char only[UUID_SIZE]; /* "": all */
	int status;	      /* the worst */
	unsigned count;
};

static int recover_one(const char *hop, enum hop_state state, const json_t *facts, void *context,
		       struct error **err)
{
	struct recovery *recovery = context;
	auto_error why = NULL;
	int status;

	(void)facts;
	(void)err;
	if (*recovery->only && strcmp(recovery->only, hop) != 0)
		return 0;
	if (recovery->fenced) {
		int taken = fence_take_back(hop, recovery->fleet, recovery->fenced, &why);

		if (taken < 0) {
			recovery->status = CMD_RECOVER;
			cmd_complain("hop %s, found %s: %s", hop, hop_state_name(state),
				     error_text(why));
		} else if (taken) {
			printf("hop %s: taken back, as you vouch that %s is off\n", hop,
			       recovery->fenced);
		}
		recovery->count += taken != 0;
		return 0;
	}
	if (keeper_lives(hop)) {
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

/* false: a wrong argument, which was complained of. *what: the VM or hop that is meant, or NULL. */
static bool parse(int argc, char **argv, struct recovery *recovery, const char **what)
{
	*recovery = (struct recovery){.patience_ns = PATIENCE_NS};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--boot") == 0) {
			recovery->patience_ns = BOOT_PATIENCE_NS;
			recovery->boot = true;
		} else if (strcmp(argv[i], "--fenced") == 0 && i + 1 < argc) {
			recovery->fenced = argv[++i];
		} else if (strcmp(argv[i], "-e") == 0 && i + 1 < argc) {
			recovery->rsh = argv[++i];
		} else if (argv[i][0] != '-' && !*what) {
			*what = argv[i];
		} else {
			cmd_complain("found \"%s\", expected --boot, --fenced HOST, -e COMMAND, VM "
				     "or HOP",
				     argv[i]);
			return false;
		}
	}
	return true;
}

/*
 * Of a VM that was given away, all that is left to do waits for the other host. Not so where it is
 * this host's: what goes on would be in the way of its start.
 */
static int go_on_later(const char *hop, enum hop_state state, const json_t *facts, void *context,
		       struct error **err)
{
	const struct recovery *recovery = context;
	auto_error why = NULL;

	(void)facts;
	(void)err;
	if ((state != HOP_RELEASED && state != HOP_GONE) || keeper_lives(hop))
		return 0;
	if (recover_later(hop, recovery->fleet, recovery->rsh, &why) < 0)
		cmd_complain("hop %s: %s; run `edgehop recover`", hop, error_text(why));
	else
		printf("hop %s: its recovery goes on in the background\n", hop);
	return 0;
}

static void ask_whether_taken_back(const struct recovery *recovery)
{
	auto_error why = NULL;
	unsigned yielded;

	if (fence_challenge(recovery->fleet, recovery->rsh, &yielded, &why) < 0)
		cmd_complain("%s", error_text(why));
}

int cmd_recover(int argc, char **argv)
{
	struct recovery recovery;
	auto_error why = NULL;
	auto_fleet fleet = NULL;
	const char *what = NULL;

	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
	if (!parse(argc, argv, &recovery, &what))
		return CMD_USAGE;
	if (what && hops_find_open(what, recovery.only, &why) < 0)
		return cmd_fail(why);
	recovery.fleet = fleet = fleet_load(NULL, &why);
	if (!fleet || (recovery.fenced && !fleet_host(fleet, recovery.fenced, &why)))
		return cmd_fail(why);
	if (journal_each_open(recover_one, &recovery, &why) < 0) {
		/* What that hop still needs is not known: nothing of it is taken away. */
		cmd_complain("%s; that hop was left alone, nothing was started", error_text(why));
		recovery.status = CMD_RECOVER;
		recovery.unreadable = true;
		error_free(steal_ptr(why));
	}
	/* Last: the recovery of an accepted hop makes this host a VM's owner. */
	if (recovery.boot)
		ask_whether_taken_back(&recovery);
	if (recovery.status == CMD_RECOVER && recovery.unreadable)
		return CMD_RECOVER;
	if (recovery.boot && journal_each_open(go_on_later, &recovery, &why) < 0)
		cmd_complain("%s", error_text(why));
	if (endpoints_purge(journal_knows_open, NULL, &why) < 0)
		cmd_complain("%s", error_text(why));
	if (recovery.count == 0)
		puts("nothing to recover");
	return recovery.status;
}
