/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_NIC_H
#define NETSWITCH_GUEST_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/guest/joins.h"
#include "netswitch/ip.h"
#include "netswitch/rtnl.h"

/*
 * What the agent does to the guest's vNICs, which are known by MAC address. Everything may be
 * repeated, also after the agent was killed in the middle.
 */
#define NIC_ADDRESSES 16 /* at most, of a vNIC */

/* Once at start: MPTCP limits and the repetition of announcements. A guest without MPTCP: fails. */
int nic_prepare_mptcp(struct error **err);

/*
 * The vNIC up, with these addresses besides those it has; each with routes of its own; new
 * outgoing connections leave by it. beside: by another vNIC, where that has a default route.
 */
int nic_address(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n, bool beside,
		struct error **err);

/* As nic_address; and the addresses are announced to the peers of all MPTCP connections. */
int nic_announce(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n, bool beside,
		 struct error **err);

/* The vNIC's addresses with the gateways that its routes say. Returns how many, at most `most`. */
size_t nic_list(const struct rtnl_link *link, struct ip_config *list, size_t most);

/* lease.h: the address with its routes; `before` (may be NULL) goes, with what it was used for. */
int nic_take_lease(const char *dev, const struct ip_config *lease, const struct ip_addr *before,
		   struct error **err);
int nic_drop_lease(const char *dev, const struct ip_addr *address, struct error **err);

/* How the connections on the vNIC old_mac have got on towards new_mac. */
int nic_joined(const uint8_t new_mac[MAC_SIZE], const uint8_t old_mac[MAC_SIZE],
	       struct joins *joins, struct error **err);

/*
 * Withdraws the addresses of the vNIC old_mac from all MPTCP connections, removes them and their
 * routes, and sets it down. Refuses (EBUSY), changing nothing, while a connection has not joined
 * new_mac or a plain TCP connection lives on old_mac; not with force: those break. Takes up to a
 * second. A DHCP client of the vNIC ends.
 */
int nic_retire(const uint8_t old_mac[MAC_SIZE], const uint8_t new_mac[MAC_SIZE], bool force,
	       struct error **err);

#endif
