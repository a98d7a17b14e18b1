/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONTROL_REMOTE_H
#define CONTROL_REMOTE_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/config/fleet.h"

/*
 * `edgehop serve` on another host, started through SSH with the operator's keys and spoken to in
 * JSON lines: {"do": NAME, ...} is answered by {"done": NAME, ...} or {"failed": NAME, "error":
 * TEXT}. It lives as long as the connection. Used to start a hop's far side and to recover; never
 * during a hop. Secrets go through its standard input, in no argument.
 */
struct remote;

/*
 * Tries the host's addresses in their order. rsh: a command to run instead of the built-in SSH
 * client, as rsync's -e ("ssh -p 2222"); it gets USER@ADDRESS and the remote command as arguments.
 * NULL: the built-in one, which checks the host's key against known_hosts and never asks anything.
 */
struct remote *remote_open(const struct fleet_host *host, const char *rsh, int64_t deadline_ns,
			   struct error **err);
void remote_close(struct remote *remote); /* takes NULL */

/* The path on which the host was reached; borrowed. */
const char *remote_path(const struct remote *remote);

/* The answer to one request; the caller's to decref. {"failed"} becomes an error. */
json_t *remote_call(struct remote *remote, const json_t *request, int64_t deadline_ns,
		    struct error **err);

#endif
