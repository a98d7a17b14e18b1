/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/log.h"
#include "migrate/xen/run.h"

static const char usage[] =
	"usage: edgehop-xen run [--incoming | --adopt] [--debug MODULES] VM\n"
	"       edgehop-xen host\n"
	"Carries a VM that is a Xen domain, for edgehop, which starts it: nothing to be run by "
	"hand.\n"
	"  run              build the VM's domain and stay until it ends\n"
	"    --incoming     wait for it to come from another host\n"
	"    --adopt        take over the domain that runs\n"
	"    --debug MODULES  say more: domain, stream, server, agent, libxl, or all\n"
	"  host             print what this host's Xen can do, as JSON\n";

static int fail(const struct error *err)
{
	fprintf(stderr, "edgehop-xen: %s\n", error_text(err));
	return 1;
}

static int cmd_run(int argc, char **argv)
{
	static const struct option known[] = {{"incoming", no_argument, NULL, 'i'},
					      {"adopt", no_argument, NULL, 'a'},
					      {"debug", required_argument, NULL, 'd'},
					      {0}};
	enum run_mode mode = RUN_START;
	auto_error err = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == '?')
			return 2;
		if (option == 'd')
			log_set_debug(optarg);
		else
			mode = option == 'i' ? RUN_INCOMING : RUN_ADOPT;
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return 2;
	}
	return run_vm(argv[optind], mode, &err) < 0 ? fail(err) : 0;
}

int main(int argc, char **argv)
{
	auto_error err = NULL;

	/* A client or a stream that goes away is an error where it is written to. */
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return cmd_run(argc - 1, argv + 1);
	if (argc == 2 && strcmp(argv[1], "host") == 0)
		return run_host(&err) < 0 ? fail(err) : 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return puts("edgehop-xen " EDGEHOP_VERSION) < 0;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return 2;
}
