/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_PORT_H
#define NETSWITCH_GUEST_PORT_H

#include <limits.h>
#include <signal.h>

#include "common/error.h"
#include "netswitch/guest/agent.h"

/* The virtio-serial port between the agent and the host. */
#define PORT_NAME "org.edgehop.agent.0"

/*
 * Finds the device of the port: under /dev/virtio-ports, or (no udev) by the name that the kernel
 * shows. ENOENT: the VM has no such port.
 */
int port_find(char path[PATH_MAX], struct error **err);

/* Opens it, for port_serve(). Returns the descriptor. */
int port_open(const char *path, struct error **err);

/*
 * Answers orders from a port, or from a socket, until *stop (which a signal handler sets) or, on
 * a socket, until its other end is closed. A host that goes away and comes back is waited for.
 */
int port_serve(int fd, struct agent *agent, const volatile sig_atomic_t *stop, struct error **err);

#endif
