/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/complete.h"

#include <errno.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/disk/disk_set.h"
#include "migrate/hop/held.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/vnic.h"
#include "netswitch/endpoints.h"
#include "netswitch/tap.h"

#define LOG_MODULE "complete"

/* A vNIC that keeps its old address has no tunnel any more: the site's network is all it gets. */
static int place_taps(const struct hop_env *env, struct error **err)
{
	if (hop_env_detach(env, err) < 0)
		return -1;
	for (size_t i = 0; i < env->leg_count; i++) {
		const struct hop_leg *leg = &env->legs[i];

		if ((leg->leg->kind == LEG_SWITCH
			     ? tap_place_idle(leg->old_tap, err)
			     : tap_place_active(leg->old_tap, leg->bridge, err)) < 0)
			return error_wrap(err, "network %s", leg->leg->network);
	}
	return 0;
}

int complete_finish(const struct hop_env *env, struct error **err)
{
	if (fault_point("cleanup", err) < 0)
		return -1;
	if (hv_alive(env->vm) && place_taps(env, err) < 0)
		return -1;
	if (tunnel_close(&env->tunnel, err) < 0 || endpoints_release(env->facts->hop, err) < 0)
		return -1;
	return journal_advance(env->facts->hop, HOP_DONE, err) < 0 ? -1 : 0;
}

static int resume(const struct hop_env *env, struct error **err)
{
	return disks_take(env->facts->vm, disk_own, err) < 0 ? -1 : hv_resume(env->vm, err);
}

/* The VM as it should be after ACCEPTED: running here, if anything of it is. */
static int ensure_runs(const struct hop_env *env, struct error **err)
{
	enum hv_state state;

	if (hv_state(env->vm, &state, err) < 0)
		return -1;
	if (state == HV_PAUSED || state == HV_INCOMING)
		return resume(env, err);
	if (state == HV_RUNNING)
		return 0;
	return error_set(err, EIO, "VM %s: found it %s, expected it to run", env->facts->vm->name,
			 hv_state_name(state));
}

int complete_recover(const struct hop_env *env, int64_t deadline_ns, bool *held, struct error **err)
{
	struct owner owner = hop_owner_accepted(env->facts), now;
	enum vnic_state state = VNIC_ANNOUNCING;
	struct vnic_switch *vnic;
	int result = 0;

	*held = false;
	/* It has moved on, or was taken back (fence.c): nothing but the hop's traces is left to do.
	 */
	if (owner_read(env->facts->vm->name, &now, NULL) == 0 && now.epoch > owner.epoch)
		return complete_finish(env, err);
	if (owner_write(env->facts->vm->name, &owner, err) < 0 || held_supersede(env, err) < 0)
		return -1;
	if (!hv_alive(env->vm)) {
		log_warn("VM %s is not running: this host owns it, `edgehop start %s` starts it",
			 env->facts->vm->name, env->facts->vm->name);
		return complete_finish(env, err);
	}
	if (ensure_runs(env, err) < 0 || disks_take(env->facts->vm, disk_arrived, err) < 0)
		return -1;
	vnic = vnic_start(env, env->fleet->join_ns, err);
	if (!vnic)
		return -1;
	while (result == 0 && state != VNIC_DONE && state != VNIC_HELD && clock_ns() < deadline_ns)
		result = vnic_step(vnic, &state, err);
	vnic_free(vnic);
	if (result < 0)
		return -1;
	*held = state != VNIC_DONE;
	return *held ? 0 : complete_finish(env, err);
}

int complete_settle_home(const struct hop_env *env, struct error **err)
{
	struct owner owner = hop_owner_accepted(env->facts);

	if (!owner.home[0])
		return 0;
	owner.home[0] = '\0';
	return owner_write(env->facts->vm->name, &owner, err);
}

int complete_release(const struct hop_env *env, json_t **report, struct error **err)
{
	struct vnic_switch *vnic = NULL;
	enum vnic_state state;
	int result;

	if (hv_alive(env->vm)) {
		vnic = vnic_start(env, env->fleet->join_ns, err);
		if (!vnic)
			return -1;
		vnic_release(vnic);
		result = vnic_step(vnic, &state, err);
		if (report)
			*report = vnic_report(vnic);
		vnic_free(vnic);
		if (result < 0)
			return -1;
	}
	return complete_settle_home(env, err) < 0 ? -1 : complete_finish(env, err);
}
