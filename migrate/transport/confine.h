/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_CONFINE_H
#define TRANSPORT_CONFINE_H

#include "common/error.h"

/*
 * The calling process, which must have one thread only, gives up for good whatever it does not need
 * to move bytes between the descriptors that it has, or is sent: it becomes nobody, keeps no
 * capability but CAP_NET_ADMIN (for socket buffers above the sysctl's limit; without socket() it
 * is good for nothing else), and a system call filter (libseccomp) leaves it no file, no socket,
 * no process, no executable memory. execve, ptrace and the like kill it; the rest fails with EPERM.
 * Threads may be started. It is killed when its parent ends. Not as root: only the filter.
 */
int confine_process(struct error **err);

#endif
