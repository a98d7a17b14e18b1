/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_TAP_H
#define NETSWITCH_TAP_H

#include "common/error.h"

/*
 * A VM's tap devices at a site: that of its active vNIC is a port of the site's bridge, that of
 * the idle one is down and a port of nothing. Both idempotent; ENODEV where a device is missing.
 */
int tap_place_active(const char *tap, const char *bridge, struct error **err);
int tap_place_idle(const char *tap, struct error **err);

#endif
