/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdarg.h>

/*
 * The error contract of the whole tree.
 *
 * A function that can fail takes `struct error **err` as its last argument and returns 0 (or a
 * value >= 0, or a pointer) on success, -1 (or NULL) on failure. On success *err is untouched. On
 * failure *err is set, exactly once, to a new error that the caller owns. err may be NULL when the
 * caller does not want the message. Callers on the way up add context with error_wrap().
 *
 * A message names the thing, the value received, what was expected, and, where the program's
 * state changes, what happens now. One line, no trailing full stop or newline.
 */
struct error {
	int code;      /* an errno value; 0 where none fits */
	char *message; /* never NULL */
};

#define PRINTF_LIKE(fmt_index, first) __attribute__((format(printf, fmt_index, first)))

/* Sets *err. Always returns -1, so that `return error_set(err, ...)` reads well. */
int error_set(struct error **err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As error_set with the present errno, whose text is appended: "FMT: No such file or directory". */
int error_errno(struct error **err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "FMT: " before the message of *err. A NULL err or *err is left alone. Returns -1. */
int error_wrap(struct error **err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hands an error up: *dest = src if dest is wanted, else src is freed. Returns -1. */
int error_propagate(struct error **dest, struct error *src);

void error_free(struct error *err); /* takes NULL */

/* The message, or "unknown error" for NULL. */
const char *error_text(const struct error *err);

/* clang's analyzer sees one file at a time: it is told here that these return -1. */
#ifdef __clang_analyzer__
#define error_set(...)	     (error_set(__VA_ARGS__), -1)
#define error_errno(...)     (error_errno(__VA_ARGS__), -1)
#define error_wrap(...)	     (error_wrap(__VA_ARGS__), -1)
#define error_propagate(...) (error_propagate(__VA_ARGS__), -1)
#endif

static inline void error_cleanup(struct error **err)
{
	error_free(*err);
}
#define auto_error __attribute__((cleanup(error_cleanup))) struct error *

#endif
