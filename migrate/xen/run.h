/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_RUN_H
#define MIGRATE_XEN_RUN_H

#include "common/error.h"

enum run_mode {
	RUN_START,    /* a new domain, from the VM's definition */
	RUN_INCOMING, /* one that comes from another host */
	RUN_ADOPT     /* one that runs here already */
};

/*
 * Carries a VM until its domain has ended: 0 in order, -1 with the reason. Holds the lock on the
 * VM's pid file meanwhile. EEXIST: another process carries it.
 */
int run_vm(const char *name, enum run_mode mode, struct error **err);

/* Prints what this host's Xen can do, one JSON object. */
int run_host(struct error **err);

#endif
