/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_VM_OWNER_H
#define MIGRATE_VM_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/values.h"

/*
 * Who may run a VM: owner.json, beside its disk on every host that has one. The epoch grows by one
 * with each hop that is accepted, so of two files the one with the higher epoch is right. Only the
 * commit protocol and `define` write it, and what ends a VM's stay away from home: `release`.
 *
 *	{"edgehop-owner":2,"vm":UUID,"epoch":N,"owner":HOST-UUID,"site":SITE,
 *	 "nics":{"site":"nic1","mgmt":"nic3"},"home":SITE}
 *
 * Version 1 had "nic" in place of "nics": that of the network DEFAULT_NETWORK.
 */
#define OWNER_NICS_MOST 8

struct owner_nic {
	char network[NAME_SIZE];
	char nic[NAME_SIZE];
};

struct owner {
	char vm[UUID_SIZE];
	uint64_t epoch;		   /* from 1 */
	char host[UUID_SIZE];	   /* the host that owns the VM */
	char host_name[NAME_SIZE]; /* the owner's name, for people; "": not known */
	char site[NAME_SIZE];	   /* the site that the VM is at */
	/*
	 * The site whose addresses a VM without an agent has: it keeps them wherever it goes. "":
	 * those of `site`.
	 */
	char home[NAME_SIZE];
	struct owner_nic nics[OWNER_NICS_MOST]; /* the vNIC of each network that is active */
	size_t nic_count;
};

/* The vNIC that is active on a network; NULL: not told. Borrowed. */
const char *owner_nic(const struct owner *owner, const char *network);

/* Names it. Those beyond OWNER_NICS_MOST networks are not kept. */
void owner_set_nic(struct owner *owner, const char *network, const char *nic);

/* vm: the VM's name. ENOENT: the VM has no owner.json here. */
int owner_read(const char *vm, struct owner *owner, struct error **err);

/* Durable when it returns 0. Refuses an epoch below the one that is stored (ESTALE). */
int owner_write(const char *vm, const struct owner *owner, struct error **err);

/* The same into a folder that is not a VM's yet. */
int owner_write_in(const char *folder, const struct owner *owner, struct error **err);

/* 0 when it is this host; else an error (EPERM) that names the owner, or why it can't be told. */
int owner_require_self(const char *vm, struct owner *owner, struct error **err);

#endif
