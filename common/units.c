/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/units.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* A unit's name and how many of the base it stands for; largest last. */
struct unit {
	const char *name;
	uint64_t size;
};

static const struct unit byte_units[] = {
	{"", 1}, {"K", 1ULL << 10}, {"M", 1ULL << 20}, {"G", 1ULL << 30}, {"T", 1ULL << 40},
};

static const struct unit rate_units[] = {
	{"", 1}, {"k", 1000}, {"K", 1000}, {"M", 1000000}, {"G", 1000000000}, {"T", 1000000000000},
};

static const struct unit duration_units[] = {
	{"ns", 1},	   {"us", 1000},	   {"ms", NS_PER_MS},
	{"s", NS_PER_SEC}, {"m", 60 * NS_PER_SEC}, {"h", 3600 * NS_PER_SEC},
};

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

/* Digits, a dot and more digits at most; *end: the first character after them. */
static bool parse_decimal(const char *text, uint64_t *mantissa, uint64_t *divisor, const char **end)
{
	bool dot = false, digit = false;

	*mantissa = 0;
	*divisor = 1;
	for (;; text++) {
		if (*text == '.' && digit && !dot) {
			dot = true;
			continue;
		}
		if (!isdigit((unsigned char)*text))
			break;
		digit = true;
		if (__builtin_mul_overflow(*mantissa, 10, mantissa) ||
		    __builtin_add_overflow(*mantissa, (uint64_t)(*text - '0'), mantissa) ||
		    (dot && __builtin_mul_overflow(*divisor, 10, divisor)))
			return false;
	}
	*end = text;
	return digit && text[-1] != '.';
}

static bool parse_amount(const char *text, const struct unit *units, size_t count, uint64_t *value)
{
	const struct unit *unit;
	uint64_t mantissa, divisor, whole;
	const char *end;

	if (!parse_decimal(text, &mantissa, &divisor, &end))
		return false;
	unit = find_unit(units, count, end);
	if (!unit || __builtin_mul_overflow(mantissa, unit->size, &whole) || whole % divisor != 0)
		return false;
	*value = whole / divisor;
	return true;
}

bool units_parse_bytes(const char *text, uint64_t *bytes)
{
	return parse_amount(text, byte_units, ARRAY_SIZE(byte_units), bytes);
}

bool units_parse_rate(const char *text, uint64_t *bits_per_second)
{
	return parse_amount(text, rate_units, ARRAY_SIZE(rate_units), bits_per_second);
}

bool units_parse_duration(const char *text, int64_t *ns)
{
	uint64_t value;

	if (!parse_amount(text, duration_units, ARRAY_SIZE(duration_units), &value) ||
	    value > INT64_MAX)
		return false;
	*ns = (int64_t)value;
	return true;
}

bool units_parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
	uint64_t value, divisor;
	const char *end;

	if (!parse_decimal(text, &value, &divisor, &end) || *end || divisor != 1 || value < least ||
	    value > most)
		return false;
	*number = value;
	return true;
}

/* The value in the largest of the prefixes that leaves at least one whole. */
static char *decimal_text(double value, const char *const *names, size_t count,
			  char buf[UNITS_TEXT])
{
	size_t i = 0;

	while (i + 1 < count && value >= 999.95) {
		value /= 1000;
		i++;
	}
	snprintf(buf, UNITS_TEXT, i ? "%.1f %s" : "%.0f %s", value, names[i]);
	return buf;
}

char *units_bytes_text(uint64_t bytes, char buf[UNITS_TEXT])
{
	static const char *const names[] = {"bytes", "kB", "MB", "GB", "TB"};

	return decimal_text((double)bytes, names, ARRAY_SIZE(names), buf);
}

char *units_rate_text(double bits_per_second, char buf[UNITS_TEXT])
{
	static const char *const names[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};

	return decimal_text(bits_per_second, names, ARRAY_SIZE(names), buf);
}

char *units_duration_text(int64_t ns, char buf[UNITS_TEXT])
{
	double s = (double)ns / NS_PER_SEC;

	if (s < 0.9995)
		snprintf(buf, UNITS_TEXT, s < 0.00995 ? "%.1f ms" : "%.0f ms", s * 1000);
	else if (s < 119.95)
		snprintf(buf, UNITS_TEXT, "%.1f s", s);
	else
		snprintf(buf, UNITS_TEXT, "%lld min %02lld s", ns / (60 * NS_PER_SEC),
			 ns / NS_PER_SEC % 60);
	return buf;
}

/* The largest unit of which it is a whole multiple; of two names for one size, the first. */
static char *exact_text(uint64_t value, const struct unit *units, size_t count,
			char buf[UNITS_TEXT])
{
	const struct unit *best = &units[0];

	for (size_t i = 1; i < count && value; i++)
		if (value % units[i].size == 0 && units[i].size > best->size)
			best = &units[i];
	snprintf(buf, UNITS_TEXT, "%" PRIu64 "%s", value / best->size, best->name);
	return buf;
}

char *units_bytes_exact(uint64_t bytes, char buf[UNITS_TEXT])
{
	return exact_text(bytes, byte_units, ARRAY_SIZE(byte_units), buf);
}

char *units_rate_exact(uint64_t bits_per_second, char buf[UNITS_TEXT])
{
	return exact_text(bits_per_second, rate_units, ARRAY_SIZE(rate_units), buf);
}

char *units_duration_exact(int64_t ns, char buf[UNITS_TEXT])
{
	return exact_text((uint64_t)ns, duration_units, ARRAY_SIZE(duration_units), buf);
}
