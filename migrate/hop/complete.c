/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/complete.h"

#include <errno.h>

#include "common/clock.h"
#include "common/log.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/vnic.h"
#include "netswitch/endpoints.h"
#include "netswitch/tap.h"

#define LOG_MODULE "complete"

int complete_finish(const struct hop_env *env, struct error **err)
{
	const struct vm_site *old = hop_old_site(env->facts);

	if (hv_alive(env->vm) && (tunnel_guest_detach(&env->tunnel, env->old_tap, old->addresses,
						      old->address_count, err) < 0 ||
				  tap_place_idle(env->old_tap, err) < 0))
		return -1;
	if (tunnel_close(&env->tunnel, err) < 0 || endpoints_release(env->facts->hop, err) < 0)
		return -1;
	return journal_advance(env->facts->hop, HOP_DONE, err) < 0 ? -1 : 0;
}

/* The VM as it should be after ACCEPTED: running here, if anything of it is. */
static int ensure_runs(const struct hop_env *env, struct error **err)
{
	enum hv_state state;

	if (hv_state(env->vm, &state, err) < 0)
		return -1;
	if (state == HV_PAUSED || state == HV_INCOMING)
		return hv_resume(env->vm, err);
	if (state == HV_RUNNING)
		return 0;
	return error_set(err, EIO, "VM %s: found it %s, expected it to run", env->facts->vm->name,
			 hv_state_name(state));
}

int complete_recover(const struct hop_env *env, int64_t deadline_ns, bool *held, struct error **err)
{
	struct owner owner = hop_owner_accepted(env->facts);
	enum vnic_state state = VNIC_ANNOUNCING;
	struct vnic_switch *vnic;
	int result = 0;

	*held = false;
	if (owner_write(env->facts->vm->name, &owner, err) < 0)
		return -1;
	if (!hv_alive(env->vm)) {
		log_warn("VM %s is not running: this host owns it, `edgehop start %s` starts it",
			 env->facts->vm->name, env->facts->vm->name);
		return complete_finish(env, err);
	}
	if (ensure_runs(env, err) < 0)
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
