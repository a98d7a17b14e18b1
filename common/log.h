/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

#include "common/error.h"

/*
 * Logging of a process: one line an event, to standard error or to a file, as
 *     [SECONDS since the process started] LEVEL HOP-UUID module: message
 * Secrets never go in here. Thread-safe: a line is one write().
 */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

void log_set_level(enum log_level level);
void log_set_fd(int fd);	    /* default 2; the caller keeps the descriptor open */
void log_set_hop(const char *uuid); /* stamped on every line from now on; NULL ends that */

/* Turns debugging on for the named modules ("tunnel,relay"), or for "all". */
void log_set_debug(const char *modules);

void log_line(enum log_level level, const char *module, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Each .c file that logs defines LOG_MODULE before it uses these. */
#define log_error(...) log_line(LOG_LEVEL_ERROR, LOG_MODULE, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, LOG_MODULE, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, LOG_MODULE, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, LOG_MODULE, __VA_ARGS__)

#endif
