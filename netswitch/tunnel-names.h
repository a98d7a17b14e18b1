/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_TUNNEL_NAMES_H
#define NETSWITCH_TUNNEL_NAMES_H

#include <net/if.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/ip.h"
#include "netswitch/tunnel.h"

/* What both hosts of a hop call the parts of its tunnel. */
struct tunnel_names {
	char dev[IF_NAMESIZE];
	uint32_t number; /* 24 bits */
	uint32_t table;	 /* the first of TUNNEL_ADDRESSES, see tunnel_table */
	struct {	 /* [TUNNEL_SOURCE], [TUNNEL_DESTINATION] */
		uint8_t mac[MAC_SIZE];
		struct ip_addr v4, v6;
	} end[2];
};

/* The table of the VM's address number `index`, from 0. */
static inline uint32_t tunnel_table(const struct tunnel_names *names, size_t index)
{
	return names->table + ((uint32_t)index << 24);
}

/* EINVAL: hop is no UUID. */
int tunnel_make_names(const char *hop, struct tunnel_names *names, struct error **err);

#endif
