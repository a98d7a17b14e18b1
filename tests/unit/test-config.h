/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_CONFIG_H
#define TEST_CONFIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/error.h"

/* A copy of text in which the first `from` is `to`; the caller frees it. */
static inline char *with_change(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *changed = NULL;

	assert_non_null(at);
	assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) >
		    0);
	return changed;
}

/* One mistake made in a good text, and the whole line that must come of it. */
struct mistake {
	const char *from, *to, *message;
};

#endif
