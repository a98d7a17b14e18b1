/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/held.h"
#include "migrate/hop/open.h"
#include "migrate/hop/plan_legs.h"
#include "migrate/vm/vm_store.h"

#define GOODBYE_NS (5 * NS_PER_SEC)

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

/* What the held hop waits for, as its worker has it. */
static void add_reason(struct error **err, const char *hop)
{
	auto_json live = ctl_ask(hop, "status", clock_ns() + 2 * NS_PER_SEC, NULL);
	const char *why = json_string_value(json_object_get(json_object_get(live, "vnic"), "why"));

	if (why)
		error_wrap(err, "%s", why);
}

/* As held_hop; but one that is all but over gets the moment that it needs to say goodbye. */
static struct hop_facts *still_held(const struct vm_def *vm, struct error **err)
{
	int64_t deadline = clock_ns() + GOODBYE_NS;

	for (;;) {
		auto_facts held = held_hop(vm->name, err);

		if (!held || !vm->agent || clock_ns() > deadline)
			return steal_ptr(held);
		clock_sleep_ms(100);
	}
}

/*
 * The hop that brought the VM here and still has its tunnel: a VM with an agent has to be rid of it
 * first. One without can go home, to the host where the tunnel leads, which ends it: *home is set.
 */
static int look_at_held(struct hop_facts *facts, const char *site, const struct fleet_host **home,
			const struct fleet *fleet, struct error **err)
{
	struct error *none = NULL;
	auto_facts held = still_held(facts->vm, &none);

	if (none)
		return error_propagate(err, none);
	if (!held)
		return 0;
	if (!facts->vm->agent && strcmp(held->source_site, site) == 0) {
		memcpy(facts->supersedes, held->hop, UUID_SIZE);
		*home = fleet_host(fleet, held->source, err);
		return *home ? 0 : -1;
	}
	error_set(err, EBUSY,
		  "VM %s: hop %s is held, it needs its tunnel to %s; wait, or give the old address "
		  "up by `edgehop release %s`%s",
		  facts->vm->name, held->hop, held->source_site, held->hop,
		  facts->vm->agent ? "" : ", or hop back there");
	add_reason(err, held->hop);
	return -1;
}

static int fill(struct hop_facts *facts, const struct fleet *fleet, const char *vm,
		const char *site, struct error **err)
{
	const struct fleet_host *self = fleet_self(fleet, err);
	const struct fleet_host *peer = NULL;
	struct owner owner;

	if (!self)
		return -1;
	facts->vm = vm_store_load(vm, err);
	if (!facts->vm || owner_require_self(vm, &owner, err) < 0 ||
	    (facts->vm->agent && !vm_def_site(facts->vm, site, err)))
		return -1;
	if (strcmp(owner.site, site) == 0)
		return error_set(err, EINVAL, "VM %s: it is at site %s already", vm, site);
	if (look_at_held(facts, site, &peer, fleet, err) < 0)
		return -1;
	if (!peer)
		peer = choose_host(fleet, site, self, err);
	if (!peer)
		return -1;
	if (choose_first_path(self, peer, facts->first_path, err) < 0 ||
	    uuid_of_host(facts->source_uuid, err) < 0 || uuid_make(facts->hop, err) < 0)
		return -1;
	facts->epoch = owner.epoch;
	memcpy(facts->source, self->name, NAME_SIZE);
	memcpy(facts->destination, peer->name, NAME_SIZE);
	memcpy(facts->source_site, owner.site, NAME_SIZE);
	memcpy(facts->destination_site, peer->site, NAME_SIZE);
	memcpy(facts->home, owner.home, NAME_SIZE);
	return hop_plan_legs(facts, &owner, fleet, err);
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
