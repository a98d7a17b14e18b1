/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_PROGRAM_H
#define MIGRATE_DISK_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/*
 * A command line that is put together word by word, without a shell. What does not fit is
 * noticed when it is run.
 */
#define PROGRAM_WORDS 40
#define PROGRAM_TEXT  5120

struct program {
	char text[PROGRAM_TEXT]; /* the words, each with its NUL */
	size_t used, count;
	bool overflow;
};

/* A zeroed struct program is empty. */
void program_add(struct program *program, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* As one would type it, for people; cut off where buf ends. */
char *program_text(const struct program *program, char *buf, size_t size);

/*
 * Runs it and waits for its end. What it says on standard output goes to output
 * (NUL-terminated; more than fits is an error), or nowhere if that is NULL. Exit status 0 is
 * success; else the error, of code EIO, has the last line of its standard error. ENOENT: there
 * is no such program.
 */
int program_run(const struct program *program, char *output, size_t size, struct error **err);

#endif
