/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hypervisor/hugepages.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"
#include "common/units.h"

#define SYSFS	    "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s"
#define NUMBER_MOST 64

static int read_number(uint64_t size, const char *file, uint64_t *number, struct error **err)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];

	if (place(path, err, SYSFS, size >> 10, file) < 0)
		return -1;
	text = read_file(path, NUMBER_MOST, NULL, err);
	if (!text)
		return -1;
	*number = strtoull(text, NULL, 10);
	return 0;
}

int hugepages_check(const struct vm_def *def, struct error **err)
{
	uint64_t spare, reserved = 0, most_surplus = 0, surplus = 0, needed;
	auto_error why = NULL;
	char size[UNITS_TEXT];

	if (!def->hugepages)
		return 0;
	units_bytes_exact(def->hugepages, size);
	needed = def->memory / def->hugepages;
	if (read_number(def->hugepages, "free_hugepages", &spare, &why) < 0)
		return error_set(
			err, ENOTSUP,
			"VM %s: hugepages: found none of %s on this host, expected %" PRIu64
			" free ones; nothing was started",
			def->name, size, needed);
	/* Promised to others that have not touched them yet. */
	(void)read_number(def->hugepages, "resv_hugepages", &reserved, NULL);
	spare -= reserved < spare ? reserved : spare;
	/* Those that the kernel makes when they are asked for. */
	if (read_number(def->hugepages, "nr_overcommit_hugepages", &most_surplus, NULL) == 0 &&
	    read_number(def->hugepages, "surplus_hugepages", &surplus, NULL) == 0 &&
	    surplus < most_surplus)
		spare += most_surplus - surplus;
	if (spare < needed)
		return error_set(err, ENOMEM,
				 "VM %s: hugepages: found %" PRIu64 " of %s free on this host, "
				 "expected %" PRIu64 "; nothing was started",
				 def->name, spare, size, needed);
	return 0;
}
