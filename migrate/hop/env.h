/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_ENV_H
#define HOP_ENV_H

#include <limits.h>

#include "common/error.h"
#include "migrate/config/fleet.h"
#include "migrate/hop/facts.h"
#include "migrate/hypervisor/hypervisor.h"
#include "netswitch/tunnel.h"

/*
 * A hop as one of its hosts sees it: the facts, and what this host's configuration says of them.
 * Plain data; enough for every step that undoes or finishes, in the worker as in a recovery after
 * the worker died.
 */
struct hop_leg {
	const struct leg *leg;					   /* borrowed from the facts */
	char old_tap[DEVICE_NAME_SIZE], new_tap[DEVICE_NAME_SIZE]; /* on this host */
	const uint8_t *old_mac, *new_mac;
	const char *bridge; /* this host's, to the leg's network */
	size_t first;	    /* how many addresses of legs before it are in the tunnel */
};

struct hop_env {
	const struct hop_facts *facts;
	const struct fleet *fleet;
	const struct fleet_host *self, *peer;
	struct hv_vm *vm;
	struct tunnel tunnel;
	struct hop_leg legs[VM_NICS_MOST];
	size_t leg_count;
};

/* facts and fleet are borrowed. hop_env_clear gives the hypervisor's handle back. */
int hop_env_init(struct hop_env *env, const struct hop_facts *facts, enum hop_side side,
		 const struct fleet *fleet, struct error **err);
void hop_env_clear(struct hop_env *env);

/* The hosts' addresses on a path, this one's and the other's; both borrowed. */
int hop_env_ends(const struct hop_env *env, const char *path, const struct ip_addr **own,
		 const struct ip_addr **far, struct error **err);

/* The tunnel, while it is not there yet, will begin on that path. */
int hop_env_begin_on(struct hop_env *env, const char *path, struct error **err);

/*
 * The VM's old addresses lead into the tunnel from here on (source), and no more. Legs that the
 * tunnel does not carry are left out.
 */
int hop_env_redirect(const struct hop_env *env, struct error **err);
int hop_env_redirect_undo(const struct hop_env *env, struct error **err);

/* The taps of vNICs that keep an old address leave the tunnel (destination). */
int hop_env_detach(const struct hop_env *env, struct error **err);

/* A file of the hop in PLACE_RUN "/hops/HOP/". */
int hop_env_path(const struct hop_env *env, char path[PATH_MAX], const char *file,
		 struct error **err);

/*
 * Undoing, for both sides: each repeats well, says in the log what it could not do, and goes on,
 * since the rest has to be undone all the same.
 *
 * source: the VM runs on here as if nothing had been; destination: nothing of the hop is left.
 */
int source_undo(const struct hop_env *env, struct error **err);
int destination_undo(const struct hop_env *env, struct error **err);

/*
 * Source: a later hop has brought the VM back, as this host's ownership says. Nothing that an
 * earlier hop left undone may touch it then.
 */
bool source_has_vm_again(const struct hop_env *env);

/* Finishing after ACCEPTED: the source gives back what it holds for the hop. */
int source_finish(const struct hop_env *env, struct error **err);

#endif
