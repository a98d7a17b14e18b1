/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_DESTINATION_INTERNAL_H
#define HOP_DESTINATION_INTERNAL_H

#include "migrate/control/control.h"
#include "migrate/disk/disk_set.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/destination.h"
#include "migrate/hop/env.h"
#include "migrate/hop/vnic.h"
#include "migrate/transport/door.h"

#define SILENCE_MS 20000 /* of the source: it is lost */

/* The worker's own; only its thread uses it. */
struct destination {
	const struct destination_job *job;
	struct hop_env env;
	struct ctl *ctl;
	int vm_lock;
	struct door *door; /* what faces the network; channels "control", "d0", ..., "memory" */
	struct control *control; /* NULL: lost */
	json_t *answer;		 /* to the request that is being served: what it adds is told */
	struct disk_set carried; /* disks that a driver of ours receives */
	int old_disks[VM_DISKS_MOST]; /* that the VM left here at its last stay; -1: none */
	uint64_t *digests; /* of the arrived guest's pages, for compare.c; NULL: not taken */
	uint64_t digest_count;
	bool moving; /* disks' and memory's channels may be there, and matter */
	bool journalled, prepared, accepted, refused;
	bool resumed;	      /* the VM runs here */
	bool closing;	      /* the source has said that it is done, too */
	int64_t decide_by_ns; /* when prepared without the source: refuses then */
	struct vnic_switch *vnic;
};

/* One request of the source. */
typedef int destination_request(struct destination *d, const json_t *request, struct error **err);

destination_request destination_tunnel, destination_incoming, destination_disk, destination_memory,
	destination_prepare, destination_compare, destination_file, destination_move_tunnel,
	destination_release, destination_undo_request, destination_close;

/*
 * The source's channel of a disk, of that name, joined to a stream socket, which is taken over.
 * decoding: the source has coded it; NULL: it has not.
 */
int destination_relay(struct destination *d, const char *channel,
		      const struct door_decoding *decoding, int fd, struct error **err);

/*
 * destination_known.c: how a coded stream is decoded, and what of it is here already. The disks of
 * the VM's last stay are opened before its folder is made anew, and taken by destination_know_disk
 * one by one.
 */
void destination_no_old_disks(struct destination *d);
void destination_keep_old_disks(struct destination *d, const uint64_t *sizes);
void destination_drop_old_disks(struct destination *d);
void destination_know_memory(const struct destination *d, struct door_decoding *decoding);
void destination_know_disk(struct destination *d, size_t disk, struct door_decoding *decoding);

/* destination_disks.c: the VM's folder and disks, as the source's "incoming" says. */
int destination_make_disks(struct destination *d, const json_t *request, struct error **err);
int destination_export_disks(struct destination *d, struct error **err);

/* All that was received is on the media, and nothing more is. */
int destination_settle_disks(struct destination *d, struct error **err);
void destination_close_disks(struct destination *d);

/* Accepts: journal, ownership, the VM runs. For RELEASED, and for a decision asked by SSH. */
int destination_accept(struct destination *d, struct error **err);

#endif
