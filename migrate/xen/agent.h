/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_AGENT_H
#define MIGRATE_XEN_AGENT_H

#include <poll.h>
#include <stddef.h>

#include "common/error.h"
#include "migrate/xen/domain.h"

/*
 * agent.sock: what a virtio-serial port is to QEMU, a byte stream to the agent in the guest, here
 * through xenstore (netswitch/xen-link.h). One client at a time; the next waits.
 */
struct agent_link;

#define AGENT_FDS 3 /* at most that many for poll() */

/* domain is borrowed. */
struct agent_link *agent_link_open(const char *path, const struct domain *domain,
				   struct error **err);
void agent_link_close(struct agent_link *link); /* takes NULL */

size_t agent_link_poll(const struct agent_link *link, struct pollfd fds[AGENT_FDS],
		       int *timeout_ms);
void agent_link_polled(struct agent_link *link, const struct pollfd *fds, size_t count);

#endif
