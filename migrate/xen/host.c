/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host's Xen can do, for the preflight. */
#include <errno.h>
#include <jansson.h>
#include <libxl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/xen/logger.h"
#include "migrate/xen/run.h"

static void no_progress(void *arg, const char *what, unsigned long done, unsigned long total)
{
	(void)arg;
	(void)what;
	(void)done;
	(void)total;
}

/*
 * Kinds of guests that can be moved while they run: those whose memory is translated by the CPU
 * (HAP). PV guests would need Xen's shadow paging for the log of dirty pages, which Debian's Xen is
 * built without.
 */
static json_t *describe(libxl_ctx *libxl, struct error **err)
{
	const libxl_version_info *version = libxl_get_version_info(libxl);
	json_t *machines, *json;
	libxl_physinfo info;
	uint64_t memory;
	char text[32];

	libxl_physinfo_init(&info);
	if (!version || libxl_get_physinfo(libxl, &info) != 0) {
		error_set(err, EIO, "Xen does not tell what it can do");
		return NULL;
	}
	memory = (info.free_pages + info.scrub_pages) * 4096;
	machines = json_array();
	if (info.cap_hvm && info.cap_hap) {
		json_array_append_new(machines, json_string("pvh"));
		json_array_append_new(machines, json_string("hvm"));
	}
	snprintf(text, sizeof(text), "%d.%d%s", version->xen_version_major,
		 version->xen_version_minor,
		 version->xen_version_extra ? version->xen_version_extra : "");
	json = json_pack("{s:s, s:o, s:I}", "version", text, "machines", machines,
			 "memory_available", (json_int_t)memory);
	libxl_physinfo_dispose(&info);
	return json;
}

int run_host(struct error **err)
{
	struct logger *logger = logger_create(no_progress, NULL);
	libxl_ctx *libxl = NULL;
	auto_json json = NULL;

	if (!logger || libxl_ctx_alloc(&libxl, LIBXL_VERSION, 0, logger_for_libxl(logger)) != 0)
		error_set(err, ENODEV,
			  "libxl can't be used: expected a host that runs Xen, as root");
	else
		json = describe(libxl, err);
	if (libxl)
		libxl_ctx_free(libxl);
	logger_destroy(logger);
	if (!json)
		return -1;
	json_dumpf(json, stdout, JSON_COMPACT);
	puts("");
	return 0;
}
