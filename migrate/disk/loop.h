/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_LOOP_H
#define MIGRATE_DISK_LOOP_H

#include "common/error.h"

#define LOOP_DEVICE 64

/*
 * The block device for a file: the loop device that it has already, or a new one that goes
 * past the page cache where the file system can. What is a block device itself (a logical
 * volume) is its own.
 */
int loop_attach(const char *file, char device[LOOP_DEVICE], struct error **err);

/* The loop device that a file has; "" for none. */
int loop_find(const char *file, char device[LOOP_DEVICE], struct error **err);

/* Takes the file's loop device away. Success if there is none. */
int loop_detach(const char *file, struct error **err);

#endif
