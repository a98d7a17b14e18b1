/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_COMPARE_H
#define HOP_COMPARE_H

#include "migrate/hop/source_internal.h"

/*
 * For tests and debugging: the memory of the guest, which is paused on both sides, compared page by
 * page, by digests that each side takes of what its hypervisor has. No stream, scheduler or codec
 * is asked. The hop fails where a page differs: it is undone, nobody has run at the destination.
 *
 *     {"do":"compare","first":0,"digests":BASE64}    8 bytes for each page, in order,
 * little-endian;
 *     {"done":"compare","compared":4000,"differ":[17]}		       0: not to be compared
 */
int source_compare_memory(struct source *s, struct error **err);

#endif
