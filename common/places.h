/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_PLACES_H
#define COMMON_PLACES_H

#include <limits.h>

#include "common/error.h"

/*
 * Where edgehop keeps things on a host. Every path of the toolkit is made here, so that
 * EDGEHOP_ROOT (a prefix for tests) holds for all of them.
 */
#define PLACE_CONFIG "/etc/edgehop/edgehop.yaml"
#define PLACE_STATE  "/var/lib/edgehop"
#define PLACE_RUN    "/run/edgehop"

/* "ROOT" + the formatted path, into buf. Fails when it does not fit. */
int place(char buf[PATH_MAX], struct error **err, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
