/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>

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
	cmd_complain("%s", error_text(err));
	return CMD_FAILED;
}
