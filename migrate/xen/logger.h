/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_LOGGER_H
#define MIGRATE_XEN_LOGGER_H

#include <stdbool.h>
#include <xentoollog.h>

/*
 * What libxl says: into our log, one line each. Of its complaints the first is kept, for it is the
 * cause of those after it. Progress of a save is passed on.
 */
struct logger;
typedef void logger_progress(void *arg, const char *what, unsigned long done, unsigned long total);

struct logger *logger_create(logger_progress *progress, void *arg); /* NULL: no memory */
void logger_destroy(struct logger *logger);			    /* takes NULL */

/* For libxl; as long as the logger. */
xentoollog_logger *logger_for_libxl(struct logger *logger);

/* The first complaint since logger_forget; "" when there is none. */
const char *logger_complaint(const struct logger *logger);
void logger_forget(struct logger *logger);

#endif
