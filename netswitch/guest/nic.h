/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_NIC_H
#define NETSWITCH_GUEST_NIC_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/guest/joins.h"
#include "netswitch/ip.h"

/*
 * What the agent does to the guest's vNICs, which are known by MAC address. Everything may be
 * repeated, also after the agent was killed in the middle.
 */
#define NIC_ADDRESSES 16 /* at most, of a vNIC */

/* Once at start: MPTCP limits and the repetition of announcements. A guest without MPTCP: fails. */
int nic_prepare_mptcp(struct error **err);

/*
 * The vNIC up, with these addresses besides those it has; each with routes of its own; new
 * outgoing connections leave by it.
 */
int nic_address(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n,
		struct error **err);

/* As nic_address; and the addresses are announced to the peers of all MPTCP connections. */
int nic_announce(const uint8_t mac[MAC_SIZE], const struct ip_config *list, size_t n,
		 struct error **err);

/* How the connections on the vNIC old_mac have got on towards new_mac. */
int nic_joined(const uint8_t new_mac[MAC_SIZE], const uint8_t old_mac[MAC_SIZE],
	       struct joins *joins, struct error **err);

/*
 * Withdraws the addresses of the vNIC old_mac from all MPTCP connections, removes them and their
 * routes, and sets it down. Refuses (EBUSY), changing nothing, while a connection has not joined
 * new_mac or a plain TCP connection lives on old_mac. Takes up to a second.
 */
int nic_retire(const uint8_t old_mac[MAC_SIZE], const uint8_t new_mac[MAC_SIZE],
	       struct error **err);

#endif
