/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/resolve.h"

#define LOG_MODULE "source"

#define RECOVER_NS (600 * NS_PER_SEC) /* a keeper's patience; then it is the operator's turn */

/*
 * Theory of operation
 *
 * A hop is this table, run from the top. A stage that fails before RELEASED is undone with all
 * before it (undo.c), and the VM runs on here. Once RELEASED is in the journal nothing is undone
 * any more: the destination is asked, for as long as it takes, whether it accepted (resolve.c).
 */
static const struct {
	const char *name;
	int phase;
	source_stage *run;
} stages[] = {
	{"reach", 1, source_reach},	  {"tunnel", 1, source_tunnel},
	{"incoming", 2, source_incoming}, {"disk", 2, source_disk},
	{"memory", 3, source_memory},	  {"switchover", 4, source_switchover},
	{"vnic", 5, source_vnic},	  {"cleanup", 6, source_cleanup},
};

static int run_stages(struct source *s, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		int64_t started = clock_ns();

		s->progress = (struct progress){.phase = stages[i].phase, .stage = stages[i].name};
		report_stage(s->report, stages[i].phase, stages[i].name);
		log_info("stage %s", stages[i].name);
		if (source_tick(s, err) < 0 || stages[i].run(s, err) < 0)
			return error_wrap(err, "phase %d, %s", stages[i].phase, stages[i].name);
		log_info("stage %s done after %.3f s", stages[i].name,
			 (double)(clock_ns() - started) / 1e9);
	}
	return 0;
}

/* The destination learns of it by itself, too; so this is no more than good manners. */
static void tell_undo(struct source *s)
{
	auto_json request = json_pack("{s:s}", "do", "undo");

	/* Not while the paths are lost: the VM is not to wait for them. */
	if (!source_control_lost(s) && control_send(s->control, request, NULL) == 0)
		json_decref(control_receive(s->control, clock_ns() + 5 * NS_PER_SEC, NULL));
}

void source_close_transfers(struct source *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->disks); i++)
		source_transfer_close(s, &s->disks[i]);
	source_transfer_close(s, &s->memory);
}

/* What became of a VM whose hypervisor died here is another thing than what the hop failed of. */
static void say_undone(const struct source *s, struct error **why)
{
	const struct hop_facts *facts = s->env.facts;

	if (hv_alive(s->env.vm))
		error_wrap(why, "the hop was undone, the VM runs on at %s", facts->source_site);
	else
		error_wrap(
			why,
			"the hop was undone; the VM's hypervisor died, the VM is down and belongs "
			"to this host: `edgehop start %s` starts it",
			facts->vm->name);
}

/* The stages failed with *why. Returns the exit status and leaves the text for people. */
static int settle(struct source *s, struct error **why, const char **result)
{
	struct error *more = NULL;

	log_error("%s", error_text(*why));
	source_checkpoint_end(s, 0);
	source_close_transfers(s);
	disk_set_close(&s->carried);
	if (!s->journalled) {
		*result = "undone";
		error_wrap(why, "nothing was begun, the VM is as it was");
		return 1;
	}
	if (!s->decided) {
		tell_undo(s);
		*result = "undone";
		if (source_undo(&s->env, &more) == 0) {
			say_undone(s, why);
			return 1;
		}
		error_wrap(why, "undoing was not complete (%s), run `edgehop recover`",
			   error_text(more));
		error_free(more);
		return 3;
	}
	switch (resolve_source(&s->env, s->job->rsh, INT64_MAX, s->ctl, &more)) {
	case RESOLVED_GONE:
		error_free(*why);
		*why = NULL;
		*result = "done";
		return 0;
	case RESOLVED_DOWN:
		error_wrap(why,
			   "VM %s is host %s's by now, but does not run there: `edgehop start %s` "
			   "there starts it from its disk",
			   s->env.facts->vm->name, s->env.peer->name, s->env.facts->vm->name);
		*result = "down";
		return 3;
	case RESOLVED_RETAKEN:
		error_wrap(why, "the destination refused, the VM runs on at %s",
			   s->env.facts->source_site);
		*result = "undone";
		return 1;
	default:
		error_wrap(why,
			   "UNKNOWN whether the destination runs the VM (%s); nothing was "
			   "started here; run `edgehop recover`",
			   error_text(more));
		error_free(more);
		*result = "unknown";
		return 3;
	}
}

