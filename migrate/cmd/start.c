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
#include "migrate/disk/disk.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/orders.h"
#include "netswitch/tap.h"

static const char help[] =
	"usage: edgehop start [--no-wait] VM\n"
	"       edgehop start --all | --autostart\n"
	"Starts a VM that this host owns, places its vNICs and has its guest agent (if the VM has\n"
	"one) set the site's addresses, for which it waits up to two minutes. A VM that runs "
	"already\n"
	"is left alone, but its agent is told the addresses again.\n"
	"\n"
	"  --no-wait    don't wait for the agent: a process in the background does\n"
	"  --all        all VMs that this host owns and that don't run yet; implies --no-wait\n"
	"  --autostart  the same, but only those whose definition says so\n";

#define AGENT_LIMIT_NS (120 * NS_PER_SEC)
#define AGAIN_MS       1000

/* What there is to know of a VM that is to be started. */
struct start {
	struct vm_def *def;
	struct owner owner;
	const struct vm_site *site; /* its addresses here */
	const struct fleet_host *self;
	bool active[VM_NICS_MOST]; /* by index of the vNIC */
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

/* The active vNIC of each network: the ownership's, or the first where that tells none. */
static int choose_nics(struct start *start, struct error **err)
{
	char networks[VM_NICS_MOST][NAME_SIZE];
	size_t count = vm_def_networks(start->def, networks);

	for (size_t i = 0; i < count; i++) {
		const char *name = owner_nic(&start->owner, networks[i]);
		int nic = 0;

		if (!fleet_bridge(start->self, networks[i], err))
			return error_wrap(err, "VM %s", start->def->name);
		while (!name && strcmp(start->def->nics[nic].network, networks[i]) != 0)
			nic++;
		if (name)
			nic = vm_def_nic(start->def, name, err);
		if (nic < 0)
			return -1;
		start->active[nic] = true;
	}
	return 0;
}

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
	start->site = vm_def_site(start->def, start->self->site, start->def->agent ? err : NULL);
	if ((start->def->agent && !start->site) || choose_nics(start, err) < 0)
		return -1;
	start->vm = hv_open(start->def, err);
	return start->vm ? 0 : -1;
}

static int place_taps(const struct start *start, struct error **err)
{
	char tap[DEVICE_NAME_SIZE];

	for (size_t i = 0; i < start->def->nic_count; i++) {
		const char *network = start->def->nics[i].network;

		vm_def_tap(start->def, i, tap);
		if ((start->active[i]
			     ? tap_place_active(tap, fleet_bridge(start->self, network, NULL), err)
			     : tap_place_idle(tap, err)) < 0)
			return error_wrap(err, "vNIC %s of VM %s", start->def->nics[i].name,
					  start->def->name);
	}
	return 0;
}

/* Started anew a VM without an agent has what its site gives it: it is at home here. */
static int settle_home(const struct start *start, struct error **err)
{
	struct owner owner = start->owner;

	owner.home[0] = '\0';
	return start->owner.home[0] ? owner_write(start->def->name, &owner, err) : 0;
}

/* Its disks are there, as they are not after a boot, and whole. */
static int own_disks(const struct vm_def *def, struct error **err)
{
	for (size_t i = 0; i < def->disk_count; i++) {
		auto_disk disk = disk_open(def, i, err);

		if (!disk || disk_up(disk, err) < 0 || disk_own(disk, err) < 0)
			return -1;
	}
	return 0;
}

static int run_vm(const struct start *start, struct error **err)
{
	if (own_disks(start->def, err) < 0 || hv_start(start->vm, err) < 0)
		return -1;
	if (settle_home(start, err) < 0 || place_taps(start, err) < 0) {
		hv_kill(start->vm, NULL);
		return error_wrap(err, "not started");
	}
	return 0;
}

/* The guest's default route is that of the first network which has a gateway at the site. */
static bool has_gateway(const struct vm_site *site, const char *network)
{
	struct ip_config list[VM_ADDRESSES_MOST];
	size_t n = vm_site_addresses(site, network, list);

	for (size_t i = 0; i < n; i++)
		if (list[i].gateway.family)
			return true;
	return vm_site_dhcp(site, network);
}

/* One vNIC's addresses. A DHCP server that is slow is asked for as long as the agent is. */
static int order_nic(struct orders *orders, const struct start *start, size_t nic, bool beside,
		     int64_t deadline_ns, struct error **err)
{
	const struct vm_nic *n = &start->def->nics[nic];
	struct ip_config list[VM_ADDRESSES_MOST];
	const struct guest_wants wants = {
		.list = list,
		.n = vm_site_addresses(start->site, n->network, list),
		.dhcp = vm_site_dhcp(start->site, n->network),
		.beside = beside,
	};

	if (wants.n == 0 && !wants.dhcp)
		return 0;
	for (;;) {
		struct error *why = NULL;

		if (orders_address(orders, n->mac, &wants, NULL, deadline_ns, &why) == 0)
			return 0;
		if (why->code != EAGAIN || clock_ns() + AGAIN_MS * NS_PER_MS > deadline_ns)
			return error_propagate(err, why);
		error_free(why);
		clock_sleep_ms(AGAIN_MS);
	}
}

