/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/held.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/hop/complete.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"

#define LOG_MODULE "held"

/* What is looked for among the open hops of this host. */
struct search {
	const char *vm;			/* one that is held; NULL: any */
	const struct hop_facts *before; /* one that is later than this; NULL: any */
	struct hop_facts *found;
};

static int look(const char *hop, enum hop_state state, const json_t *json, void *context,
		struct error **err)
{
	struct search *search = context;
	enum hop_side side;
	auto_facts facts = hop_facts_from_json(json, &side, NULL);

	(void)hop;
	(void)err;
	if (!facts || search->found)
		return 0;
	if (search->vm && (strcmp(facts->vm->name, search->vm) != 0 || side != HOP_DESTINATION ||
			   state != HOP_ACCEPTED))
		return 0;
	if (search->before && (strcmp(facts->vm->uuid, search->before->vm->uuid) != 0 ||
			       facts->epoch <= search->before->epoch))
		return 0;
	search->found = steal_ptr(facts);
	return 0;
}

static struct hop_facts *find(struct search search, struct error **err)
{
	if (journal_each_open(look, &search, err) == 0)
		return search.found;
	hop_facts_free(search.found);
	return NULL;
}

struct hop_facts *held_hop(const char *vm, struct error **err)
{
	return find((struct search){.vm = vm}, err);
}

struct hop_facts *held_later_hop(const struct hop_facts *facts, struct error **err)
{
	return find((struct search){.before = facts}, err);
}

/* What is known here of the superseded hop. 1: it is open, 0: there is nothing to do, -1. */
static int read_superseded(const struct hop_facts *facts, struct hop_facts **held,
			   enum hop_side *side, enum hop_state *state, struct error **err)
{
	auto_json json = NULL;

	if (!facts->supersedes[0])
		return 0;
	if (journal_read(facts->supersedes, state, &json, err) < 0)
		return error_wrap(err, "the hop to be superseded");
	if (hop_state_final(*state))
		return 0;
	*held = hop_facts_from_json(json, side, err);
	return *held ? 1 : -1;
}

int held_take_over(const struct hop_facts *facts, struct error **err)
{
	auto_facts held = NULL;
	enum hop_state state;
	enum hop_side side;
	int open = read_superseded(facts, &held, &side, &state, err);

	if (open <= 0)
		return open;
	if (strcmp(held->vm->uuid, facts->vm->uuid) != 0 ||
	    (side == HOP_DESTINATION ? state != HOP_ACCEPTED
				     : state != HOP_GONE && state != HOP_RELEASED))
		return error_set(err, EBUSY, "hop %s: found it %s, it can't be superseded",
				 held->hop, hop_state_name(state));
	log_info("hop %s, which is held, ends with this one", held->hop);
	if (!keeper_worker_gone(held->hop))
		return error_set(err, EBUSY, "hop %s: its worker can't be ended", held->hop);
	return 0;
}

/* For whoever asks what became of it. */
static void write_end(const struct hop_facts *held, const char *by)
{
	json_t *end = keeper_read_end(held->hop, NULL);
	json_t *report = json_object_get(end, "report");

	if (!end)
		end = json_pack("{s:s, s:s, s:i}", "event", "end", "hop", held->hop, "status", 0);
	json_object_set_new(end, "superseded", json_string(by));
	if (report)
		json_object_set_new(report, "superseded", json_string(by));
	keeper_write_end(held->hop, end);
	json_decref(end);
}

/* The old addresses are this site's own again, and the VM that has them runs: it is left alone. */
static int finish_at_home(const struct hop_env *env, enum hop_state state, struct error **err)
{
	/* That the VM came back proves that it had been accepted there. */
	if (state == HOP_RELEASED && journal_advance(env->facts->hop, HOP_GONE, err) < 0)
		return -1;
	return source_finish(env, err);
}

int held_supersede(const struct hop_env *env, struct error **err)
{
	struct hop_env held_env = {0};
	auto_facts held = NULL;
	enum hop_state state;
	enum hop_side side;
	int result = read_superseded(env->facts, &held, &side, &state, err);

	if (result <= 0)
		return result;
	result = hop_env_init(&held_env, held, side, env->fleet, err);
	if (result == 0)
		result = side == HOP_SOURCE ? finish_at_home(&held_env, state, err)
					    : complete_finish(&held_env, err);
	hop_env_clear(&held_env);
	if (result < 0)
		return error_wrap(err, "hop %s, which is superseded", held->hop);
	log_info("hop %s is superseded", held->hop);
	write_end(held, env->facts->hop);
	return 0;
}
