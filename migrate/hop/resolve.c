/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/resolve.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/disk/disk_set.h"
#include "migrate/control/remote.h"
#include "migrate/hop/complete.h"
#include "migrate/hop/held.h"
#include "migrate/hop/history.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/tap.h"

#define LOG_MODULE "resolve"

#define SSH_NS	      (20 * NS_PER_SEC)
#define DECIDE_NS     (90 * NS_PER_SEC)
#define AGAIN_MS      2000
#define HELD_AGAIN_MS 15000 /* the decision is known; only the tunnel's end is awaited */

/* One question about the hop to `edgehop serve` there; the caller's to decref. */
static json_t *ask(const struct hop_env *env, const char *rsh, const char *what, struct error **err)
{
	struct remote *remote = remote_open(env->peer, rsh, clock_ns() + SSH_NS, err);
	auto_json request = json_pack("{s:s, s:s}", "do", what, "hop", env->facts->hop);
	json_t *answer;

	if (!remote)
		return NULL;
	answer = remote_call(remote, request, clock_ns() + DECIDE_NS, err);
	remote_close(remote);
	return answer;
}

/* RELEASED: the destination's journal decides. */
static int ask_decision(const struct hop_env *env, const char *rsh, struct error **err)
{
	auto_json answer = ask(env, rsh, "decide", err);
	const char *decision;
	enum hop_state to;

	if (!answer)
		return -1;
	decision = json_get_string(answer, "decision", err);
	if (!decision)
		return -1;
	if (strcmp(decision, hop_state_name(HOP_ACCEPTED)) == 0)
		to = HOP_GONE;
	else if (strcmp(decision, hop_state_name(HOP_REFUSED)) == 0)
		to = HOP_RETAKEN;
	else
		return error_set(err, EPROTO,
				 "host %s: found decision \"%.16s\", expected ACCEPTED "
				 "or REFUSED",
				 env->peer->name, decision);
	log_info("the destination says %s",
		 hop_state_name(to == HOP_GONE ? HOP_ACCEPTED : HOP_REFUSED));
	return journal_advance(env->facts->hop, to, err) < 0 ? -1 : 0;
}

/* GONE: nothing of the VM is left here but its old address, which leads into the tunnel. */
static int stand_aside(const struct hop_env *env, struct error **err)
{
	if (hv_kill(env->vm, err) < 0 || disks_take(env->facts->vm, disk_leave, err) < 0 ||
	    held_supersede(env, err) < 0)
		return -1;
	if (hop_has_tunnel(env->facts) && tunnel_open(&env->tunnel, err) < 0)
		return -1;
	return hop_env_redirect(env, err);
}

/*
 * Whether the destination has switched the vNICs, so that the tunnel can go: 1, 0, -1. *runs:
 * whether the VM runs there.
 */
static int ask_outcome(const struct hop_env *env, const char *rsh, bool *runs, struct error **err)
{
	auto_json answer = ask(env, rsh, "outcome", err);
	const char *state = answer ? json_get_string(answer, "state", err) : NULL;

	if (!state)
		return -1;
	*runs = !json_is_false(json_object_get(answer, "runs"));
	return strcmp(state, hop_state_name(HOP_DONE)) == 0;
}

/* One attempt. 1: resolved, *result says how; 0: not over yet; -1. */
static int resolve_once(const struct hop_env *env, const char *rsh, enum resolved *result,
			struct error **err)
{
	enum hop_state state;
	bool runs = true;
	int over;

	if (journal_read(env->facts->hop, &state, NULL, err) < 0)
		return -1;
	if (state == HOP_RELEASED) {
		if (ask_decision(env, rsh, err) < 0 ||
		    journal_read(env->facts->hop, &state, NULL, err) < 0)
			return -1;
	}
	if (state == HOP_RETAKEN) {
		*result = RESOLVED_RETAKEN;
		if (fault_point("retaken", err) < 0)
			return -1;
		return source_undo(env, err) < 0 ? -1 : 1;
	}
	if (state != HOP_GONE) {
		*result = state == HOP_DONE ? RESOLVED_GONE : RESOLVED_RETAKEN;
		return 1;
	}
	*result = RESOLVED_GONE; /* if not more, this much is known */
	if (source_has_vm_again(env))
		return source_finish(env, err) < 0 ? -1 : 1;
	if (stand_aside(env, err) < 0)
		return -1;
	over = ask_outcome(env, rsh, &runs, err);
	if (!runs)
		*result = RESOLVED_DOWN;
	if (over <= 0)
		return over;
	return source_finish(env, err) < 0 ? -1 : 1;
}

