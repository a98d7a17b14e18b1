/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_OWNER_H
#define MIGRATE_VM_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/values.h"

/*
 * Who may run a VM: owner.json, beside its disk on every host that has one. The epoch grows by one
 * with each hop that is accepted, so of two files the one with the higher epoch is right. Only the
 * commit protocol and `define` write it.
 */
struct owner {
	char vm[UUID_SIZE];
	uint64_t epoch;	      /* from 1 */
	char host[UUID_SIZE]; /* the host that owns the VM */
	char nic[NAME_SIZE];  /* the vNIC that is active */
	char site[NAME_SIZE]; /* the site that the VM is at */
};

/* vm: the VM's name. ENOENT: the VM has no owner.json here. */
int owner_read(const char *vm, struct owner *owner, struct error **err);

/* Durable when it returns 0. Refuses an epoch below the one that is stored (ESTALE). */
int owner_write(const char *vm, const struct owner *owner, struct error **err);

/* The same into a folder that is not a VM's yet. */
int owner_write_in(const char *folder, const struct owner *owner, struct error **err);

/* 0 when it is this host; else an error (EPERM) that names the owner, or why it can't be told. */
int owner_require_self(const char *vm, struct owner *owner, struct error **err);

#endif
