/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/hop/open.h"
#include "migrate/vm/vm_store.h"

/* The site's first host that is not this one. */
static const struct fleet_host *choose_host(const struct fleet *fleet, const char *site,
					    const struct fleet_host *self, struct error **err)
{
	const struct fleet_site *there = fleet_site(fleet, site, err);

	if (!there)
		return NULL;
	for (size_t i = 0; i < there->host_count; i++)
		if (strcmp(there->hosts[i], self->name) != 0)
			return fleet_host(fleet, there->hosts[i], err);
	error_set(err, EINVAL, "site %s: found no other host than this one", site);
	return NULL;
}

/* The first path that both hosts have an address on; SSH may find that another one answers. */
static int choose_first_path(const struct fleet_host *self, const struct fleet_host *peer,
			     char path[NAME_SIZE], struct error **err)
{
	for (size_t i = 0; i < self->address_count; i++)
		if (fleet_address(peer, self->addresses[i].path)) {
			memcpy(path, self->addresses[i].path, NAME_SIZE);
			return 0;
		}
	return error_set(err, EINVAL, "found no path that both host %s and host %s are on",
			 self->name, peer->name);
}

/* The vNIC that idles: the first that is not the active one. */
static int choose_new_nic(const struct vm_def *vm, const char *active, char nic[NAME_SIZE],
			  struct error **err)
{
	for (size_t i = 0; i < vm->nic_count; i++)
		if (strcmp(vm->nics[i].name, active) != 0) {
			memcpy(nic, vm->nics[i].name, NAME_SIZE);
			return 0;
		}
	return error_set(err, EINVAL, "VM %s: found %zu vNIC, expected %d for a hop", vm->name,
			 vm->nic_count, VM_HOP_NICS);
}

static int fill(struct hop_facts *facts, const struct fleet *fleet, const char *vm,
		const char *site, struct error **err)
{
	const struct fleet_host *self = fleet_self(fleet, err);
	const struct fleet_host *peer;
	struct owner owner;

	if (!self)
		return -1;
	facts->vm = vm_store_load(vm, err);
	if (!facts->vm || owner_require_self(vm, &owner, err) < 0 ||
	    !vm_def_site(facts->vm, site, err))
		return -1;
	if (strcmp(owner.site, site) == 0)
		return error_set(err, EINVAL, "VM %s: it is at site %s already", vm, site);
	peer = choose_host(fleet, site, self, err);
	if (!peer)
		return -1;
	if (choose_first_path(self, peer, facts->first_path, err) < 0 ||
	    choose_new_nic(facts->vm, owner.nic, facts->new_nic, err) < 0 ||
	    uuid_of_host(facts->source_uuid, err) < 0 || uuid_make(facts->hop, err) < 0)
		return -1;
	facts->epoch = owner.epoch;
	memcpy(facts->old_nic, owner.nic, NAME_SIZE);
	memcpy(facts->source, self->name, NAME_SIZE);
	memcpy(facts->destination, peer->name, NAME_SIZE);
	memcpy(facts->source_site, owner.site, NAME_SIZE);
	memcpy(facts->destination_site, peer->site, NAME_SIZE);
	return 0;
}

struct hop_facts *hop_plan(const struct fleet *fleet, const char *vm, const char *site,
			   struct error **err)
{
	auto_facts facts = calloc(1, sizeof(*facts));

	if (!facts) {
		error_set(err, ENOMEM, "no memory for a hop");
		return NULL;
	}
	return fill(facts, fleet, vm, site, err) < 0 ? NULL : steal_ptr(facts);
}
