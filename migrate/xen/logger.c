/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/xen/logger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "libxl"
#include "common/log.h"

struct logger {
	struct xentoollog_logger libxl; /* first: libxl hands its address back */
	logger_progress *progress;
	void *arg;
	char complaint[200];
};

static enum log_level level_of(xentoollog_level level)
{
	if (level >= XTL_ERROR)
		return LOG_LEVEL_ERROR;
	if (level >= XTL_WARN)
		return LOG_LEVEL_WARN;
	return level >= XTL_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

__attribute__((format(printf, 5, 0))) static void say(struct xentoollog_logger *libxl,
						      xentoollog_level level, int error,
						      const char *context, const char *format,
						      va_list list)
{
	struct logger *logger = (struct logger *)libxl;
	char text[512];

	if (level < XTL_DEBUG)
		return;
	vsnprintf(text, sizeof(text), format, list);
	text[strcspn(text, "\n")] = '\0';
	log_line(level_of(level), LOG_MODULE, "%s: %s%s%s", context ? context : "xen", text,
		 error >= 0 ? ": " : "", error >= 0 ? strerror(error) : "");
	if (level >= XTL_ERROR && !*logger->complaint)
		snprintf(logger->complaint, sizeof(logger->complaint), "%.160s%s%.30s", text,
			 error >= 0 ? ": " : "", error >= 0 ? strerror(error) : "");
}

static void pass_on(struct xentoollog_logger *libxl, const char *context, const char *what,
		    int percent, unsigned long done, unsigned long total)
{
	struct logger *logger = (struct logger *)libxl;

	(void)context;
	(void)percent;
	logger->progress(logger->arg, what ? what : "", done, total);
}

static void leave(struct xentoollog_logger *libxl)
{
	(void)libxl; /* logger_destroy does it */
}

struct logger *logger_create(logger_progress *progress, void *arg)
{
	struct logger *logger = calloc(1, sizeof(*logger));

	if (!logger)
		return NULL;
	logger->libxl = (struct xentoollog_logger){say, pass_on, leave};
	logger->progress = progress;
	logger->arg = arg;
	return logger;
}

void logger_destroy(struct logger *logger)
{
	free(logger);
}

xentoollog_logger *logger_for_libxl(struct logger *logger)
{
	return &logger->libxl;
}

const char *logger_complaint(const struct logger *logger)
{
	return logger->complaint;
}

void logger_forget(struct logger *logger)
{
	logger->complaint[0] = '\0';
}
