/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_COPY_IMAGE_H
#define MIGRATE_VM_COPY_IMAGE_H

#include "common/error.h"

/*
 * Copies a disk image into a new file, sparse: by reflink where the file system can, else only
 * the ranges that hold data. Durable when it returns 0. On failure the new file may be left.
 */
int copy_image(const char *from, const char *to, struct error **err);

/* The same for a kernel or an initrd: of any size up to VM_BOOT_FILE_MOST. */
int copy_boot_file(const char *from, const char *to, struct error **err);

#endif