void source_end(struct source *s, int status, const char *result, const struct error *why)
{
	struct relay_stats control;

	if (s->control && !s->ended) {
		relay_stats(control_relay(s->control), &control);
		report_losses(s->report, &control);
	}

	const json_t *report = report_end(s->report, result, why ? why->message : NULL);
	auto_json end = json_pack("{s:s, s:s, s:i, s:O}", "event", "end", "hop", s->env.facts->hop,
				  "status", status, "report", (json_t *)(uintptr_t)report);
	auto_error not_saved = NULL;

	if (s->ended && !why)
		log_info("result: %s", result);
	s->ended = true;
	if (why)
		json_object_set_new(end, "error", json_string(why->message));
	if (report_save(s->report, &not_saved) < 0)
		log_warn("the report was not kept: %s", error_text(not_saved));
	keeper_write_end(s->env.facts->hop, end);
	ctl_publish_end(s->ctl, json_incref(end));
}

static int start_pacers(struct source *s, struct error **err)
{
	s->pacer = pacer_create(err);
	s->disk_pacer = s->pacer ? pacer_create_below(s->pacer, err) : NULL;
	s->pair = s->disk_pacer ? pair_limit_open(s->env.peer->name, err) : NULL;
	if (!s->pair)
		return -1;
	pair_limit_set_rate(s->pair, s->env.peer->rate_limit / 8);
	pacer_set_pair(s->pacer, s->pair);
	pacer_set_rate(s->pacer, s->job->rate_limit / 8);
	return 0;
}

static int start(struct source *s, struct error **err)
{
	s->ctl = ctl_start(s->job->facts->hop, err);
	if (!s->ctl || hop_env_init(&s->env, s->job->facts, HOP_SOURCE, s->job->fleet, err) < 0)
		return -1;
	s->started_ns = clock_ns();
	if (start_pacers(s, err) < 0)
		return -1;
	s->report = report_create(s->env.facts, s->env.peer);
	if (!s->report)
		return error_set(err, ENOMEM, "no memory for a report");
	if (s->env.peer->rate_limit)
		report_set(s->report, "host_rate_limit",
			   json_integer((json_int_t)s->env.peer->rate_limit));
	report_set(s->report, "encrypted", json_boolean(!s->job->plain));
	if (s->job->rate_limit)
		report_set(s->report, "rate_limit", json_integer((json_int_t)s->job->rate_limit));
	return 0;
}

int source_recover(const char *hop, void *arg, const char **outcome)
{
	const struct source_job *job = arg;
	enum hop_state state;
	auto_error why = NULL;
	int status = recover_hop(hop, job->fleet, job->rsh, clock_ns() + RECOVER_NS, &why);

	if (why)
		log_error("%s", why->message);
	if (status != 0) {
		*outcome = "it could not be recovered yet: run `edgehop recover`";
		return 3;
	}
	if (journal_read(hop, &state, NULL, NULL) == 0 && state == HOP_UNDONE) {
		*outcome = "the hop was undone, the VM runs on at its source";
		return 1;
	}
	*outcome = "the hop was brought to its end, the VM runs at its destination";
	return 0;
}

int source_work(void *arg)
{
	const struct source_job *job = arg;
	struct source s = {.job = job, .vm_lock = -1, .downtime_ns = job->downtime_ns};
	struct error *why = NULL;
	const char *result = "done";
	int status = 0;

	log_set_hop(s.job->facts->hop);
	if (start(&s, &why) < 0) {
		auto_json end = json_pack("{s:s, s:s, s:i, s:s}", "event", "end", "hop",
					  s.job->facts->hop, "status", 1, "error", error_text(why));

		log_error("%s", error_text(why));
		keeper_write_end(s.job->facts->hop, end); /* nothing was begun */
		error_free(why);
		return 1;
	}
	if (run_stages(&s, &why) < 0)
		status = settle(&s, &why, &result);
	source_close_transfers(&s);
	source_end(&s, status, result, why);
	control_goodbye(s.control);
	control_destroy(s.control);
	pacer_destroy(s.disk_pacer);
	pacer_destroy(s.pacer);
	pair_limit_close(s.pair);
	ctl_stop(s.ctl);
	disk_set_close(&s.carried);
	hop_env_clear(&s.env);
	report_destroy(s.report);
	explicit_bzero(&s.key, sizeof(s.key));
	if (s.vm_lock >= 0)
		close(s.vm_lock);
	error_free(why);
	return status;
}
