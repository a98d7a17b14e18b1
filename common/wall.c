/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/wall.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

char *wall_text(int64_t ms, char buf[WALL_TEXT])
{
	time_t seconds = (time_t)(ms / 1000);
	size_t used;
	struct tm utc;

	used = strftime(buf, WALL_TEXT, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
	snprintf(buf + used, WALL_TEXT - used, ".%03uZ", (unsigned)(ms % 1000) % 1000u);
	return buf;
}

bool wall_parse(const char *text, int64_t *ms)
{
	struct tm utc = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
	int64_t fraction = 0, digit = 100;

	if (!rest)
		return false;
	if (*rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, digit /= 10)
			fraction += (*rest - '0') * digit;
	if (strcmp(rest, "Z") != 0)
		return false;
	*ms = (int64_t)timegm(&utc) * 1000 + fraction;
	return true;
}
