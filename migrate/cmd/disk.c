/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "migrate/cmd/cmd.h"
#include "migrate/disk/disk.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/facts.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop disk prepare [--dry-run] VM [DISK]\n"
	"       edgehop disk release [--dry-run] VM [DISK]\n"
	"       edgehop disk up VM\n"
	"       edgehop disk down VM\n"
	"       edgehop disk status [--json] VM\n"
	"Puts a VM's disks on DRBD, so that a hop back copies only what was written since.\n"
	"\n"
	"  prepare      once, while the VM is off; its data stay where they are\n"
	"  release      takes that back; the data stay as they are\n"
	"  up           after a boot: the devices are there, writable if the VM is this host's\n"
	"  down         the devices go; nothing is forgotten\n"
	"  status       devices, roles, connections\n"
	"\n"
	"  --dry-run    say what would be done\n"
	"  --json       as JSON\n";

struct options {
	bool dry, json;
	const char *vm, *disk; /* disk NULL: all */
};

struct target {
	struct vm_def *def;
	size_t index; /* or DISK_ALL */
	int lock;     /* -1: not needed */
};

static void target_cleanup(struct target *target)
{
	vm_def_free(target->def);
	cleanup_close(&target->lock);
}
#define auto_target __attribute__((cleanup(target_cleanup))) struct target

static int open_target(struct target *target, const struct options *options, bool lock,
		       struct error **err)
{
	const struct vm_disk *disk;

	target->def = vm_store_load(options->vm, err);
	if (!target->def)
		return -1;
	if (lock) {
		target->lock = vm_store_lock(options->vm, err);
		if (target->lock < 0)
			return -1;
	}
	if (!options->disk)
		return 0;
	disk = vm_def_disk(target->def, options->disk, err);
	if (!disk)
		return -1;
	target->index = (size_t)(disk - target->def->disks);
	return 0;
}

/* A hypervisor that this host has no driver for can't be asked; what it holds is seen on the disk.
 */
static int require_off(const struct vm_def *def, const char *verb, struct error **err)
{
	auto_hv vm = hv_open(def, NULL);

	if (vm && hv_alive(vm))
		return error_set(err, EBUSY,
				 "VM %s runs: power it off (`edgehop stop %s`), run `edgehop disk "
				 "%s %s`, then start it again; nothing was changed",
				 def->name, def->name, verb, def->name);
	return 0;
}

static int prepare(const struct options *options)
{
	auto_target target = {.index = DISK_ALL, .lock = -1};
	auto_error err = NULL;
	struct owner owner;

	if (open_target(&target, options, true, &err) < 0 ||
	    owner_require_self(options->vm, &owner, &err) < 0 ||
	    require_off(target.def, "prepare", &err) < 0 ||
	    disk_prepare(target.def, target.index, options->dry, &err) < 0)
		return cmd_fail(err);
	return CMD_DONE;
}

/* Also of a VM that is elsewhere: then what goes is the base for its return. */
static int release(const struct options *options)
{
	auto_target target = {.index = DISK_ALL, .lock = -1};
	auto_error err = NULL;

	if (open_target(&target, options, true, &err) < 0 ||
	    require_off(target.def, "release", &err) < 0 ||
	    disk_release(target.def, target.index, options->dry, &err) < 0)
		return cmd_fail(err);
	return CMD_DONE;
}

typedef int disk_action(struct disk *disk, const void *context, struct error **err);

