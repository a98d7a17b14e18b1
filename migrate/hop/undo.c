/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/env.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/disk/disk_set.h"
#include "migrate/hop/journal.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"
#include "netswitch/garp.h"
#include "netswitch/tap.h"

#define LOG_MODULE "undo"

/*
 * Theory of operation
 *
 * Undoing asks nobody what was done: it is a table of steps, each idempotent, all of which are
 * taken in order. So a worker that aborts and a recovery that knows nothing but the journal's facts
 * do the same, and undoing that was itself interrupted is simply begun again.
 */
struct step {
	const char *name;
	int (*take)(const struct hop_env *env, struct error **err);
};

static int endpoints(const struct hop_env *env, struct error **err)
{
	return endpoints_release(env->facts->hop, err);
}

static int tunnel(const struct hop_env *env, struct error **err)
{
	return tunnel_close(&env->tunnel, err);
}

/* One that can't be read is no reason to leave the VM paused, but the hop is not undone then. */
static int ownership(const struct hop_env *env, struct error **err)
{
	struct owner owner;

	return owner_read(env->facts->vm->name, &owner, err);
}

/* The VM's old address leads to the VM's tap again, not into the tunnel. */
static int redirect(const struct hop_env *env, struct error **err)
{
	return hop_env_redirect_undo(env, err);
}

/* Its disks are written to here again, alone, before it runs. */
static int revive(const struct hop_env *env, struct error **err)
{
	if (disks_take(env->facts->vm, disk_undo, err) < 0)
		return error_wrap(err, "the VM stays paused");
	if (!hv_alive(env->vm)) {
		log_warn("VM %s is not running: this host owns it, `edgehop start %s` starts it",
			 env->facts->vm->name, env->facts->vm->name);
		return 0;
	}
	return hv_revive(env->vm, err);
}

static int place_leg(const struct hop_leg *leg, struct error **err)
{
	if (tap_place_active(leg->old_tap, leg->bridge, err) < 0)
		return -1;
	for (size_t i = 0; i < leg->leg->old_count; i++)
		if (garp_send(leg->bridge, &leg->leg->old[i].address, leg->old_mac, err) < 0)
			return -1;
	return 0;
}

/*
 * The switches of the site learn again where the VM is. The taps of a VM that was on its way home
 * are in the tunnel of the hop before, which nobody has touched.
 */
static int placed_at_home(const struct hop_env *env, struct error **err)
{
	if (!hv_alive(env->vm) || env->facts->supersedes[0])
		return 0;
	for (size_t i = 0; i < env->leg_count; i++)
		if (place_leg(&env->legs[i], err) < 0)
			return error_wrap(err, "network %s", env->legs[i].leg->network);
	return 0;
}

static int guest_detach(const struct hop_env *env, struct error **err)
{
	return hop_env_detach(env, err);
}

bool source_has_vm_again(const struct hop_env *env)
{
	struct owner owner;

	return owner_read(env->facts->vm->name, &owner, NULL) == 0 &&
	       strcmp(owner.host, env->facts->source_uuid) == 0 &&
	       owner.epoch > hop_owner_accepted(env->facts).epoch;
}

static int kill_left_behind(const struct hop_env *env, struct error **err)
{
	return source_has_vm_again(env) ? 0 : hv_kill(env->vm, err);
}

/* What is left of them here is the base of a later return. */
static int leave_disks(const struct hop_env *env, struct error **err)
{
	return source_has_vm_again(env) ? 0 : disks_take(env->facts->vm, disk_leave, err);
}

static int kill_incoming(const struct hop_env *env, struct error **err)
{
	return hv_kill(env->vm, err);
}

/*
 * Only what a hop put here: a folder that this host owns is refused by the store. What a driver has
 * received so far is the base of another try.
 */
static int remove_folder(const struct hop_env *env, struct error **err)
{
	const struct vm_def *vm = env->facts->vm;
	struct owner owner;

	if (owner_require_self(vm->name, &owner, NULL) < 0 && disks_carried(vm))
		return disks_take(vm, disk_abandon, err);
	return vm_store_remove(env->facts->vm->name, err);
}

static const struct step undo_at_source[] = {
	{"ownership", ownership}, {"old address", redirect}, {"VM", revive},
	{"tap", placed_at_home},  {"tunnel", tunnel},	     {"endpoints", endpoints},
};

static const struct step undo_at_destination[] = {
	{"incoming VM", kill_incoming}, {"tap", guest_detach},	  {"tunnel", tunnel},
	{"disks", remove_folder},	{"endpoints", endpoints},
};

static const struct step finish_at_source[] = {
	{"VM left behind", kill_left_behind},
	{"disks", leave_disks},
	{"old address", redirect},
	{"tunnel", tunnel},
	{"endpoints", endpoints},
};

/* Takes all steps; the first error is the one that is told. */
static int take_all(const struct hop_env *env, const struct step *steps, size_t n,
		    struct error **err)
{
	struct error *first = NULL;

	if (fault_point("undo", err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct error *why = NULL;

		if (steps[i].take(env, &why) == 0)
			continue;
		error_wrap(&why, "%s", steps[i].name);
		log_error("not undone: %s", error_text(why));
		if (!first)
			first = why;
		else
			error_free(why);
	}
	return first ? error_propagate(err, first) : 0;
}

/*
 * Takes back an ownership that was written away, but never told. If it can't be taken back, nothing
 * may run here, or the VM could be given to the destination by a recovery while it does.
 */
static int take_ownership_back(const struct hop_env *env, struct error **err)
{
	struct owner owner, retaken = hop_owner_retaken(env->facts);

	if (owner_read(env->facts->vm->name, &owner, NULL) < 0 ||
	    strcmp(owner.host, env->facts->source_uuid) == 0)
		return 0;
	return owner_write(env->facts->vm->name, &retaken, err);
}

int source_undo(const struct hop_env *env, struct error **err)
{
	if (take_ownership_back(env, err) < 0)
		return error_wrap(err, "ownership");
	if (take_all(env, undo_at_source, ARRAY_SIZE(undo_at_source), err) < 0)
		return -1;
	return journal_advance(env->facts->hop, HOP_UNDONE, err) < 0 ? -1 : 0;
}

int destination_undo(const struct hop_env *env, struct error **err)
{
	/* First the promise that the VM will not run here, then everything else. */
	if (journal_advance(env->facts->hop, HOP_REFUSED, err) < 0 ||
	    fault_point("refused", err) < 0)
		return -1;
	if (take_all(env, undo_at_destination, ARRAY_SIZE(undo_at_destination), err) < 0)
		return -1;
	return journal_advance(env->facts->hop, HOP_UNDONE, err) < 0 ? -1 : 0;
}

int source_finish(const struct hop_env *env, struct error **err)
{
	if (take_all(env, finish_at_source, ARRAY_SIZE(finish_at_source), err) < 0)
		return -1;
	return journal_advance(env->facts->hop, HOP_DONE, err) < 0 ? -1 : 0;
}
