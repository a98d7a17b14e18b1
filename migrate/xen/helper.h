/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_XEN_HELPER_H
#define MIGRATE_XEN_HELPER_H

#include "migrate/config/vm_def.h"
#include "migrate/hypervisor/xen_words.h"

/*
 * The save helper with hot-skip inside (docs/design/xen-helper.md), where one is installed: its
 * bounds are a file that it looks at before each decision, and what it did in each round comes
 * through a FIFO; both are in the VM's run folder. Without one, Xen's own helper runs, which knows
 * no bounds and tells nothing: then nothing here has an effect.
 */
struct helper;

/* Sets what the environment of libxl's children says, so it comes before threads. */
struct helper *helper_open(const struct vm_def *def, struct error **err);
void helper_close(struct helper *helper); /* takes NULL */

/* The bounds from now on. */
int helper_limit(const struct helper *helper, const struct xen_bounds *bounds, struct error **err);

/* A save begins: what an earlier one told is dropped. */
void helper_begin(struct helper *helper);

/* What it has told since the last time goes into *memory. false: nothing. */
bool helper_read(struct helper *helper, struct hv_memory *memory);

#endif
