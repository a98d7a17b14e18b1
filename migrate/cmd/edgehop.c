/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front: finds the subcommand, or the program edgehop-NAME, as git does. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/cmd/cmd.h"
#include "migrate/config/yaml.h"

static const struct subcommand {
	const char *name;
	const char *help; /* one line; NULL: not for people */
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{"define", "take a VM in: its definition and its disks are copied", cmd_define},
	{"start", "start a VM that this host owns, or all that start by themselves", cmd_start},
	{"stop", "power a VM off", cmd_stop},
	{"list", "the VMs of this host, whose they are and whether they run", cmd_list},
	{"check", "say whether a VM could hop to a site, and how long it would take", cmd_check},
	{"migrate", "move a running VM to another site", cmd_migrate},
	{"status", "hops that are under way", cmd_status},
	{"history", "hops that are over, and their reports", cmd_history},
	{"abort", "end a hop; the VM runs on where it is", cmd_abort},
	{"limit", "change the limits of a hop that runs", cmd_limit},
	{"release", "give a moved VM's old address up, and end its tunnel", cmd_release},
	{"recover", "bring an interrupted hop to its end", cmd_recover},
	{"disk", "put a VM's disks on DRBD, or take them off it", cmd_disk},
	{"config", "show the configuration in force, or check it", cmd_config},
	{"complete", NULL, cmd_complete},
	{"serve", NULL, cmd_serve},
};

static int print_help(FILE *out)
{
	fprintf(out,
		"usage: edgehop [--debug MODULES] COMMAND [ARGUMENT...]\n"
		"Moves running virtual machines between sites; their connections stay up.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (subcommands[i].help)
			fprintf(out, "  %-8s  %s\n", subcommands[i].name, subcommands[i].help);
	fprintf(out,
		"\n`edgehop COMMAND --help` says more; `edgehop --version`.\n"
		"Exit status: 0 done, 1 failed and nothing changed, 2 usage, 3 recover needed.\n");
	return out == stdout ? CMD_DONE : CMD_USAGE;
}

/* Becomes edgehop-NAME, or says that there is no such command. */
static int run_program(const char *name, char **argv)
{
	const char *names[ARRAY_SIZE(subcommands)];
	const char *nearest;
	char program[128];

	if (snprintf(program, sizeof(program), "edgehop-%s", name) < (int)sizeof(program) &&
	    !strchr(name, '/')) {
		argv[0] = program;
		execvp(program, argv);
		if (errno != ENOENT) {
			cmd_complain("%s: %s", program, strerror(errno));
			return CMD_FAILED;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		names[i] = subcommands[i].name;
	nearest = yaml_nearest(name, names, ARRAY_SIZE(names));
	cmd_complain("there is no command \"%s\"%s%s%s (edgehop --help)", name,
		     nearest ? ", perhaps \"" : "", nearest ? nearest : "", nearest ? "\"" : "");
	return CMD_USAGE;
}

int main(int argc, char **argv)
{
	static char called[32];

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_WARN);
	if (argc == 2 && strcmp(argv[1], "--debug") == 0) {
		cmd_complain("--debug: found nothing, expected MODULES, such as all, and a COMMAND "
			     "(edgehop --help)");
		return CMD_USAGE;
	}
	if (argc > 2 && strcmp(argv[1], "--debug") == 0) {
		log_set_debug(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (argc < 2)
		return print_help(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help(stdout);
	if (strcmp(argv[1], "--version") == 0)
		return printf("edgehop " EDGEHOP_VERSION "\n") < 0 ? CMD_FAILED : CMD_DONE;
	argc--;
	argv++;
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (strcmp(subcommands[i].name, argv[0]) == 0) {
			snprintf(called, sizeof(called), "edgehop: %s", argv[0]);
			argv[0] = called; /* getopt's complaints begin with it */
			return subcommands[i].run(argc, argv);
		}
	return run_program(argv[0], argv);
}
