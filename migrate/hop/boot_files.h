/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_BOOT_FILES_H
#define HOP_BOOT_FILES_H

#include "migrate/hop/source_internal.h"

/*
 * Kernel and initrd, which lie beside the VM's disks and are needed for a cold start at the other
 * host: sent over the control channel, before anything that takes long. Nothing where there are
 * none.
 */
int source_boot_files(struct source *s, struct error **err);

#endif
