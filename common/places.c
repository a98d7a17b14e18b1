/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int place(char buf[PATH_MAX], struct error **err, const char *fmt, ...)
{
	const char *root = getenv("EDGEHOP_ROOT");
	va_list ap;
	int used, n;

	used = snprintf(buf, PATH_MAX, "%s", root ? root : "");
	if (used >= PATH_MAX)
		return error_set(err, ENAMETOOLONG, "EDGEHOP_ROOT: longer than %d bytes", PATH_MAX);
	va_start(ap, fmt);
	n = vsnprintf(buf + used, (size_t)(PATH_MAX - used), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= PATH_MAX - used)
		return error_set(err, ENAMETOOLONG, "%.64s...: longer than %d bytes", buf,
				 PATH_MAX);
	return 0;
}
