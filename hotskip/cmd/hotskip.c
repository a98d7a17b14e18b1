/* SPDX-License-Identifier: GPL-2.0-or-later */
/* edgehop-hotskip: the simulator of pre-copy, and the recorder of what it replays. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "hotskip/cmd/cmd.h"

static const struct subcommand {
	const char *name;
	const char *help;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{"simulate", "how long pre-copy takes, by algorithm and bandwidth", cmd_simulate},
	{"record", "write down which pages a running guest writes, and when", cmd_record},
	{"trace", "say what is in such a recording", cmd_trace},
	{"step", "measure one step of the policy on this machine", cmd_step},
};

void cmd_complain(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("edgehop-hotskip: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int cmd_fail(const struct error *err)
{
	cmd_complain("%s", error_text(err));
	return CMD_FAILED;
}

static int print_help(FILE *out)
{
	fprintf(out,
		"usage: edgehop-hotskip COMMAND [ARGUMENT...]\n"
		"What to send next in pre-copy, and when to stop: tried without a network.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		fprintf(out, "  %-8s  %s\n", subcommands[i].name, subcommands[i].help);
	fprintf(out, "\n`edgehop-hotskip COMMAND --help` says more; `edgehop-hotskip --version`.\n"
		     "Exit status: 0 done, 1 failed, 2 usage.\n");
	return out == stdout ? CMD_DONE : CMD_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return print_help(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help(stdout);
	if (strcmp(argv[1], "--version") == 0)
		return printf("edgehop-hotskip " EDGEHOP_VERSION "\n") < 0 ? CMD_FAILED : CMD_DONE;
	for (size_t i = 0; i < ARRAY_SIZE(subcommands); i++)
		if (strcmp(subcommands[i].name, argv[1]) == 0)
			return subcommands[i].run(argc - 1, argv + 1);
	cmd_complain("there is no command \"%s\" (edgehop-hotskip --help)", argv[1]);
	return CMD_USAGE;
}
