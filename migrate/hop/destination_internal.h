/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_DESTINATION_INTERNAL_H
#define HOP_DESTINATION_INTERNAL_H

#include "migrate/control/control.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/destination.h"
#include "migrate/hop/env.h"
#include "migrate/hop/vnic.h"
#include "migrate/transport/door.h"

/* The worker's own; only its thread uses it. */
struct destination {
	const struct destination_job *job;
	struct hop_env env;
	struct ctl *ctl;
	int vm_lock;
	struct door *door; /* what faces the network; channels "control", "d0", ..., "memory" */
	struct control *control; /* NULL: lost */
	bool moving;		 /* disks' and memory's channels may be there, and matter */
	bool journalled, prepared, accepted, refused;
	bool resumed;	      /* the VM runs here */
	bool closing;	      /* the source has said that it is done, too */
	int64_t decide_by_ns; /* when prepared without the source: refuses then */
	struct vnic_switch *vnic;
};

/* One request of the source. *answer gets what is to be added to {"done": NAME}. */
typedef int destination_request(struct destination *d, const json_t *request, struct error **err);

destination_request destination_tunnel, destination_incoming, destination_disk, destination_memory,
	destination_prepare, destination_file, destination_move_tunnel, destination_release,
	destination_undo_request, destination_close;

/* Accepts: journal, ownership, the VM runs. For RELEASED, and for a decision asked by SSH. */
int destination_accept(struct destination *d, struct error **err);

#endif
