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
	vm_def_tap(facts->vm, hop_old_nic(facts), env->old_tap);
	vm_def_tap(facts->vm, hop_new_nic(facts), env->new_tap);
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
