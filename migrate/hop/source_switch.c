/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/compare.h"
#include "migrate/hop/held.h"
#include "migrate/hop/journal.h"
#include "netswitch/tap.h"

#define LOG_MODULE "source"

/* Phases 4 and 6: from the pause to the commit protocol's end, and the clean-up. */

#define FINISH_NS  (30 * NS_PER_SEC)
#define PREPARE_NS (3600 * NS_PER_SEC) /* silence and the operator end it sooner */
#define RELEASE_NS (15 * NS_PER_SEC)
#define CLOSE_NS   (15 * NS_PER_SEC)
#define FRESH_NS   (3 * NS_PER_SEC)
#define LATE_NS	   (60 * NS_PER_SEC) /* that the last stage may wait for a checkpoint */

/*
 * The tunnel goes over a path on which the memory stream got on lately: the one that it was opened
 * on when that is among them, else the one that got on last.
 */
static void choose_tunnel_path(struct source *s)
{
	struct relay_stats stats;
	const char *best = NULL;
	int64_t best_ns = 0;
	int64_t now = clock_ns();

	relay_stats(s->memory.relay, &stats);
	for (size_t i = 0; i < stats.n_subflows; i++) {
		const char *path = report_path_of(s->env.peer, &stats.subflows[i]);

		if (!path)
			continue;
		if (strcmp(path, s->tunnel_path) == 0 && now - stats.progress_ns[i] < FRESH_NS)
			return;
		if (stats.progress_ns[i] > best_ns) {
			best = path;
			best_ns = stats.progress_ns[i];
		}
	}
	if (!best || strcmp(best, s->tunnel_path) == 0)
		return;
	log_warn("path %s is silent, the tunnel goes over %s", s->tunnel_path, best);
	memcpy(s->tunnel_path, best, strlen(best) + 1);
}

int source_move_tunnel(struct source *s, struct error **err)
{
	const struct ip_addr *own, *far;

	if (hop_env_ends(&s->env, s->tunnel_path, &own, &far, err) < 0)
		return -1;
	return tunnel_move(&s->env.tunnel, own, far, err);
}

/* The VM is paused here and its disks are equal: sends the rest, until the far side has it all. */
static int prepare(struct source *s, struct error **err)
{
	json_t *request = json_pack("{s:s, s:s}", "do", "prepare", "tunnel-path", s->tunnel_path);
	int sent = control_send(s->control, request, err);

	json_decref(request);
	if (sent < 0 || hv_memory_continue(s->env.vm, err) < 0 ||
	    source_await(s, PREPARE_NS, NULL, err) < 0)
		return -1;
	/* It has everything, so nothing but the last word between the hypervisors is missing. */
	return hv_memory_wait_sent(s->env.vm, clock_ns() + FINISH_NS, err);
}

/* Written and synced before anybody is told: from here on this host does not run the VM. */
static int give_away(struct source *s, struct error **err)
{
	struct owner owner = hop_owner_accepted(s->env.facts);
	enum hop_state state;

	if (owner_write(s->env.facts->vm->name, &owner, err) < 0 ||
	    fault_point("owner-written", err) < 0)
		return -1;
	if (journal_advance(s->env.facts->hop, HOP_RELEASED, err) < 0) {
		/* Written, but perhaps not synced: it counts, as a recovery would find it. */
		s->decided = journal_read(s->env.facts->hop, &state, NULL, NULL) < 0 ||
			     state == HOP_RELEASED;
		return -1;
	}
	s->decided = true;
	ctl_forget_abort(s->ctl); /* what was wanted before can't be had any more */
	return fault_point("released", err);
}

static bool tunnel_has_to_move(const struct source *s)
{
	return hop_has_tunnel(s->env.facts) &&
	       strcmp(s->tunnel_path, s->env.facts->first_path) != 0;
}

/* Nothing reaches the VM here any more, except by the tunnel of the hop that this one ends. */
static int idle_taps(struct source *s, struct error **err)
{
	if (s->env.facts->supersedes[0])
		return 0;
	for (size_t i = 0; i < s->env.leg_count; i++)
		if (tap_place_idle(s->env.legs[i].old_tap, err) < 0)
			return -1;
	return 0;
}

/* The old addresses lead into the tunnel while RELEASED is still on its way. */
static void redirect(struct source *s)
{
	auto_error why = NULL;

	if (idle_taps(s, &why) < 0 || (tunnel_has_to_move(s) && source_move_tunnel(s, &why) < 0) ||
	    hop_env_redirect(&s->env, &why) < 0)
		log_error("the old address is not redirected: %s", error_text(why));
}

static void note_times(struct source *s)
{
	struct relay_stats stats;
	int64_t now = clock_ns();

	relay_stats(s->memory.relay, &stats);
	report_set(s->report, "downtime_ms", json_real((double)(now - s->paused_ns) / NS_PER_MS));
	report_set(s->report, "memory_seconds",
		   json_real((double)(now - stats.first_byte_ns) / NS_PER_SEC));
}

int source_switchover(struct source *s, struct error **err)
{
	json_t *release = json_pack("{s:s}", "do", "release");
	int result = -1;

	choose_tunnel_path(s);
	if (source_finish_disks(s, err) == 0 && prepare(s, err) == 0 &&
	    (!s->job->compare_memory || source_compare_memory(s, err) == 0) &&
	    fault_point("prepared-seen", err) == 0 && source_tick(s, err) == 0 &&
	    give_away(s, err) == 0)
		result = control_send(s->control, release, err);
	json_decref(release);
	if (result < 0)
		return -1;
	redirect(s);
	if (fault_point("redirected", err) < 0 || source_await(s, RELEASE_NS, NULL, err) < 0)
		return -1;
	note_times(s);
	source_close_transfers(s);
	if (journal_advance(s->env.facts->hop, HOP_GONE, err) < 0 ||
	    fault_point("accepted-seen", err) < 0)
		return -1;
	if ((!source_checkpoint_begin(s) && hv_kill(s->env.vm, err) < 0) ||
	    disk_set_take(&s->carried, disk_leave, err) < 0)
		return -1;
	return held_supersede(&s->env, err);
}

int source_cleanup(struct source *s, struct error **err)
{
	auto_error why = NULL;

	if (fault_point("cleanup", err) < 0)
		return -1;
	source_checkpoint_end(s, LATE_NS);
	/* The far side finishes by itself, too. */
	if (source_call(s, json_pack("{s:s}", "do", "close"), CLOSE_NS, NULL, &why) < 0)
		log_warn("%s", error_text(why));
	return source_finish(&s->env, err);
}
