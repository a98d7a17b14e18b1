/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_MPTCP_PM_H
#define NETSWITCH_MPTCP_PM_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/ip.h"

/*
 * The in-kernel MPTCP path manager of the calling process's network namespace: its endpoints and
 * limits. Kernels 6.1 to 6.18. The `flags` are MPTCP_PM_ADDR_FLAG_* of <linux/mptcp.h>.
 */
#define MPTCP_PM_MOST 32 /* endpoints read at most; the kernel keeps 8, implicit ones included */

struct mptcp_endpoint {
	struct ip_addr address;
	uint32_t flags;
	int ifindex; /* 0: none */
	uint8_t id;  /* 1 to 255, the kernel's choice */
};

struct mptcp_limits {
	uint32_t subflows; /* beyond the first, per connection; the kernel's maximum is 8 */
	uint32_t add_addr_accepted; /* announcements acted on, per connection; the same */
};

/* Fails with a text that says so when MPTCP is absent or switched off. */
int mptcp_pm_check(struct error **err);

/*
 * Adds an endpoint, whose id in the struct is ignored. Returns its id. An endpoint that has the
 * address already is left as it is, and its id returned; one that the kernel made by itself (flag
 * IMPLICIT) is taken over.
 */
int mptcp_pm_add(const struct mptcp_endpoint *endpoint, struct error **err);

/* Removes the endpoint of that id, > 0: the address is withdrawn and its subflows are closed. */
int mptcp_pm_del(uint8_t id, struct error **err);

/*
 * Withdraws the address, as id 0, from every connection that began on it, and closes those
 * subflows. The kernel keeps no endpoint for it; deleting the endpoint of the same address does
 * not reach them.
 */
int mptcp_pm_del_initial(const struct ip_addr *address, struct error **err);

/* The endpoints there are; *count of them. */
int mptcp_pm_list(struct mptcp_endpoint list[MPTCP_PM_MOST], size_t *count, struct error **err);

/* The endpoint that has the address: its id, or 0 for none. */
int mptcp_pm_find(const struct ip_addr *address, struct error **err);

int mptcp_pm_get_limits(struct mptcp_limits *limits, struct error **err);
int mptcp_pm_set_limits(const struct mptcp_limits *limits, struct error **err);

#endif
