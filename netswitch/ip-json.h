/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_IP_JSON_H
#define NETSWITCH_IP_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "netswitch/ip.h"

/* [{"address":"10.80.1.10/24","gateway":"10.80.1.1"}], a gateway where there is one. The caller's.
 */
json_t *ip_configs_to_json(const struct ip_config *list, size_t n);

#endif
