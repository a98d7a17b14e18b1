/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/fence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/remote.h"
#include "migrate/hop/env.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/vm/vm_store.h"

#define LOG_MODULE "fence"

#define ASK_NS (5 * NS_PER_SEC) /* for one host */

static int take_back(const struct hop_facts *facts, const struct fleet *fleet, struct error **err)
{
	struct hop_env env = {0};
	int result = -1;

	if (!keeper_worker_gone(facts->hop))
		return error_set(err, EBUSY, "hop %s: its worker can't be ended", facts->hop);

	auto_close lock = vm_store_lock(facts->vm->name, err);

	if (lock >= 0 && hop_env_init(&env, facts, HOP_SOURCE, fleet, err) == 0 &&
	    journal_advance(facts->hop, HOP_RETAKEN, err) >= 0)
		result = source_undo(&env, err);
	hop_env_clear(&env);
	return result;
}

int fence_take_back(const char *hop, const struct fleet *fleet, const char *host,
		    struct error **err)
{
	auto_json json = NULL;
	auto_facts facts = NULL;
	enum hop_state state;
	enum hop_side side;

	if (journal_read(hop, &state, &json, err) < 0)
		return -1;
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return -1;
	if (side != HOP_SOURCE || state != HOP_RELEASED || strcmp(facts->destination, host) != 0)
		return 0;
	log_set_hop(hop);
	return take_back(facts, fleet, err) < 0 ? -1 : 1;
}

/* A VM, and the accepted hop of the highest epoch that brought it here. */
struct arrival {
	const char *vm;
	uint64_t epoch;
	char from[NAME_SIZE]; /* host; "": it never came */
};

static int look_for_arrival(const char *hop, enum hop_state state, const json_t *json,
			    void *context, struct error **err)
{
	struct arrival *arrival = context;
	enum hop_side side = HOP_SOURCE;
	auto_facts facts = hop_facts_from_json(json, &side, NULL);

	(void)hop;
	(void)err;
	if (facts && side == HOP_DESTINATION && (state == HOP_ACCEPTED || state == HOP_DONE) &&
	    strcmp(facts->vm->name, arrival->vm) == 0 && facts->epoch >= arrival->epoch) {
		arrival->epoch = facts->epoch;
		memcpy(arrival->from, facts->source, NAME_SIZE);
	}
	return 0;
}

/*
 * What the host says of the VM's ownership. false: it says nothing (*silent), or does not know the
 * VM.
 */
static bool ask_owner(const struct fleet_host *host, const char *rsh, const char *vm, bool *silent,
		      struct owner *theirs)
{
	int64_t until = clock_ns() + ASK_NS;
	auto_error why = NULL;
	struct remote *remote = remote_open(host, rsh, until, &why);
	auto_json request = json_pack("{s:s, s:s}", "do", "owner", "vm", vm);
	auto_json answer = NULL;
	const char *uuid;
	int64_t epoch = 0;

	if (!remote) {
		*silent = true;
		log_warn("VM %s: whether host %s took it back can't be asked: %s", vm, host->name,
			 error_text(why));
		return false;
	}
	answer = remote_call(remote, request, until, &why);
	remote_close(remote);
	uuid = answer ? json_get_string(answer, "owner", NULL) : NULL;
	if (!uuid || !uuid_parse(uuid, theirs->host) ||
	    json_get_int(answer, "epoch", 1, INT64_MAX / 2, &epoch, NULL) < 0)
		return false;
	theirs->epoch = (uint64_t)epoch;
	return true;
}

/* One question to each host that does not answer is enough. */
struct asking {
	const struct fleet *fleet;
	const char *rsh;
	bool *silent; /* for each host of the fleet */
};

/* 1: the VM belongs to another host by now; 0: it is ours, as far as can be told; -1. */
static int challenge(const struct asking *asking, const char *vm, struct error **err)
{
	struct arrival arrival = {.vm = vm};
	struct owner own, theirs = {0};
	const struct fleet_host *giver;
	auto_error unreadable = NULL;

	if (owner_require_self(vm, &own, NULL) < 0)
		return 0;
	/* A journal that can't be read hides no other. */
	if (journal_each(look_for_arrival, &arrival, &unreadable) < 0)
		log_warn("%s", error_text(unreadable));
	giver = *arrival.from ? fleet_host(asking->fleet, arrival.from, NULL) : NULL;
	if (!giver || asking->silent[giver - asking->fleet->hosts])
		return 0;
	if (!ask_owner(giver, asking->rsh, vm, &asking->silent[giver - asking->fleet->hosts],
		       &theirs) ||
	    theirs.epoch <= own.epoch)
		return 0;
	own.epoch = theirs.epoch;
	memcpy(own.host, theirs.host, UUID_SIZE);
	memcpy(own.host_name, giver->name, NAME_SIZE);
	memcpy(own.site, giver->site, NAME_SIZE);
	log_warn("VM %s: host %s took it back while this host was away; it is not started here", vm,
		 giver->name);
	return owner_write(vm, &own, err) < 0 ? -1 : 1;
}

static int challenge_all(const struct asking *asking, char **names, size_t count, unsigned *yielded,
			 struct error **err)
{
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		auto_vm_def def = vm_store_load(names[i], NULL);
		auto_hv vm = def ? hv_open(def, NULL) : NULL;
		struct error *why = NULL;
		int n;

		if (!vm || hv_alive(vm))
			continue;
		n = challenge(asking, names[i], &why);
		*yielded += n > 0;
		if (n < 0 && result == 0)
			result = error_propagate(err, why);
		else
			error_free(why);
	}
	return result;
}

int fence_challenge(const struct fleet *fleet, const char *rsh, unsigned *yielded,
		    struct error **err)
{
	struct asking asking = {.fleet = fleet, .rsh = rsh};
	auto_free bool *silent = calloc(fleet->host_count, sizeof(*silent));
	char **names = NULL;
	size_t count = 0;
	int result;

	*yielded = 0;
	if (!silent)
		return error_set(err, ENOMEM, "no memory for %zu hosts", fleet->host_count);
	if (vm_store_list(&names, &count, err) < 0)
		return -1;
	asking.silent = silent;
	result = challenge_all(&asking, names, count, yielded, err);
	vm_store_free_names(names, count);
	return result;
}
