/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_CHECKPOINT_H
#define MIGRATE_VM_CHECKPOINT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/fleet.h"

/*
 * What was in a VM's memory when it left this host, for when it comes back: then what it still has
 * needs no sending (migrate/codec/known_pages.h).
 *
 * A file for each VM, named after its UUID, in a folder of its own: the VM's folder goes when a hop
 * to here is undone, and is made anew when one begins. Integers are big-endian:
 *
 *	be32 magic, be16 version, be16 0, be32 pages, be32 0, the VM's UUID (36 bytes), zeroes up to
 *	64 bytes; the SHA-256 of these; zeroes up to CHECKPOINT_HEADER_SIZE; pages, 4096 bytes each
 *
 * Pages are of different contents, in the order of the memory, those left out that one word of 8
 * bytes fills. Nothing vouches for them, and nothing needs to: they are found by what they are when
 * they are offered, so one that has changed is one that nobody asks for. The files are readable to
 * root only, and as secret as the guests' disks are.
 */
#define CHECKPOINT_MAGIC       0x45484d50u /* "EHMP" */
#define CHECKPOINT_VERSION     1
#define CHECKPOINT_HEADER_SIZE 4096u

/* n bytes of the memory from an offset on. 0, or -1: they can't be read. */
typedef int checkpoint_read(void *arg, uint64_t offset, void *buffer, size_t n);

struct checkpoint_memory {
	checkpoint_read *read;
	void *arg;
	uint64_t bytes;
};

/*
 * Writes the VM's checkpoint in place of the one before, which stays if that fails: a temporary
 * file, fsync, rename. A crash leaves a temporary file, which the next call removes. Pages beyond
 * limits->size are left out; other VMs' checkpoints that are too old, or with which there would be
 * more than limits->total, are removed, the oldest first. A tenth of the file system stays free:
 * ENOSPC. ECANCELED: *stop was set; EIO: the memory can't be read. Returns the pages that it has.
 *
 * The caller holds the VM's lock. Cost: the memory read once, what is written at the disk's speed;
 * 0.25 MiB, and 16 to 32 bytes for each page of the memory. Nothing of it stays in the page cache.
 */
int64_t checkpoint_write(const char *vm, const struct checkpoint_memory *memory,
			 const struct fleet_checkpoints *limits, const atomic_bool *stop,
			 struct error **err);

/*
 * The VM's checkpoint, open for reading, and how many pages it has. ENOENT: there is none, or it is
 * too old, or limits->size is 0; EBADMSG: it is damaged; ENOTSUP: of a newer version; both are
 * removed then. *pages is set on success only.
 */
int checkpoint_open(const char *vm, const struct fleet_checkpoints *limits, uint32_t *pages,
		    struct error **err);

/*
 * Removes those of all VMs that are too old, or all where none are to be kept, what dead writers
 * left, and what is more than limits->total.
 */
int checkpoint_prune(const struct fleet_checkpoints *limits, struct error **err);

/* Succeeds when there is none. */
int checkpoint_remove(const char *vm, struct error **err);

#endif
