/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/resolve.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/remote.h"
#include "migrate/hop/complete.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/tap.h"

#define LOG_MODULE "resolve"

#define SSH_NS	  (20 * NS_PER_SEC)
#define DECIDE_NS (90 * NS_PER_SEC)
#define AGAIN_MS  2000

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
	const struct vm_site *site = hop_old_site(env->facts);

	if (hv_kill(env->vm, err) < 0)
		return -1;
	if (tunnel_open(&env->tunnel, err) < 0)
		return -1;
	return tunnel_redirect(&env->tunnel, env->self->bridge, site->addresses,
			       site->address_count, err);
}

/* Whether the destination has switched the vNICs, so that the tunnel can go: 1, 0, -1. */
static int ask_outcome(const struct hop_env *env, const char *rsh, struct error **err)
{
	auto_json answer = ask(env, rsh, "outcome", err);
	const char *state = answer ? json_get_string(answer, "state", err) : NULL;

	if (!state)
		return -1;
	return strcmp(state, hop_state_name(HOP_DONE)) == 0;
}

/* One attempt. 1: resolved, *result says how; 0: not over yet; -1. */
static int resolve_once(const struct hop_env *env, const char *rsh, enum resolved *result,
			struct error **err)
{
	enum hop_state state;
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
		return source_undo(env, err) < 0 ? -1 : 1;
	}
	if (state != HOP_GONE) {
		*result = state == HOP_DONE ? RESOLVED_GONE : RESOLVED_RETAKEN;
		return 1;
	}
	*result = RESOLVED_GONE; /* if not more, this much is known */
	if (stand_aside(env, err) < 0)
		return -1;
	over = ask_outcome(env, rsh, err);
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
		clock_sleep_ms(AGAIN_MS);
	}
}

static int recover_source(struct hop_env *env, enum hop_state state, const char *rsh,
			  int64_t deadline_ns, struct error **err)
{
	if (state == HOP_OPEN)
		return source_undo(env, err) < 0 ? 1 : 0;
	switch (resolve_source(env, rsh, deadline_ns, NULL, err)) {
	case RESOLVED_GONE:
	case RESOLVED_RETAKEN:
		return 0;
	default:
		error_wrap(err, "UNKNOWN whether the destination runs VM %s; nothing was started",
			   env->facts->vm->name);
		return 3;
	}
}

static int recover_destination(struct hop_env *env, enum hop_state state, int64_t deadline_ns,
			       struct error **err)
{
	bool held = false;

	if (state != HOP_ACCEPTED)
		return destination_undo(env, err) < 0 ? 1 : 0;
	if (complete_recover(env, deadline_ns, &held, err) < 0)
		return 1;
	if (held)
		log_warn("connections still need the tunnel; run `edgehop recover` again later");
	return 0;
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
	if (!keeper_worker_gone(hop)) {
		error_set(err, EBUSY, "hop %s: its worker can't be ended", hop);
		return 1;
	}

	auto_close lock = vm_store_lock(facts->vm->name, err);

	if (lock >= 0 && hop_env_init(&env, facts, side, fleet, err) == 0)
		status = side == HOP_SOURCE ? recover_source(&env, state, rsh, deadline_ns, err)
					    : recover_destination(&env, state, deadline_ns, err);
	hop_env_clear(&env);
	return status;
}
