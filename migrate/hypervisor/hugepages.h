/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_HUGEPAGES_H
#define MIGRATE_HYPERVISOR_HUGEPAGES_H

#include "common/error.h"
#include "migrate/config/vm_def.h"

/*
 * Whether this host has hugepages free for the VM's memory, where its definition wants them; said
 * before anything is started. ENOMEM: too few are free; ENOTSUP: none of that size at all. Nothing
 * is reserved: whoever starts first gets them.
 */
int hugepages_check(const struct vm_def *def, struct error **err);

#endif
