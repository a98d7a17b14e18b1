/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/pressure.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

int64_t pressure_cpu_us(void)
{
	auto_free char *text = read_file("/proc/pressure/cpu", 4096, NULL, NULL);
	const char *total = text && strncmp(text, "some ", 5) == 0 ? strstr(text, "total=") : NULL;

	return total ? strtoll(total + strlen("total="), NULL, 10) : -1;
}
