/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

void cmd_complain(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("edgehop: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int cmd_fail(const struct error *err)
{
	bool denied = err && (err->code == EACCES || err->code == EPERM) && geteuid() != 0;

	cmd_complain("%s%s", error_text(err), denied ? "; edgehop has to run as root" : "");
	return CMD_FAILED;
}