static void show_unknown(struct ctl *ctl, const struct hop_env *env, const struct error *why)
{
	if (!ctl)
		return;
	ctl_publish(ctl, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "event", "progress", "hop",
				   env->facts->hop, "vm", env->facts->vm->name, "stage", "unknown",
				   "phase", 4, "message", why ? why->message : "asking"));
}

enum resolved resolve_source(const struct hop_env *env, const char *rsh, int64_t deadline_ns,
			     struct ctl *ctl, struct error **err)
{
	enum resolved result = RESOLVED_UNKNOWN;

	for (;;) {
		struct error *why = NULL;
		int n = resolve_once(env, rsh, &result, &why);

		if (n > 0)
			return result;
		if (why)
			log_warn("%s", why->message);
		if (result == RESOLVED_UNKNOWN)
			show_unknown(ctl, env, why);
		if (clock_ns() > deadline_ns || (ctl && ctl_abort_wanted(ctl))) {
			if (result != RESOLVED_UNKNOWN)
				error_free(why);
			else if (why)
				error_propagate(err, why);
			else
				error_set(err, ETIMEDOUT, "no decision in time");
			return result;
		}
		error_free(why);
		clock_sleep_ms(result == RESOLVED_UNKNOWN ? AGAIN_MS : HELD_AGAIN_MS);
	}
}

/*
 * Whether the ownership was written away. It is just before RELEASED; but a journal that lost its
 * last record, to a file system's check, say, looks the same, and then the destination may run it.
 */
static bool given_away(const struct hop_env *env)
{
	struct owner owner;

	return owner_read(env->facts->vm->name, &owner, NULL) == 0 &&
	       strcmp(owner.host, env->facts->destination_uuid) == 0 &&
	       owner.epoch > env->facts->epoch;
}

static int recover_source(struct hop_env *env, enum hop_state state, const char *rsh,
			  int64_t deadline_ns, struct error **err)
{
	/* To ask is safe in both; to undo is not. */
	if (state == HOP_OPEN && given_away(env)) {
		log_warn("the VM was given away, found no RELEASED in the journal: the destination "
			 "is asked");
		if (journal_advance(env->facts->hop, HOP_RELEASED, err) < 0)
			return 1;
	} else if (state == HOP_OPEN) {
		return source_undo(env, err) < 0 ? 1 : 0;
	}
	switch (resolve_source(env, rsh, deadline_ns, NULL, err)) {
	case RESOLVED_GONE:
	case RESOLVED_RETAKEN:
		return 0;
	case RESOLVED_DOWN:
		log_warn("VM %s is host %s's by now, but does not run there: `edgehop start %s` "
			 "there",
			 env->facts->vm->name, env->peer->name, env->facts->vm->name);
		return 0;
	default:
		error_wrap(err, "UNKNOWN whether the destination runs VM %s; nothing was started",
			   env->facts->vm->name);
		return 3;
	}
}

bool resolve_accepted_here(const struct hop_env *env)
{
	struct owner accepted = hop_owner_accepted(env->facts), owner;

	return owner_read(env->facts->vm->name, &owner, NULL) == 0 &&
	       strcmp(owner.host, env->facts->destination_uuid) == 0 &&
	       owner.epoch >= accepted.epoch;
}

/* The same for the destination: what it owns it has accepted, whatever its journal lost. */
static int restore_accepted(const struct hop_env *env, enum hop_state *state, struct error **err)
{
	if ((*state != HOP_OPEN && *state != HOP_PREPARED) || !resolve_accepted_here(env))
		return 0;
	log_warn("this host owns the VM, found no ACCEPTED in the journal: it goes on from there");
	if ((*state == HOP_OPEN && journal_advance(env->facts->hop, HOP_PREPARED, err) < 0) ||
	    journal_advance(env->facts->hop, HOP_ACCEPTED, err) < 0)
		return -1;
	*state = HOP_ACCEPTED;
	return 0;
}

