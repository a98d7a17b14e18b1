/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"
#include "migrate/cmd/cmd.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop stop [--timeout TIME] [--force] VM\n"
	"       edgehop stop [--timeout TIME] [--force] --all\n"
	"Asks the guest to power off, and waits until it has.\n"
	"\n"
	"  --all           all VMs that run on this host, side by side\n"
	"  --timeout TIME  how long it may take (60s); after that it runs on, exit status 1\n"
	"  --force         end it at once, as a power cut does; with --timeout, when time is up\n";

#define DEFAULT_LIMIT_NS (60 * NS_PER_SEC)

struct options {
	int64_t limit_ns; /* 0: don't ask the guest */
	bool force, all;
};

/* 1: it was stopped, 0: it did not run, -1. */
static int stop_vm(const char *name, const struct options *options, struct error **err)
{
	auto_vm_def def = vm_store_load(name, err);
	auto_close lock = def ? vm_store_lock(name, err) : -1;
	auto_hv vm = lock >= 0 ? hv_open(def, err) : NULL;
	struct error *why = NULL;

	if (!vm)
		return -1;
	if (!hv_alive(vm))
		return 0;
	if (options->limit_ns && hv_shut_down(vm, clock_ns() + options->limit_ns, &why) == 0)
		return 1;
	if (why && !options->force)
		return error_propagate(err, why);
	if (why)
		cmd_complain("%s; it is ended now", error_text(why));
	error_free(why);
	return hv_kill(vm, err) < 0 ? -1 : 1;
}

static int stop_one(const char *name, const struct options *options)
{
	auto_error err = NULL;
	int stopped = stop_vm(name, options, &err);

	if (stopped < 0)
		return cmd_fail(err);
	if (stopped || !options->all)
		printf(stopped ? "VM %s is stopped\n" : "VM %s does not run here\n", name);
	return CMD_DONE;
}

/* A process each, so that one guest that takes its time does not keep the others up. */
static int stop_all(const struct options *options)
{
	auto_error err = NULL;
	char **names = NULL;
	size_t count = 0;
	int status = CMD_DONE, ended;

	if (vm_store_list(&names, &count, &err) < 0)
		return cmd_fail(err);
	for (size_t i = 0; i < count; i++) {
		pid_t child;

		fflush(stdout);
		child = fork();
		if (child == 0)
			exit(stop_one(names[i], options));
		if (child < 0)
			status = stop_one(names[i], options) == CMD_DONE ? status : CMD_FAILED;
	}
	vm_store_free_names(names, count);
	while (wait(&ended) > 0 || errno == EINTR)
		if (!WIFEXITED(ended) || WEXITSTATUS(ended) != CMD_DONE)
			status = CMD_FAILED;
	return status;
}

/* Without --timeout, --force does not ask first. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {{"force", no_argument, NULL, 'f'},
					      {"all", no_argument, NULL, 'a'},
					      {"timeout", required_argument, NULL, 't'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int64_t limit_ns = 0;
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 'h':
			fputs(help, stdout);
			exit(CMD_DONE);
		case 'f':
			options->force = true;
			break;
		case 'a':
			options->all = true;
			break;
		case 't':
			if (value_duration(optarg, &limit_ns))
				break;
			cmd_complain("--timeout: found \"%s\", expected " DURATION_EXPECTED,
				     optarg);
			return CMD_USAGE;
		default:
			return CMD_USAGE;
		}
	}
	options->limit_ns = limit_ns || options->force ? limit_ns : DEFAULT_LIMIT_NS;
	return CMD_DONE;
}

int cmd_stop(int argc, char **argv)
{
	struct options options = {0};

	if (parse(argc, argv, &options) != CMD_DONE)
		return CMD_USAGE;
	if (argc - optind != !options.all) {
		cmd_complain("found %d arguments, expected VM, or none with --all (see --help)",
			     argc - optind);
		return CMD_USAGE;
	}
	return options.all ? stop_all(&options) : stop_one(argv[optind], &options);
}
