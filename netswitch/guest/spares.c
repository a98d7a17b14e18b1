/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netswitch/guest/spares.h"

#include <string.h>
#include <sys/socket.h>

#include <linux/mptcp.h>

#include "netswitch/mptcp_pm.h"

/*
 * Theory of operation
 *
 * The in-kernel path manager makes a new subflow for a connection only while local_addr_used, which
 * it keeps per connection, is below the number of `subflow` endpoints. When an endpoint appears
 * whose address is the one that the connection began on (id 0), and is to be announced too, the
 * kernel counts it as used, and does not count it back when the endpoint goes: seen in 6.1.192 and
 * in 6.18. A VM that goes from A to B and back has lost one with each return to A: with two
 * endpoints during a hop, connections that it opened on A stay behind at the fourth hop.
 * Connections that it accepted don't mind, since their peers make the subflows.
 *
 * So there are more endpoints during a hop. A connection whose count is right takes each of them
 * for used while it is there, and gives it back when it goes; one whose count is too high finds
 * room. Each spare is worth one return.
 *
 * Their addresses are discard-only (RFC 6666) and not configured: no packet ever bears one. For
 * IPv4 connections the kernel does not even try; for IPv6 ones binding fails.
 */
#define SPARES	  5
#define ENDPOINTS 8 /* all that the kernel keeps; one is left for those it makes by itself */

static struct ip_addr spare_address(size_t number)
{
	struct ip_addr addr = {.family = AF_INET6, .bytes = {1}, .prefix = 128};

	memcpy(addr.bytes + 8, "edgehop", 7);
	addr.bytes[15] = (uint8_t)number;
	return addr;
}

int spares_add(size_t needed, struct error **err)
{
	struct mptcp_endpoint list[MPTCP_PM_MOST];
	size_t count;

	if (mptcp_pm_list(list, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < SPARES && count + needed + 1 < ENDPOINTS; i++, count++) {
		const struct mptcp_endpoint endpoint = {
			.address = spare_address(i),
			.flags = MPTCP_PM_ADDR_FLAG_SUBFLOW,
		};

		if (mptcp_pm_add(&endpoint, err) < 0)
			return -1;
	}
	return 0;
}

/* Deletes one spare. */
static int remove_spare(size_t number, struct error **err)
{
	const struct ip_addr addr = spare_address(number);
	int id = mptcp_pm_find(&addr, err);

	return id < 0 || (id > 0 && mptcp_pm_del((uint8_t)id, err) < 0) ? -1 : 0;
}

int spares_make_room(size_t needed, struct error **err)
{
	for (size_t i = SPARES; i-- > 0;) {
		struct mptcp_endpoint list[MPTCP_PM_MOST];
		size_t count;

		if (mptcp_pm_list(list, &count, err) < 0)
			return -1;
		if (count + needed + 1 <= ENDPOINTS)
			return 0;
		if (remove_spare(i, err) < 0)
			return -1;
	}
	return 0;
}

int spares_remove(struct error **err)
{
	for (size_t i = 0; i < SPARES; i++)
		if (remove_spare(i, err) < 0)
			return -1;
	return 0;
}
