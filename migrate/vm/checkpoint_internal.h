/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_CHECKPOINT_INTERNAL_H
#define MIGRATE_VM_CHECKPOINT_INTERNAL_H

#include <limits.h>

#include "migrate/vm/checkpoint.h"

#define CHECKPOINT_PAGE 4096u
#define CHECKPOINT_PART ".part" /* suffix of a file that is being written, and locked */

int checkpoint_path(char path[PATH_MAX], const char *vm, const char *suffix, struct error **err);

/* vm: a UUID as uuid_parse gives it. */
void checkpoint_header(uint8_t header[CHECKPOINT_HEADER_SIZE], const char *vm, uint32_t pages);

/*
 * Removes what is too old or was left half-made, and the oldest ones until there is room for so
 * many bytes within limits->total. That of the VM itself is left alone, and not counted.
 */
int checkpoint_make_room(const char *vm, uint64_t bytes, const struct fleet_checkpoints *limits,
			 struct error **err);

#endif