static int order_nics(struct orders *orders, const struct start *start, struct error **err)
{
	int64_t deadline_ns = clock_ns() + AGENT_LIMIT_NS;
	bool main_given = false;

	for (size_t i = 0; i < start->def->nic_count; i++) {
		bool gateway =
			start->active[i] && has_gateway(start->site, start->def->nics[i].network);

		if (start->active[i] &&
		    order_nic(orders, start, i, main_given || !gateway, deadline_ns, err) < 0)
			return error_wrap(err, "vNIC %s", start->def->nics[i].name);
		main_given = main_given || gateway;
	}
	return 0;
}

/* Tells the agent the site's addresses as soon as there is one. */
static int order_addresses(const struct start *start, struct error **err)
{
	char path[PATH_MAX];
	struct orders *orders;
	int status;

	if (!start->def->agent)
		return 0;

	if (vm_store_run_path(path, start->def->name, "agent.sock", err) < 0)
		return -1;
	orders = orders_open(path, err);
	if (!orders)
		return -1;
	status = order_nics(orders, start, err);
	orders_close(orders);
	return status;
}

/* The VM runs, so that nothing has failed; but it can't be reached at its addresses. */
static void warn_no_addresses(const struct start *start, const struct error *why)
{
	cmd_complain(
		"warning: VM %s runs, but its agent did not set the site's addresses (%s): see "
		"that edgehop-guest runs in the guest, then `edgehop start %s` tells it again",
		start->def->name, error_text(why), start->def->name);
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
		if (order_addresses(start, &why) < 0)
			warn_no_addresses(start, why);
		_exit(CMD_DONE);
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

static void print_nics(const struct start *start, bool ran)
{
	bool first = true;

	printf("VM %s runs%s", start->def->name, ran ? " already" : "");
	for (size_t i = 0; i < start->def->nic_count; i++) {
		if (start->active[i])
			printf("%s %s", first ? ", vNIC" : " and", start->def->nics[i].name);
		first = first && !start->active[i];
	}
	printf("\n");
}

static int start_one(const char *name, const struct fleet *fleet, bool wait)
{
	auto_start start = {.lock = -1};
	auto_error err = NULL;
	bool ran;

	if (prepare(&start, name, fleet, &err) < 0)
		return cmd_fail(err);
	ran = hv_alive(start.vm);
	if (!ran && run_vm(&start, &err) < 0)
		return cmd_fail(err);
	/* It runs. While the agent is awaited others may stop or move it. */
	give_back(&start);
	print_nics(&start, ran);
	fflush(stdout);
	if ((wait ? order_addresses(&start, &err) : order_addresses_later(&start, &err)) < 0)
		warn_no_addresses(&start, err);
	return CMD_DONE;
}

enum wanted {
	WANT_ONE,
	WANT_AUTOSTART,
	WANT_ALL
};

/* Ours, wanted, and not there yet? */
static bool is_due(const char *name, enum wanted wanted)
{
	auto_vm_def def = vm_store_load(name, NULL);
	auto_hv vm = def && (def->autostart || wanted == WANT_ALL) ? hv_open(def, NULL) : NULL;
	struct owner owner;

	return vm && !hv_alive(vm) && owner_require_self(name, &owner, NULL) == 0;
}

static int start_all(const struct fleet *fleet, enum wanted wanted)
{
	auto_error err = NULL;
	int status = CMD_DONE;
	char **names = NULL;
	size_t count = 0;

	if (vm_store_list(&names, &count, &err) < 0)
		return cmd_fail(err);
	for (size_t i = 0; i < count; i++)
		if (is_due(names[i], wanted) && start_one(names[i], fleet, false) != CMD_DONE)
			status = CMD_FAILED;
	vm_store_free_names(names, count);
	return status;
}

int cmd_start(int argc, char **argv)
{
	static const struct option known[] = {{"no-wait", no_argument, NULL, 'n'},
					      {"autostart", no_argument, NULL, 'a'},
					      {"all", no_argument, NULL, 'A'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	enum wanted wanted = WANT_ONE;
	bool wait = true;
	auto_fleet fleet = NULL;
	auto_error err = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == '?')
			return CMD_USAGE;
		if (option == 'n')
			wait = false;
		else if (wanted != WANT_ALL)
			wanted = option == 'A' ? WANT_ALL : WANT_AUTOSTART;
	}
	if (argc - optind != (wanted == WANT_ONE)) {
		cmd_complain("found %d arguments, expected VM, or none with --all or --autostart "
			     "(see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	fleet = fleet_load(NULL, &err);
	if (!fleet)
		return cmd_fail(err);
	return wanted == WANT_ONE ? start_one(argv[optind], fleet, wait) : start_all(fleet, wanted);
}
