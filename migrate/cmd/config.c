/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "migrate/cmd/cmd.h"
#include "migrate/config/fleet.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop config --dump [VM] | --check [FILE]\n"
	"\n"
	"  --dump   the fleet, or the definition of VM, with all defaults, as YAML\n"
	"  --check  can the fleet's configuration and all VMs of this host be read, and do they "
	"fit\n"
	"           together? or can FILE, a VM's definition?\n";

static int dump(const char *vm)
{
	auto_error err = NULL;

	if (vm) {
		auto_vm_def def = vm_store_load(vm, &err);

		if (!def)
			return cmd_fail(err);
		vm_def_dump(def, stdout);
	} else {
		auto_fleet fleet = fleet_load(NULL, &err);

		if (!fleet)
			return cmd_fail(err);
		fleet_dump(fleet, stdout);
	}
	return CMD_DONE;
}

/* The VM's definition can be read, and fits this host and the fleet; self and fleet, or neither. */
static int check_vm(const char *name, const struct fleet *fleet, const struct fleet_host *self)
{
	auto_error err = NULL;
	auto_vm_def def = vm_store_load(name, &err);

	if (!def || (self && !vm_def_site(def, self->site, &err)))
		return cmd_fail(err);
	for (size_t i = 0; self && i < def->site_count; i++)
		if (!fleet_site(fleet, def->sites[i].name, &err)) {
			error_wrap(&err, "VM %s", name);
			return cmd_fail(err);
		}
	printf("VM %s: good\n", name);
	return CMD_DONE;
}

static int check_file(const char *path)
{
	auto_error err = NULL;
	auto_vm_def def = vm_def_load(path, &err);

	if (!def)
		return cmd_fail(err);
	printf("%s: good\n", path);
	return CMD_DONE;
}

static void warn_of_file(const struct fleet_host *host, const char *key, const char *path)
{
	/* only root can say whether root may read it */
	if (path && access(path, R_OK) < 0 && (geteuid() == 0 || errno != EACCES))
		cmd_complain("warning: hosts.%s.ssh.%s: %s: %s", host->name, key, path,
			     strerror(errno));
}

/* What the configuration names and this machine has not, or not yet: no mistake in the file. */
static void warn_of_missing(const struct fleet *fleet, const struct fleet_host *self)
{
	for (size_t i = 0; i < self->bridge_count; i++)
		if (if_nametoindex(self->bridges[i].device) == 0)
			cmd_complain("warning: hosts.%s: found no bridge %s on this machine, "
				     "expected it to be there when a VM starts",
				     self->name, self->bridges[i].device);
	for (size_t i = 0; i < fleet->host_count; i++) {
		const struct fleet_host *host = &fleet->hosts[i];

		if (host == self)
			continue;
		warn_of_file(host, "identity", host->ssh.identity);
		warn_of_file(host, "known_hosts", host->ssh.known_hosts);
	}
}

/* Everything there is; each complaint is printed, not only the first. */
static int check_all(void)
{
	auto_error bad_fleet = NULL;
	auto_error bad_list = NULL;
	auto_fleet fleet = fleet_load(NULL, &bad_fleet);
	const struct fleet_host *self = fleet ? fleet_self(fleet, &bad_fleet) : NULL;
	int status = self ? CMD_DONE : cmd_fail(bad_fleet);
	char **names = NULL;
	size_t count = 0;

	if (self) {
		printf("fleet: good; this is host %s at site %s\n", self->name, self->site);
		warn_of_missing(fleet, self);
	}
	if (vm_store_list(&names, &count, &bad_list) < 0)
		return cmd_fail(bad_list);
	for (size_t i = 0; i < count; i++)
		if (check_vm(names[i], fleet, self) != CMD_DONE)
			status = CMD_FAILED;
	vm_store_free_names(names, count);
	return status;
}

int cmd_config(int argc, char **argv)
{
	static const struct option known[] = {{"dump", no_argument, NULL, 'd'},
					      {"check", no_argument, NULL, 'c'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int option, wanted = 0;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == '?')
			return CMD_USAGE;
		wanted = option;
	}
	if (!wanted || argc - optind > 1) {
		cmd_complain("expected --dump [VM] or --check [FILE] (see --help)");
		return CMD_USAGE;
	}
	if (wanted == 'd')
		return dump(argv[optind]);
	return argv[optind] ? check_file(argv[optind]) : check_all();
}
