/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the analyzer is told of them elsewhere is not their definitions' name. */
#undef error_set
#undef error_errno
#undef error_wrap
#undef error_propagate

/* Used when there is no memory left for a real one; never freed. */
static struct error out_of_memory = {ENOMEM, (char[]){"out of memory"}};

static void error_make(struct error **err, int code, char *message)
{
	struct error *e;

	if (!err) {
		free(message);
		return;
	}
	e = message ? malloc(sizeof(*e)) : NULL;
	if (!e) {
		free(message);
		*err = &out_of_memory;
		return;
	}
	e->code = code;
	e->message = message;
	*err = e;
}

int error_set(struct error **err, int code, const char *fmt, ...)
{
	char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		message = NULL;
	va_end(ap);
	error_make(err, code, message);
	return -1;
}

int error_errno(struct error **err, const char *fmt, ...)
{
	int code = errno;
	char *what = NULL, *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	if (!what || asprintf(&message, "%s: %s", what, strerror(code)) < 0)
		message = NULL;
	free(what);
	error_make(err, code, message);
	return -1;
}

int error_wrap(struct error **err, const char *fmt, ...)
{
	char *context = NULL, *message = NULL;
	va_list ap;

	if (!err || !*err || *err == &out_of_memory)
		return -1;
	va_start(ap, fmt);
	if (vasprintf(&context, fmt, ap) < 0)
		context = NULL;
	va_end(ap);
	if (context && asprintf(&message, "%s: %s", context, (*err)->message) >= 0) {
		free((*err)->message);
		(*err)->message = message;
	}
	free(context);
	return -1;
}

int error_propagate(struct error **dest, struct error *src)
{
	if (dest)
		*dest = src;
	else
		error_free(src);
	return -1;
}

void error_free(struct error *err)
{
	if (!err || err == &out_of_memory)
		return;
	free(err->message);
	free(err);
}

const char *error_text(const struct error *err)
{
	return err ? err->message : "unknown error";
}
