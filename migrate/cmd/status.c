/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/uuid.h"
#include "migrate/cmd/attach.h"
#include "migrate/hop/hops.h"

static const char help[] =
	"usage: edgehop status [--json] [VM|HOP]\n"
	"       edgehop status --watch [--json] [VM|HOP]\n"
	"The hops of this host that are under way or need `edgehop recover`; or all that is known "
	"of\n"
	"one. HOP is its UUID or the first characters of it.\n"
	"\n"
	"  --watch  follow the hop until its end, and exit as `edgehop migrate` does; without VM "
	"or HOP\n"
	"           the only one that runs\n"
	"  --json   as JSON, see edgehop-json(7)\n";

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

static bool is_final(const char *state)
{
	return strcmp(state, "DONE") == 0 || strcmp(state, "UNDONE") == 0;
}

static void print_worker(const json_t *entry)
{
	const json_t *progress = json_object_get(entry, "progress");

	if (progress) {
		printf("  worker:  lives; ");
		attach_print_progress(progress, true, stdout);
		putchar('\n');
	} else if (json_object_get(entry, "end") || is_final(text_of(entry, "state"))) {
		printf("  worker:  has ended\n");
	} else {
		printf("  worker:  none: run `edgehop recover`\n");
	}
}

static void print_hop(const json_t *entry)
{
	const json_t *end = json_object_get(entry, "end");
	const json_t *record;
	size_t i;

	printf("hop %s: %s, %s (%s) -> %s (%s): %s\n", text_of(entry, "hop"), text_of(entry, "vm"),
	       text_of(entry, "from"), text_of(entry, "source"), text_of(entry, "to"),
	       text_of(entry, "destination"), text_of(entry, "state"));
	printf("  side:    %s\n", text_of(entry, "side"));
	print_worker(entry);
	json_array_foreach (json_object_get(entry, "journal"), i, record)
		printf("  %s  %s  %s\n", i ? "        " : "journal:", text_of(record, "time"),
		       text_of(record, "state"));
	if (end)
		printf("  end:     exit status %d%s%s\n",
		       (int)json_integer_value(json_object_get(end, "status")),
		       json_object_get(end, "error") ? ", " : "",
		       json_object_get(end, "error") ? text_of(end, "error") : "");
	if (json_object_get(entry, "log"))
		printf("  log:     %s\n", text_of(entry, "log"));
}

static int show(const json_t *what, bool json, void (*print)(const json_t *what))
{
	if (json) {
		json_dumpf(what, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(what);
	}
	return CMD_DONE;
}

static int status_of_all(bool json)
{
	auto_error why = NULL;
	auto_json list = hops_open(&why);

	if (json || !why || json_array_size(list) > 0)
		show(list, json, print_hops);
	return why ? cmd_fail(why) : CMD_DONE;
}

static int status_of_one(const char *what, bool json)
{
	auto_error why = NULL;
	char hop[UUID_SIZE];
	auto_json entry = hops_find(what, hop, &why) == 0 ? hops_describe(hop, &why) : NULL;

	return entry ? show(entry, json, print_hop) : cmd_fail(why);
}

/* The only hop whose worker lives. */
static int find_running(char hop[UUID_SIZE])
{
	auto_json list = hops_open(NULL);
	const json_t *entry;
	size_t count = 0, i;

	json_array_foreach (list, i, entry)
		if (json_is_true(json_object_get(entry, "worker"))) {
			memcpy(hop, text_of(entry, "hop"), UUID_SIZE);
			count++;
		}
	if (count == 1)
		return CMD_DONE;
	cmd_complain("--watch: found %zu hops that run, expected VM or HOP, or one that runs",
		     count);
	return CMD_FAILED;
}

static int watch(const char *what, bool json)
{
	auto_error why = NULL;
	char hop[UUID_SIZE];
	int status = CMD_DONE;

	if (!what)
		status = find_running(hop);
	else if (hops_find(what, hop, &why) < 0)
		status = cmd_fail(why);
	return status == CMD_DONE ? attach_to_hop(hop, false, json) : status;
}

int cmd_status(int argc, char **argv)
{
	static const struct option known[] = {{"json", no_argument, NULL, 'j'},
					      {"watch", no_argument, NULL, 'w'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	bool json = false, wanted = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == '?')
			return CMD_USAGE;
		json = json || option == 'j';
		wanted = wanted || option == 'w';
	}
	if (argc - optind > 1) {
		cmd_complain("found %d arguments, expected VM or HOP or none (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	if (wanted)
		return watch(argv[optind], json);
	return argv[optind] ? status_of_one(argv[optind], json) : status_of_all(json);
}
