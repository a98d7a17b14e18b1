/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_WALL_H
#define COMMON_WALL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The wall clock, for people only: nothing is decided by it, and hosts need not agree on it.
 * RFC 3339 in UTC with milliseconds, "2026-03-14T15:09:26.535Z"; such texts sort by time.
 */
#define WALL_TEXT 32

/* Milliseconds since 1970. */
int64_t wall_ms(void);

/* The result is buf. */
char *wall_text(int64_t ms, char buf[WALL_TEXT]);

/* Takes the fraction as optional. false, and *ms untouched: it is no such text. */
bool wall_parse(const char *text, int64_t *ms);

#endif
