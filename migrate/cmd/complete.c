/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/history.h"
#include "migrate/hop/hops.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop complete vms|sites|hosts|hops|past\n"
	"Names that there are, one a line, for a shell's completion. Not for people.\n";

/* What can't be read has no names: a completion is no place for errors. */

static void print_vms(void)
{
	char **names = NULL;
	size_t count = 0;

	if (vm_store_list(&names, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		puts(names[i]);
	vm_store_free_names(names, count);
}

static void print_sites(void)
{
	auto_fleet fleet = fleet_load(NULL, NULL);

	for (size_t i = 0; fleet && i < fleet->site_count; i++)
		puts(fleet->sites[i].name);
}

static void print_hosts(void)
{
	auto_fleet fleet = fleet_load(NULL, NULL);

	for (size_t i = 0; fleet && i < fleet->host_count; i++)
		puts(fleet->hosts[i].name);
}

static void print_list(const json_t *list)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		const char *vm = json_string_value(json_object_get(entry, "vm"));
		char name[NAME_SIZE];

		puts(json_string_value(json_object_get(entry, "hop")));
		if (vm && value_name(vm, name)) /* a shell expands what it is offered */
			puts(name);
	}
}

static void print_hops(void)
{
	auto_json list = hops_open(NULL);

	print_list(list);
}

static void print_past(void)
{
	auto_json list = history_list(NULL, 0, NULL);

	print_list(list);
}

int cmd_complete(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} kinds[] = {{"vms", print_vms},
		     {"sites", print_sites},
		     {"hosts", print_hosts},
		     {"hops", print_hops},
		     {"past", print_past}};

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(argv[1], kinds[i].name) == 0) {
			kinds[i].print();
			return CMD_DONE;
		}
	cmd_complain("complete: expected vms, sites, hosts, hops or past");
	return CMD_USAGE;
}
