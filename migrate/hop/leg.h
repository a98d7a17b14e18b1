/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_LEG_H
#define HOP_LEG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "migrate/config/vm_def.h"
#include "netswitch/ip.h"

/* What a hop does to one of the VM's networks. */
enum leg_kind {
	/* Goes over from one vNIC to another, whose addresses are the new site's. */
	LEG_SWITCH,
	/* The vNIC and its addresses are native at both sites, or have come home: no tunnel. */
	LEG_FIXED,
	/* A VM without an agent keeps vNIC and addresses, which only the tunnel leads to. */
	LEG_TUNNEL,
	LEG_KINDS
};

#define LEG_ADDRESSES_MOST VM_ADDRESSES_MOST

/* Plain data. With LEG_FIXED and LEG_TUNNEL old and new are the same. */
struct leg {
	enum leg_kind kind;
	char network[NAME_SIZE];
	char old_nic[NAME_SIZE], new_nic[NAME_SIZE];
	struct ip_config old[LEG_ADDRESSES_MOST]; /* which the VM has when the hop begins */
	struct ip_config new[LEG_ADDRESSES_MOST]; /* which are known beforehand */
	size_t old_count, new_count;
	bool new_dhcp; /* further ones come from DHCP */
};

/* Does the tunnel carry its old addresses? */
static inline bool leg_in_tunnel(const struct leg *leg)
{
	return leg->kind != LEG_FIXED && leg->old_count > 0;
}

/*
 * {"network":"site","kind":"switch","old-nic":"nic0","new-nic":"nic1",
 *  "old":[{"address":"10.80.1.10/24","gateway":"10.80.1.1"}],"new":[...],"dhcp":[4]}
 *
 * The caller decrefs; NULL without memory.
 */
json_t *leg_to_json(const struct leg *leg);

/* Every field is checked, also against the VM's definition. */
int leg_from_json(const json_t *json, const struct vm_def *vm, struct leg *leg, struct error **err);

/* What must be so of any leg of that VM. */
int leg_check(const struct leg *leg, const struct vm_def *vm, struct error **err);

#endif
