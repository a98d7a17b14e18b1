/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DISK_DRBD_COMMAND_H
#define DISK_DRBD_COMMAND_H

#include <stdint.h>

#include "migrate/disk/program.h"

/*
 * What DRBD is told: the command lines of drbdsetup(8) and drbdmeta(8) of DRBD 8.4, and the
 * numbers in them. Text and arithmetic only; drbd_device.c runs them.
 */

/* Of external metadata for a disk of that size, in bytes: superblock, activity log, one bitmap. */
uint64_t drbd_meta_bytes(uint64_t disk_bytes);

#define DRBD_RESOURCE_SIZE 96
/* "edgehop-VM-DISK" */
char *drbd_resource_name(const char *vm, const char *disk, char buf[DRBD_RESOURCE_SIZE]);

/*
 * Both ends of a resource's connection are addresses of this host's loopback network, of its
 * own for each minor: 127.83.X.Y. DRBD listens on the first port. On the second the worker of
 * a hop's source listens, and nobody on the destination.
 */
#define DRBD_PORT_OWN  7879
#define DRBD_PORT_PEER 7880
#define DRBD_ADDRESS   16
char *drbd_address(unsigned minor, char buf[DRBD_ADDRESS]);

struct program drbd_create_meta(unsigned minor, const char *meta);

/* Before each attach: what the activity log says may have been written last counts as changed. */
struct program drbd_apply_log(unsigned minor, const char *meta);
struct program drbd_new_resource(const char *resource);
struct program drbd_new_minor(const char *resource, unsigned minor);
struct program drbd_attach(unsigned minor, const char *lower, const char *meta);
struct program drbd_primary(unsigned minor, bool first_time);
struct program drbd_secondary(unsigned minor);
struct program drbd_outdate(unsigned minor);
struct program drbd_down(const char *resource);

/* Protocol C: a write is done when both disks have it. */
struct program drbd_be_synchronous(unsigned minor);
struct program drbd_disconnect(unsigned minor, bool force);

struct program drbd_get_gi(unsigned minor);
struct program drbd_get_gi_at_rest(unsigned minor, const char *meta); /* while it is not attached */

/* All of the disk counts as different from the other side's. */
struct program drbd_invalidate(unsigned minor);
struct program drbd_look(void);

#endif
