/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/journal.h"

static const char help[] = "usage: edgehop status [--json] [--watch HOP]\n"
			   "The hops of this host that are under way or need `edgehop recover`.\n";

/* Context of the visits: the list that grows. */
static int add_hop(const char *hop, enum hop_state state, const json_t *facts, void *context,
		   struct error **err)
{
	json_t *list = context;
	auto_json live = ctl_ask(hop, "status", clock_ns() + NS_PER_SEC, NULL);
	json_t *entry = json_pack("{s:s, s:s, s:b, s:O, s:O, s:O}", "hop", hop, "state",
				  hop_state_name(state), "worker", live != NULL, "side",
				  json_object_get(facts, "side"), "source",
				  json_object_get(facts, "source"), "destination",
				  json_object_get(facts, "destination"));
	auto_facts known = hop_facts_from_json(facts, NULL, NULL);

	(void)err;
	if (known)
		json_object_set_new(entry, "vm", json_string(known->vm->name));
	if (live)
		json_object_set(entry, "progress", live);
	json_array_append_new(list, entry);
	return 0;
}

static const char *text_of(const json_t *entry, const char *key)
{
	const char *text = json_string_value(json_object_get(entry, key));

	return text ? text : "-";
}

static void print_hops(const json_t *list)
{
	const json_t *entry;
	size_t i;

	if (json_array_size(list) == 0) {
		puts("no hop is under way");
		return;
	}
	printf("%-36s  %-12s %-11s %-9s %s\n", "HOP", "VM", "SIDE", "STATE", "DOING");
	json_array_foreach (list, i, entry) {
		const json_t *progress = json_object_get(entry, "progress");

		printf("%-36s  %-12s %-11s %-9s %s\n", text_of(entry, "hop"), text_of(entry, "vm"),
		       text_of(entry, "side"), text_of(entry, "state"),
		       progress ? text_of(progress, "stage") : "no worker: run `edgehop recover`");
	}
}

int cmd_status(int argc, char **argv)
{
	auto_error why = NULL;
	auto_json list = json_array();
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (strcmp(argv[i], "--watch") == 0 && i + 1 < argc) {
			return attach_to_hop(argv[i + 1], json);
		} else if (strcmp(argv[i], "--help") == 0) {
			fputs(help, stdout);
			return CMD_DONE;
		} else {
			cmd_complain("found \"%s\", expected --json or --watch HOP", argv[i]);
			return CMD_USAGE;
		}
	}
	if (journal_each_open(add_hop, list, &why) < 0)
		return cmd_fail(why);
	if (json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_hops(list);
	}
	return CMD_DONE;
}
