/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "common/uuid.h"
#include "migrate/cmd/cmd.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"

static const char help[] = "usage: edgehop list [--json]\n"
			   "The VMs that this host has, whose they are and whether they run. STATE "
			   "busy: a start, a hop\n"
			   "or a recovery works on it (`edgehop status`).\n"
			   "\n"
			   "  --json  as JSON, see edgehop-json(7)\n";

/* A VM's line. What can't be read is told as the state, so that one bad VM hides no other. */
struct entry {
	struct vm_def *def; /* NULL: see problem */
	struct owner owner; /* epoch 0: not known */
	bool here;	    /* owned by this host */
	const char *state;
	char *problem;
};

/* Who works on it (a start, a hop) also holds the hypervisor's ear, so it is not asked then. */
static const char *find_state(const struct vm_def *def)
{
	auto_hv vm = hv_open(def, NULL);
	enum hv_state state;

	if (!vm)
		return "unknown";
	if (vm_store_busy(def->name))
		return hv_alive(vm) ? "busy" : "changing";
	if (hv_state(vm, &state, NULL) < 0)
		return "unknown";
	return state == HV_ABSENT ? "stopped" : hv_state_name(state);
}

static void fill_entry(struct entry *entry, const char *name, const char *self)
{
	auto_error err = NULL;

	entry->state = "unknown";
	entry->def = vm_store_load(name, &err);
	if (entry->def)
		entry->state = find_state(entry->def);
	if (entry->def && owner_read(name, &entry->owner, &err) == 0)
		entry->here = strcmp(entry->owner.host, self) == 0;
	if (err)
		entry->problem = strdup(err->message);
}

/* "nics": the active vNIC of each network; "nic": that of the first, as there once was only one. */
static json_t *owner_json(const struct entry *entry)
{
	const struct owner *owner = &entry->owner;
	json_t *nics = json_object();

	for (size_t i = 0; i < owner->nic_count; i++)
		json_object_set_new(nics, owner->nics[i].network, json_string(owner->nics[i].nic));
	return json_pack("{s:s s:b s:I s:s s:s s:o}", "owner", owner->host, "here", entry->here,
			 "epoch", (json_int_t)owner->epoch, "site", owner->site, "nic",
			 owner->nic_count ? owner->nics[0].nic : "", "nics", nics);
}

static json_t *entry_json(const char *name, const struct entry *entry)
{
	const struct owner *owner = &entry->owner;
	json_t *object = json_pack("{s:s s:s}", "name", name, "state", entry->state);

	if (entry->def)
		json_object_update_new(object,
				       json_pack("{s:s s:I s:i s:b}", "uuid", entry->def->uuid,
						 "memory", (json_int_t)entry->def->memory, "vcpus",
						 (int)entry->def->vcpus, "autostart",
						 entry->def->autostart));
	if (owner->epoch)
		json_object_update_new(object, owner_json(entry));
	if (*owner->host_name)
		json_object_set_new(object, "owner_name", json_string(owner->host_name));
	if (entry->problem)
		json_object_set_new(object, "problem", json_string(entry->problem));
	return object;
}

static void print_entry(const char *name, const struct entry *entry, int width)
{
	char memory[UNITS_TEXT];
	const struct owner *owner = &entry->owner;

	printf("%-*s  %-8s", width, name, entry->state);
	if (entry->def)
		printf("  %7s  %5u", units_bytes_exact(entry->def->memory, memory),
		       entry->def->vcpus);
	if (owner->epoch)
		printf("  %-16s  %5llu  %s", owner->site, (unsigned long long)owner->epoch,
		       entry->here	   ? "this host"
		       : *owner->host_name ? owner->host_name
					   : owner->host);
	if (entry->problem)
		printf("  %s", entry->problem);
	printf("\n");
}

static void print_all(char **names, struct entry *entries, size_t count)
{
	int width = 4;

	for (size_t i = 0; i < count; i++)
		if ((int)strlen(names[i]) > width)
			width = (int)strlen(names[i]);
	printf("%-*s  %-8s  %7s  %5s  %-16s  %5s  %s\n", width, "NAME", "STATE", "MEMORY", "VCPUS",
	       "SITE", "EPOCH", "OWNER");
	for (size_t i = 0; i < count; i++)
		print_entry(names[i], &entries[i], width);
}

static void print_all_json(char **names, struct entry *entries, size_t count)
{
	auto_json list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, entry_json(names[i], &entries[i]));
	json_dumpf(list, stdout, JSON_COMPACT);
	printf("\n");
}

static int list(bool json)
{
	auto_error err = NULL;
	struct entry *entries;
	char self[UUID_SIZE], **names = NULL;
	size_t count = 0;

	if (uuid_of_host(self, &err) < 0 || vm_store_list(&names, &count, &err) < 0)
		return cmd_fail(err);
	entries = calloc(count + 1, sizeof(*entries));
	for (size_t i = 0; entries && i < count; i++)
		fill_entry(&entries[i], names[i], self);
	if (entries && json)
		print_all_json(names, entries, count);
	else if (entries)
		print_all(names, entries, count);
	for (size_t i = 0; entries && i < count; i++) {
		vm_def_free(entries[i].def);
		free(entries[i].problem);
	}
	free(entries);
	vm_store_free_names(names, count);
	return entries ? CMD_DONE : CMD_FAILED;
}

int cmd_list(int argc, char **argv)
{
	static const struct option known[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option != 'j')
			return CMD_USAGE;
		json = true;
	}
	if (argc != optind) {
		cmd_complain("found \"%s\", expected no arguments (see --help)", argv[optind]);
		return CMD_USAGE;
	}
	return list(json);
}
