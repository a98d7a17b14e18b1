/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_DISK_GATE_H
#define MIGRATE_DISK_GATE_H

#include <stdint.h>

#include "common/error.h"

/*
 * A device-mapper device that a hypervisor holds in place of the one below, which can be taken
 * from under it and put back: closed, nobody has the device below open, and whoever reads or
 * writes gets an error. It costs a guest next to nothing.
 */
#define GATE_PATH 128

/* "/dev/mapper/NAME" */
char *gate_path(const char *name, char path[GATE_PATH]);

/* Makes it, closed, of that many bytes. Success if it is there, in whatever state. */
int gate_make(const char *name, uint64_t bytes, struct error **err);

/* Onto the device, which can be written to. Success if it is open already. */
int gate_open(const char *name, uint64_t bytes, const char *device, struct error **err);

/* Waits for what is being written. Success if it is closed, or not there. */
int gate_close(const char *name, uint64_t bytes, struct error **err);

/* EBUSY: somebody has it open. Success if it is not there. */
int gate_remove(const char *name, struct error **err);

#endif