static int each_disk(const struct target *target, disk_action *action, const void *context,
		     struct error **err)
{
	for (size_t i = 0; i < target->def->disk_count; i++) {
		auto_disk disk = NULL;

		if (target->index != DISK_ALL && target->index != i)
			continue;
		disk = disk_open(target->def, i, err);
		if (!disk || action(disk, context, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * context: not NULL when the VM is this host's. No hop is under way, so a connection that there
 * still is goes nowhere.
 */
static int up_one(struct disk *disk, const void *context, struct error **err)
{
	if (disk_is_bare(disk))
		return 0;
	return context ? disk_undo(disk, err) : disk_up(disk, err);
}

static int down_one(struct disk *disk, const void *context, struct error **err)
{
	(void)context;
	return disk_down(disk, err);
}

/* A hop of the VM that is open decides first who has it. */
static int refuse_open_hop(const char *hop, enum hop_state state, const json_t *json, void *context,
			   struct error **err)
{
	const char *vm = context;
	enum hop_side side;
	auto_facts facts = hop_facts_from_json(json, &side, NULL);

	if (!facts || strcmp(facts->vm->name, vm) != 0 || state == HOP_ACCEPTED ||
	    state == HOP_GONE)
		return 0;
	return error_set(err, EBUSY,
			 "VM %s: hop %s is open (%s), `edgehop recover` first; nothing was changed",
			 vm, hop, hop_state_name(state));
}

static int up(const struct options *options)
{
	auto_target target = {.index = DISK_ALL, .lock = -1};
	auto_error err = NULL;
	auto_error not_ours = NULL;
	struct owner owner;
	bool ours;

	if (open_target(&target, options, true, &err) < 0 ||
	    journal_each_open(refuse_open_hop, (void *)options->vm, &err) < 0)
		return cmd_fail(err);
	ours = owner_require_self(options->vm, &owner, &not_ours) == 0;
	if (!ours && not_ours->code != EPERM)
		return cmd_fail(not_ours);
	if (each_disk(&target, up_one, ours ? &owner : NULL, &err) < 0)
		return cmd_fail(err);
	if (!ours)
		printf("%s: its disks can't be written to here\n", error_text(not_ours));
	return CMD_DONE;
}

static int down(const struct options *options)
{
	auto_target target = {.index = DISK_ALL, .lock = -1};
	auto_error err = NULL;

	if (open_target(&target, options, true, &err) < 0 ||
	    each_disk(&target, down_one, NULL, &err) < 0)
		return cmd_fail(err);
	return CMD_DONE;
}

static json_t *status_json(const char *name, const struct disk *disk,
			   const struct disk_status *status)
{
	json_t *object = json_pack("{s:s s:s s:b}", "disk", name, "driver", disk_driver(disk), "up",
				   status->up);

	if (status->device[0])
		json_object_set_new(object, "device", json_string(status->device));
	if (!status->up)
		return object;
	json_object_update_new(
		object, json_pack("{s:s s:s s:s s:s s:s s:I s:I}", "role", status->role, "data",
				  status->data, "link", status->link, "copying", status->copying,
				  "peer_data", status->peer_data, "size", (json_int_t)status->size,
				  "out_of_sync", (json_int_t)status->out_of_sync));
	return object;
}

static void print_status(const char *name, const struct disk *disk,
			 const struct disk_status *status)
{
	char left[UNITS_TEXT];

	printf("%-16s  %-6s  %-32s", name, disk_driver(disk),
	       status->device[0] ? status->device : "-");
	if (!status->device[0])
		printf("  on its file: `edgehop disk prepare` puts it on DRBD\n");
	else if (!status->up)
		printf("  not up\n");
	else
		printf("  %-9s  %-12s  %-11s  %-11s  %s\n", status->role, status->data,
		       status->link, status->copying, units_bytes_text(status->out_of_sync, left));
}

static int status(const struct options *options)
{
	auto_target target = {.index = DISK_ALL, .lock = -1};
	auto_error err = NULL;
	auto_json list = json_array();

	if (open_target(&target, options, false, &err) < 0)
		return cmd_fail(err);
	if (!options->json)
		printf("%-16s  %-6s  %-32s  %-9s  %-12s  %-11s  %-11s  %s\n", "DISK", "DRIVER",
		       "DEVICE", "ROLE", "DATA", "CONNECTION", "COPYING", "LEFT");
	for (size_t i = 0; i < target.def->disk_count; i++) {
		const char *name = target.def->disks[i].name;
		auto_disk disk = NULL;
		struct disk_status now;

		if (target.index != DISK_ALL && target.index != i)
			continue;
		disk = disk_open(target.def, i, &err);
		if (!disk || disk_status(disk, &now, &err) < 0)
			return cmd_fail(err);
		if (options->json)
			json_array_append_new(list, status_json(name, disk, &now));
		else
			print_status(name, disk, &now);
	}
	if (options->json && json_dumpf(list, stdout, JSON_COMPACT) == 0)
		printf("\n");
	return CMD_DONE;
}

static const struct verb {
	const char *name;
	bool dry, json; /* options that it takes */
	int (*run)(const struct options *options);
} verbs[] = {
	{"prepare", true, false, prepare}, {"release", true, false, release},
	{"up", false, false, up},	   {"down", false, false, down},
	{"status", false, true, status},
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	cmd_complain("found \"%s\", expected prepare, release, up, down or status (see --help)",
		     name);
	return NULL;
}

int cmd_disk(int argc, char **argv)
{
	static const struct option known[] = {{"dry-run", no_argument, NULL, 'd'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	struct options options = {0};
	const struct verb *verb;
	int option, words;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option != 'd' && option != 'j')
			return CMD_USAGE;
		*(option == 'd' ? &options.dry : &options.json) = true;
	}
	words = argc - optind;
	if (words < 2 || words > 3) {
		cmd_complain("found %d arguments, expected what to do, VM and perhaps DISK (see "
			     "--help)",
			     words);
		return CMD_USAGE;
	}
	verb = find_verb(argv[optind]);
	if (!verb)
		return CMD_USAGE;
	if ((options.dry && !verb->dry) || (options.json && !verb->json)) {
		cmd_complain("%s: it has no %s (see --help)", verb->name,
			     options.dry ? "--dry-run" : "--json");
		return CMD_USAGE;
	}
	options.vm = argv[optind + 1];
	options.disk = words == 3 ? argv[optind + 2] : NULL;
	return verb->run(&options);
}