static int recover_destination(struct hop_env *env, enum hop_state state, int64_t deadline_ns,
			       struct error **err)
{
	bool held = false;

	if (restore_accepted(env, &state, err) < 0)
		return 1;
	if (state != HOP_ACCEPTED)
		return destination_undo(env, err) < 0 ? 1 : 0;
	if (complete_recover(env, deadline_ns, &held, err) < 0)
		return 1;
	if (held)
		log_warn("connections still need the tunnel; run `edgehop recover` again later");
	return 0;
}

/* A later hop of the VM decides what may still be done about an earlier one. */
static int recover_later(const struct hop_facts *facts, const struct fleet *fleet, const char *rsh,
			 int64_t deadline_ns, struct error **err)
{
	struct error *none = NULL;
	auto_facts later = held_later_hop(facts, &none);
	int status;

	/* What can't be read may be the later hop: then nothing is done that could kill its VM. */
	if (!later && none) {
		error_propagate(err, none);
		return 1;
	}
	error_free(none);
	if (!later)
		return 0;
	if (keeper_lives(later->hop)) {
		error_set(err, EBUSY, "hop %s of the VM, which is later, is under way", later->hop);
		return 1;
	}
	log_info("hop %s of the VM is later and comes first", later->hop);
	status = recover_hop(later->hop, fleet, rsh, deadline_ns, err);
	if (status != 0)
		error_wrap(err, "hop %s of the VM, which is later", later->hop);
	return status;
}

int release_hop(const char *hop, const struct fleet *fleet, json_t **report, struct error **err)
{
	struct hop_env env = {0};
	auto_json json = NULL;
	auto_facts facts = NULL;
	enum hop_state state;
	enum hop_side side;
	int result;

	if (journal_read(hop, &state, &json, err) < 0)
		return -1;
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return -1;
	if (side != HOP_DESTINATION || state != HOP_ACCEPTED)
		return error_set(err, EINVAL,
				 "hop %s: found it %s at its %s, expected one that is held, at its "
				 "destination",
				 hop, hop_state_name(state),
				 side == HOP_SOURCE ? "source" : "destination");
	if (!keeper_worker_gone(hop))
		return error_set(err, EBUSY, "hop %s: its worker can't be ended", hop);

	auto_close lock = vm_store_lock(facts->vm->name, err);

	if (lock < 0)
		return -1;
	result = hop_env_init(&env, facts, side, fleet, err);
	if (result == 0)
		result = complete_release(&env, report, err);
	hop_env_clear(&env);
	return result;
}

int recover_hop(const char *hop, const struct fleet *fleet, const char *rsh, int64_t deadline_ns,
		struct error **err)
{
	struct hop_env env = {0};
	auto_json json = NULL;
	auto_facts facts = NULL;
	enum hop_state state;
	enum hop_side side;
	int status = 1;

	if (journal_read(hop, &state, &json, err) < 0)
		return 1;
	if (hop_state_final(state))
		return 0;
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return 1;
	status = recover_later(facts, fleet, rsh, deadline_ns, err);
	if (status != 0)
		return status;
	if (!keeper_worker_gone(hop)) {
		error_set(err, EBUSY, "hop %s: its worker can't be ended", hop);
		return 1;
	}
	/* The later one may have ended this one, too. */
	if (journal_read(hop, &state, NULL, err) < 0)
		return 1;
	if (hop_state_final(state))
		return 0;
	status = 1;

	auto_close lock = vm_store_lock(facts->vm->name, err);

	if (lock >= 0 && fault_point("recover", err) == 0 &&
	    hop_env_init(&env, facts, side, fleet, err) == 0)
		status = side == HOP_SOURCE ? recover_source(&env, state, rsh, deadline_ns, err)
					    : recover_destination(&env, state, deadline_ns, err);
	hop_env_clear(&env);
	if (status == 0)
		history_note_quietly(hop, NULL);
	return status;
}
