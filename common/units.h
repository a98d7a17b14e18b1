/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Amounts as people write and read them. The parsers can fail in one way only (the text is not
 * such an amount, or it does not fit), so they answer false and leave the message, and *value, to
 * the caller, who knows what was expected. A fraction ("1.5G") is taken where it comes out whole.
 */

/* "4096", "64K", "256M", "1.5G", "2T": bytes, units are powers of 2. */
bool units_parse_bytes(const char *text, uint64_t *bytes);

/* "64k", "100M", "1G", "9600": bit/s, units are powers of 10. */
bool units_parse_rate(const char *text, uint64_t *bits_per_second);

/* A limit below this is a forgotten unit: no hop would get to its end. */
#define UNITS_LEAST_LIMIT 64000

/* "250us", "20ms", "5s", "2m", "1h": nanoseconds. The unit is required. */
bool units_parse_duration(const char *text, int64_t *ns);

/* A whole decimal number from least to most; no sign, no blanks. */
bool units_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *number);

/*
 * For people: "171.9 MB" (powers of 10, as network tools count), "183.2 Mbit/s", "12.3 s". The
 * result is buf.
 */
#define UNITS_TEXT 32
char *units_bytes_text(uint64_t bytes, char buf[UNITS_TEXT]);
char *units_rate_text(double bits_per_second, char buf[UNITS_TEXT]);
char *units_duration_text(int64_t ns, char buf[UNITS_TEXT]);

/* For files: the shortest text that the parser of the same name reads back: "256M", "20ms". */
char *units_bytes_exact(uint64_t bytes, char buf[UNITS_TEXT]);
char *units_rate_exact(uint64_t bits_per_second, char buf[UNITS_TEXT]);
char *units_duration_exact(int64_t ns, char buf[UNITS_TEXT]);

#endif
