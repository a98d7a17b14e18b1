/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CMD_CMD_H
#define MIGRATE_CMD_CMD_H

#include "common/error.h"

/* What every command's exit status means. */
enum cmd_status {
	CMD_DONE = 0,
	CMD_FAILED = 1, /* and nothing changed */
	CMD_USAGE = 2,
	CMD_RECOVER = 3 /* `edgehop recover` is needed */
};

/*
 * The subcommands of edgehop, a file each; the table is in edgehop.c. argv[0] is "edgehop: "
 * and the subcommand's name. Each takes --help and returns an exit status.
 */
int cmd_define(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_abort(int argc, char **argv);
int cmd_limit(int argc, char **argv);
int cmd_release(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_disk(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_complete(int argc, char **argv);
int cmd_serve(int argc, char **argv);

/* "edgehop: " and the formatted rest, one line on standard error. */
void cmd_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* The same with an error's message. Returns CMD_FAILED. */
int cmd_fail(const struct error *err);

#endif
