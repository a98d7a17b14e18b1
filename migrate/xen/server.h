/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_SERVER_H
#define MIGRATE_XEN_SERVER_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/xen/domain.h"

/*
 * xen.sock: takes the driver's orders (xen_words.h), several connections at a time. Its peers are
 * root's processes of this host; even so, all that they say is bounded.
 */
struct server;

#define SERVER_FDS 9 /* at most that many for poll() */

/* domain is borrowed. */
struct server *server_open(const char *path, struct domain *domain, struct error **err);
void server_close(struct server *server); /* takes NULL */

size_t server_poll(const struct server *server, struct pollfd fds[SERVER_FDS], int *timeout_ms);
void server_polled(struct server *server, const struct pollfd *fds, size_t count);

/* The domain has been looked at: answers those that wait for a change. */
void server_tell(struct server *server);

#endif
