/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONTROL_REMOTE_LINK_H
#define CONTROL_REMOTE_LINK_H

#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "netswitch/ip.h"

/* Ways of running a command on another host and of speaking with it. Blocking, with deadlines. */
struct remote_target {
	const struct ip_addr *address;
	const char *user;
	uint16_t port;
	const char *identity, *known_hosts; /* NULL: defaults */
	const char *rsh;		    /* rsh variant only */
	const char *command;
};

struct remote_link_ops {
	void *(*open)(const struct remote_target *target, int64_t deadline_ns, struct error **err);
	int (*write)(void *link, const void *data, size_t size, int64_t deadline_ns,
		     struct error **err);
	/* > 0; the end of the stream is an error, whose text has what the command complained of */
	ssize_t (*read)(void *link, void *data, size_t size, int64_t deadline_ns,
			struct error **err);
	void (*close)(void *link);
};

extern const struct remote_link_ops remote_link_ssh; /* libssh2, over MPTCP where it can */
extern const struct remote_link_ops remote_link_rsh; /* any command, as rsync's -e */

#endif
