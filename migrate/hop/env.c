/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/env.h"

#include <errno.h>
#include <string.h>

#include "common/places.h"

int hop_env_ends(const struct hop_env *env, const char *path, const struct ip_addr **own,
		 const struct ip_addr **far, struct error **err)
{
	*own = fleet_address(env->self, path);
	*far = fleet_address(env->peer, path);
	if (!*own || !*far)
		return error_set(err, ENOENT, "path %s: found no address of host %s on it", path,
				 *own ? env->peer->name : env->self->name);
	return 0;
}

int hop_env_begin_on(struct hop_env *env, const char *path, struct error **err)
{
	const struct ip_addr *own, *far;

	if (hop_env_ends(env, path, &own, &far, err) < 0)
		return -1;
	env->tunnel.local = *own;
	env->tunnel.remote = *far;
	return 0;
}

static int set_legs(struct hop_env *env, struct error **err)
{
	const struct hop_facts *facts = env->facts;
	size_t first = 0;

	for (size_t i = 0; i < facts->leg_count; i++) {
		struct hop_leg *leg = &env->legs[i];
		int old_nic = vm_def_nic(facts->vm, facts->legs[i].old_nic, err);
		int new_nic = old_nic < 0 ? -1 : vm_def_nic(facts->vm, facts->legs[i].new_nic, err);

		if (new_nic < 0)
			return -1;
		leg->leg = &facts->legs[i];
		leg->first = first;
		leg->old_mac = facts->vm->nics[old_nic].mac;
		leg->new_mac = facts->vm->nics[new_nic].mac;
		vm_def_tap(facts->vm, (size_t)old_nic, leg->old_tap);
		vm_def_tap(facts->vm, (size_t)new_nic, leg->new_tap);
		leg->bridge = fleet_bridge(env->self, leg->leg->network, err);
		if (!leg->bridge)
			return -1;
		first += leg_in_tunnel(leg->leg) ? leg->leg->old_count : 0;
	}
	env->leg_count = facts->leg_count;
	return 0;
}

int hop_env_redirect(const struct hop_env *env, struct error **err)
{
	for (size_t i = 0; i < env->leg_count; i++) {
		const struct hop_leg *leg = &env->legs[i];

		if (leg_in_tunnel(leg->leg) &&
		    tunnel_redirect(&env->tunnel, leg->bridge, leg->first, leg->leg->old,
				    leg->leg->old_count, err) < 0)
			return error_wrap(err, "network %s", leg->leg->network);
	}
	return 0;
}

int hop_env_redirect_undo(const struct hop_env *env, struct error **err)
{
	for (size_t i = 0; i < env->leg_count; i++) {
		const struct hop_leg *leg = &env->legs[i];

		if (leg_in_tunnel(leg->leg) &&
		    tunnel_redirect_undo(&env->tunnel, leg->bridge, leg->first, leg->leg->old,
					 leg->leg->old_count, err) < 0)
			return error_wrap(err, "network %s", leg->leg->network);
	}
	return 0;
}

int hop_env_detach(const struct hop_env *env, struct error **err)
{
	for (size_t i = 0; i < env->leg_count; i++) {
		const struct hop_leg *leg = &env->legs[i];

		if (leg_in_tunnel(leg->leg) &&
		    tunnel_guest_detach(&env->tunnel, leg->old_tap, leg->leg->old,
					leg->leg->old_count, err) < 0)
			return error_wrap(err, "network %s", leg->leg->network);
	}
	return 0;
}

int hop_env_init(struct hop_env *env, const struct hop_facts *facts, enum hop_side side,
		 const struct fleet *fleet, struct error **err)
{
	memset(env, 0, sizeof(*env));
	env->facts = facts;
	env->fleet = fleet;
	env->self = fleet_host(fleet, side == HOP_SOURCE ? facts->source : facts->destination, err);
	if (!env->self)
		return -1;
	env->peer = fleet_host(fleet, side == HOP_SOURCE ? facts->destination : facts->source, err);
	if (!env->peer)
		return -1;
	env->tunnel.hop = facts->hop;
	env->tunnel.side = side == HOP_SOURCE ? TUNNEL_SOURCE : TUNNEL_DESTINATION;
	if (hop_env_begin_on(env, facts->first_path, err) < 0)
		return -1;
	if (set_legs(env, err) < 0)
		return -1;
	env->vm = hv_open(facts->vm, err);
	return env->vm ? 0 : -1;
}

void hop_env_clear(struct hop_env *env)
{
	hv_close(env->vm);
	env->vm = NULL;
}

int hop_env_path(const struct hop_env *env, char path[PATH_MAX], const char *file,
		 struct error **err)
{
	return place(path, err, PLACE_RUN "/hops/%s/%s", env->facts->hop, file);
}
