/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static enum log_level threshold = LOG_LEVEL_INFO;
static int log_fd = STDERR_FILENO;
static char hop[40];
static char debug_modules[128];

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	threshold = level;
}

void log_set_fd(int fd)
{
	log_fd = fd;
}

void log_set_hop(const char *uuid)
{
	snprintf(hop, sizeof(hop), "%s%s", uuid ? uuid : "", uuid ? " " : "");
}

void log_set_debug(const char *modules)
{
	snprintf(debug_modules, sizeof(debug_modules), ",%s,", modules ? modules : "");
}

static bool debug_wanted(const char *module)
{
	char key[48];

	if (strcmp(debug_modules, ",all,") == 0)
		return true;
	snprintf(key, sizeof(key), ",%s,", module);
	return strstr(debug_modules, key) != NULL;
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
	static int64_t started;
	int64_t now = clock_ns();
	char line[2048];
	size_t room = sizeof(line) - 1;
	size_t used;
	va_list ap;

	if (!started)
		started = now;
	if (level > threshold && !(level == LOG_LEVEL_DEBUG && debug_wanted(module)))
		return;
	used = (size_t)snprintf(line, room, "[%10.6f] %s %s%s: ", (double)(now - started) / 1e9,
				level_names[level], hop, module);
	va_start(ap, fmt);
	used += (size_t)vsnprintf(line + used, room - used, fmt, ap);
	va_end(ap);
	if (used > room - 1)
		used = room - 1;
	line[used++] = '\n';
	if (write(log_fd, line, used) < 0)
		return; /* nowhere left to complain to */
}
