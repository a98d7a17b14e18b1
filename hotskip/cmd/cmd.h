/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_CMD_CMD_H
#define HOTSKIP_CMD_CMD_H

#include "common/error.h"

/* The subcommands of edgehop-hotskip, a file each; the table is in hotskip.c. argv[0] is their
 * name. */
enum cmd_status {
	CMD_DONE = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2
};

int cmd_simulate(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_step(int argc, char **argv);

/* "edgehop-hotskip: " and the formatted rest, one line on standard error. */
void cmd_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same with an error's message. Returns CMD_FAILED. */
int cmd_fail(const struct error *err);

#endif
