/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "migrate/cmd/cmd.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop stop [--timeout TIME] [--force] VM\n"
	"Asks the guest to power off, and waits until it has.\n"
	"\n"
	"  --timeout TIME  how long it may take (60s); after that it runs on, exit status 1\n"
	"  --force         end it at once, as a power cut does\n";

#define DEFAULT_LIMIT_NS (60 * NS_PER_SEC)

/* 1: it was stopped, 0: it did not run, -1. limit_ns 0: at once. */
static int stop_vm(const char *name, int64_t limit_ns, struct error **err)
{
	auto_vm_def def = vm_store_load(name, err);
	auto_close lock = def ? vm_store_lock(name, err) : -1;
	auto_hv vm = lock >= 0 ? hv_open(def, err) : NULL;
	int status;

	if (!vm)
		return -1;
	if (!hv_alive(vm))
		return 0;
	status = limit_ns ? hv_shut_down(vm, clock_ns() + limit_ns, err) : hv_kill(vm, err);
	return status < 0 ? -1 : 1;
}

int cmd_stop(int argc, char **argv)
{
	static const struct option known[] = {{"force", no_argument, NULL, 'f'},
					      {"timeout", required_argument, NULL, 't'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int64_t limit_ns = DEFAULT_LIMIT_NS;
	auto_error err = NULL;
	int option, stopped;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option == 'f')
			limit_ns = 0;
		else if (option != 't')
			return CMD_USAGE;
		else if (!value_duration(optarg, &limit_ns)) {
			cmd_complain("--timeout: found \"%s\", expected " DURATION_EXPECTED,
				     optarg);
			return CMD_USAGE;
		}
	}
	if (argc - optind != 1) {
		cmd_complain("found %d arguments, expected VM (see --help)", argc - optind);
		return CMD_USAGE;
	}
	stopped = stop_vm(argv[optind], limit_ns, &err);
	if (stopped < 0)
		return cmd_fail(err);
	printf(stopped ? "VM %s is stopped\n" : "VM %s does not run here\n", argv[optind]);
	return CMD_DONE;
}
