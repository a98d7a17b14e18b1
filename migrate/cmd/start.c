/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/cmd/cmd.h"
#include "migrate/config/fleet.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/orders.h"
#include "netswitch/tap.h"

static const char help[] =
	"usage: edgehop start [--no-wait] VM\n"
	"       edgehop start --autostart\n"
	"Starts a VM that this host owns, places its vNICs and has its guest agent set the site's\n"
	"addresses, for which it waits up to two minutes.\n"
	"\n"
	"  --no-wait    don't wait for the agent: a process in the background does\n"
	"  --autostart  all VMs that this host owns, whose definition says so, and that don't run "
	"yet\n";

#define AGENT_LIMIT_NS (120 * NS_PER_SEC)

/* What there is to know of a VM that is to be started. */
struct start {
	struct vm_def *def;
	struct owner owner;
	const struct vm_site *site; /* its addresses here */
	const struct fleet_host *self;
	int nic; /* index of the active vNIC */
	int lock;
	struct hv_vm *vm;
};

static void start_cleanup(struct start *start)
{
	hv_close(start->vm);
	vm_def_free(start->def);
	cleanup_close(&start->lock);
}
#define auto_start __attribute__((cleanup(start_cleanup))) struct start

/* Locks the VM and makes sure that it may run here. */
static int prepare(struct start *start, const char *name, const struct fleet *fleet,
		   struct error **err)
{
	start->self = fleet_self(fleet, err);
	if (!start->self)
		return -1;
	start->def = vm_store_load(name, err);
	if (!start->def)
		return -1;
	start->lock = vm_store_lock(name, err);
	if (start->lock < 0 || owner_require_self(name, &start->owner, err) < 0)
		return -1;
	if (strcmp(start->owner.site, start->self->site) != 0)
		return error_set(err, EPERM,
				 "VM %s belongs to site %s by its ownership, this host is at %s",
				 name, start->owner.site, start->self->site);
	start->site = vm_def_site(start->def, start->self->site, err);
	start->nic = start->site ? vm_def_nic(start->def, start->owner.nic, err) : -1;
	if (start->nic < 0)
		return -1;
	start->vm = hv_open(start->def, err);
	return start->vm ? 0 : -1;
}

static int place_taps(const struct start *start, struct error **err)
{
	char tap[DEVICE_NAME_SIZE];

	for (size_t i = 0; i < start->def->nic_count; i++) {
		vm_def_tap(start->def, i, tap);
		if (((int)i == start->nic ? tap_place_active(tap, start->self->bridge, err)
					  : tap_place_idle(tap, err)) < 0)
			return error_wrap(err, "vNIC %s of VM %s", start->def->nics[i].name,
					  start->def->name);
	}
	return 0;
}

static int run_vm(const struct start *start, struct error **err)
{
	if (hv_start(start->vm, err) < 0)
		return -1;
	if (place_taps(start, err) < 0) {
		hv_kill(start->vm, NULL);
		return error_wrap(err, "not started");
	}
	return 0;
}

/* Tells the agent the site's addresses as soon as there is one. */
static int order_addresses(const struct start *start, struct error **err)
{
	char path[PATH_MAX];
	struct orders *orders;
	int status;

	if (vm_store_run_path(path, start->def->name, "agent.sock", err) < 0)
		return -1;
	orders = orders_open(path, err);
	if (!orders)
		return -1;
	status = orders_address(orders, start->def->nics[start->nic].mac, start->site->addresses,
				start->site->address_count, clock_ns() + AGENT_LIMIT_NS, err);
	orders_close(orders);
	if (status < 0)
		return error_wrap(err, "VM %s runs, but its agent did not set the site's addresses",
				  start->def->name);
	return 0;
}

/* In a child that nobody waits for. */
static int order_addresses_later(const struct start *start, struct error **err)
{
	auto_error why = NULL;
	char path[PATH_MAX];
	pid_t child;
	int log;

	if (vm_store_run_path(path, start->def->name, "start.log", err) < 0)
		return -1;
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log < 0)
		return error_errno(err, "%s", path);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		setsid();
		dup2(log, 0);
		dup2(log, 1);
		dup2(log, 2);
		_exit(order_addresses(start, &why) < 0 ? cmd_fail(why) : CMD_DONE);
	}
	close(log);
	return child < 0 ? error_errno(err, "fork") : 0;
}

/* The lock and the hypervisor's ear. */
static void give_back(struct start *start)
{
	hv_close(start->vm);
	start->vm = NULL;
	close(start->lock);
	start->lock = -1;
}

static int start_one(const char *name, const struct fleet *fleet, bool wait)
{
	auto_start start = {.lock = -1};
	auto_error err = NULL;

	if (prepare(&start, name, fleet, &err) < 0 || run_vm(&start, &err) < 0)
		return cmd_fail(err);
	/* It runs. While the agent is awaited others may stop or move it. */
	give_back(&start);
	if ((wait ? order_addresses(&start, &err) : order_addresses_later(&start, &err)) < 0)
		return cmd_fail(err);
	printf("VM %s runs, vNIC %s\n", name, start.def->nics[start.nic].name);
	return CMD_DONE;
}

/* Ours, wanted, and not there yet? */
static bool is_due(const char *name)
{
	auto_vm_def def = vm_store_load(name, NULL);
	auto_hv vm = def && def->autostart ? hv_open(def, NULL) : NULL;
	struct owner owner;

	return vm && !hv_alive(vm) && owner_require_self(name, &owner, NULL) == 0;
}

static int start_all(const struct fleet *fleet)
{
	auto_error err = NULL;
	int status = CMD_DONE;
	char **names = NULL;
	size_t count = 0;

	if (vm_store_list(&names, &count, &err) < 0)
		return cmd_fail(err);
	for (size_t i = 0; i < count; i++)
		if (is_due(names[i]) && start_one(names[i], fleet, false) != CMD_DONE)
			status = CMD_FAILED;
	vm_store_free_names(names, count);
	return status;
}

int cmd_start(int argc, char **argv)
{
	static const struct option known[] = {{"no-wait", no_argument, NULL, 'n'},
					      {"autostart", no_argument, NULL, 'a'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	bool wait = true, all = false;
	auto_fleet fleet = NULL;
	auto_error err = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == '?')
			return CMD_USAGE;
		wait = wait && option != 'n';
		all = all || option == 'a';
	}
	if (argc - optind != !all) {
		cmd_complain("found %d arguments, expected VM or --autostart (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	fleet = fleet_load(NULL, &err);
	if (!fleet)
		return cmd_fail(err);
	return all ? start_all(fleet) : start_one(argv[optind], fleet, wait);
}
