/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_LOCAL_H
#define TRANSPORT_LOCAL_H

#include <stdint.h>

#include "common/error.h"

/* Unix stream sockets between a worker and the hypervisor's process on the same host. */

/* Listens on path (mode 0600), replacing what a dead process left there. */
int local_listen(const char *path, struct error **err);

/* The next connection, waiting until deadline_ns. */
int local_accept(int listen_fd, int64_t deadline_ns, struct error **err);

int local_connect(const char *path, struct error **err);

#endif
