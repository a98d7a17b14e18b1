/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/config/values.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "common/uuid.h"
#include "netswitch/ip.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Stores text of 1 to size - 1 characters, all from `allowed`, the first not from `not_first`. */
static bool bounded(const char *text, const char *allowed, const char *not_first, void *into,
		    size_t size)
{
	size_t length = strlen(text);

	if (length == 0 || length >= size || strspn(text, allowed) != length ||
	    strchr(not_first, text[0]))
		return false;
	memcpy(into, text, length + 1);
	return true;
}

bool value_name(const char *text, void *into)
{
	return bounded(text, LOWER DIGITS "-", "-", into, NAME_SIZE);
}

bool value_file_name(const char *text, void *into)
{
	return bounded(text, LOWER UPPER DIGITS "._-", ".-", into, FILE_NAME_SIZE);
}

bool value_word(const char *text, void *into)
{
	return bounded(text, LOWER UPPER DIGITS "._+-", "-", into, WORD_SIZE);
}

bool value_device(const char *text, void *into)
{
	return bounded(text, LOWER UPPER DIGITS "._-", ".-", into, DEVICE_NAME_SIZE);
}

bool value_uuid(const char *text, void *into)
{
	return uuid_parse(text, into);
}

bool value_mac(const char *text, void *into)
{
	return mac_parse(text, into, NULL) == 0;
}

bool value_bool(const char *text, void *into)
{
	bool yes = strcmp(text, "true") == 0;

	if (!yes && strcmp(text, "false") != 0)
		return false;
	*(bool *)into = yes;
	return true;
}

bool value_address(const char *text, void *into)
{
	return !strchr(text, '/') && ip_parse(text, into, NULL) == 0;
}

bool value_address_prefix(const char *text, void *into)
{
	return strchr(text, '/') && ip_parse(text, into, NULL) == 0;
}

bool value_path(const char *text, void *into)
{
	char *copy;

	if (text[0] != '/' || strpbrk(text, "\"'\\"))
		return false;
	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			return false;
	copy = strdup(text);
	if (!copy)
		return false;
	free(*(char **)into);
	*(char **)into = copy;
	return true;
}

bool value_rate(const char *text, void *into)
{
	uint64_t rate;

	if (!units_parse_rate(text, &rate) || rate < UNITS_LEAST_LIMIT)
		return false;
	*(uint64_t *)into = rate;
	return true;
}

bool value_duration(const char *text, void *into)
{
	int64_t ns;

	if (!units_parse_duration(text, &ns) || ns <= 0 || ns > 24 * 3600 * NS_PER_SEC)
		return false;
	*(int64_t *)into = ns;
	return true;
}

bool value_age(const char *text, void *into)
{
	int64_t ns;

	if (!units_parse_duration(text, &ns) || ns <= 0 || ns > 8760 * 3600 * NS_PER_SEC)
		return false;
	*(int64_t *)into = ns;
	return true;
}

bool value_room(const char *text, void *into)
{
	return units_parse_bytes(text, into);
}

bool value_duration_or_off(const char *text, void *into)
{
	if (strcmp(text, "off") != 0)
		return value_duration(text, into);
	*(int64_t *)into = 0;
	return true;
}

bool value_port(const char *text, void *into)
{
	uint64_t port;

	if (!units_parse_number(text, 0, UINT16_MAX, &port))
		return false;
	*(uint16_t *)into = (uint16_t)port;
	return true;
}
