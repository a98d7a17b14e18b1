/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/units.h"
#include "migrate/codec/page_mac.h"

#define LOG_MODULE "source"

/*
 * Phase 3: memory, until the guest is paused.
 *
 * Theory of operation
 *
 * Without hot-skip the hypervisor sends into the channel and decides by itself when little enough
 * is left. With it the page scheduler stands between (migrate/stream), and the hypervisor is given
 * a downtime of a millisecond, so that it goes on until it is told. The worker tells the scheduler
 * what the hypervisor says is left; when the scheduler says that all of it fits, it opens, and the
 * hypervisor is given all the downtime there is, which makes it pause the guest at its next look.
 *
 * A guest that writes faster than the paths carry never gets there. That is said as soon as the
 * rates of its writes tell, and acted on, as --on-no-converge says, when some rounds have brought
 * nothing:
 *
 *     wait      go on; the operator, --timeout, or the guest's load will end it
 *     pause     pause it at the least remainder (smart stop: CloudNet, III-B.3)
 *     throttle  take CPU time away from the guest, stepwise
 *     abort     undo the hop
 */
#define FORCED_NS	    (2000 * NS_PER_SEC) /* as much as QEMU and its like can be told */
#define LOOK_NS		    (50 * NS_PER_MS)
#define ROUNDS_UNTIL_SAID   3
#define ROUNDS_PER_THROTTLE 3

static const unsigned throttle_steps[] = {20, 40, 60, 80, 95}; /* percent */

/* The pause that the hypervisor may cause by its own decision. */
static struct hv_memory_limits memory_limits(const struct source *s)
{
	struct hv_memory_limits limits = {.downtime_ns = s->downtime_ns,
					  .may_throttle = s->job->on_stuck == HOP_THROTTLE};

	if (s->job->on_stuck == HOP_PAUSE)
		limits.unmet = HV_UNMET_PAUSE;
	if (s->job->on_stuck == HOP_GIVE_UP)
		limits.unmet = HV_UNMET_ABORT;
	if (s->throttled)
		limits.throttle = throttle_steps[s->throttled - 1];
	if (s->forced || s->switch_ordered)
		limits.downtime_ns = FORCED_NS;
	else if (s->memory.stream)
		limits.downtime_ns = NS_PER_MS;
	return limits;
}

static int set_limits(struct source *s, struct error **err)
{
	struct hv_memory_limits limits = memory_limits(s);

	return hv_memory_set_limits(s->env.vm, &limits, err);
}

int source_set_downtime(struct source *s, int64_t downtime_ns, struct error **err)
{
	log_info("the pause to aim at: %lld ms", (long long)(downtime_ns / NS_PER_MS));
	report_set(s->report, "max_downtime_ms", json_integer(downtime_ns / NS_PER_MS));
	s->downtime_ns = downtime_ns;
	s->told_stuck = false;
	s->progress.message[0] = '\0';
	if (s->memory.stream)
		memory_stream_set_downtime(s->memory.stream, downtime_ns);
	return s->memory.relay ? set_limits(s, err) : 0;
}

int source_force(struct source *s, struct error **err)
{
	s->forced = true;
	report_set(s->report, "forced", json_true());
	if (s->memory.stream)
		memory_stream_finish(s->memory.stream);
	if (s->memory.relay)
		return set_limits(s, err);
	/* Its mirrors would never be equal while it writes faster than the paths carry. */
	if (!s->disks[0].relay || !hv_copies_disks(s->env.vm))
		return 0;
	s->paused_ns = clock_ns();
	source_hurry(s);
	return hv_pause(s->env.vm, err);
}

static int look_at_memory(struct source *s, struct error **err)
{
	struct hv_memory memory;
	int64_t asked_ns = clock_ns();

	if (hv_memory_progress(s->env.vm, &memory, err) < 0)
		return -1;
	if (s->memory.stream)
		memory_stream_set_remaining(s->memory.stream, memory.remaining, memory.rounds,
					    asked_ns);
	s->progress.done = memory.transferred;
	s->progress.total = memory.transferred + memory.remaining;
	s->progress.round = memory.rounds;
	s->progress.expected_downtime_ns = memory.downtime_ns;
	if ((memory.rounds > 1 && source_write_twice(s, err) < 0) ||
	    source_share_look(s, memory.rounds, err) < 0)
		return -1;
	if (memory.transferred > 1 << 20 && fault_point("memory-copy", err) < 0)
		return -1;
	return 0;
}

/* ---- With hot-skip ---- */

static void show_stream(struct source *s, const struct memory_stream_stats *stats)
{
	const struct scheduler_stats *pages = &stats->pages;
	uint64_t sent = stats->sent;

	/* what the channel carries, not what the hypervisor goes through again and again */
	s->progress.total = sent + s->progress.total - s->progress.done + pages->held;
	s->progress.done = sent;
	s->progress.round = pages->rounds + 1;
	if (stats->link.rate && pages->need != UINT64_MAX)
		s->progress.expected_downtime_ns =
			(int64_t)((double)pages->need / (double)stats->link.rate * 1e9);
}

static int order_switch(struct source *s, const struct memory_stream_stats *stats,
			struct error **err)
{
	s->switch_ordered = true;
	s->switch_need = stats->pages.need;
	s->switch_target = stats->pages.target;
	memory_stream_finish(s->memory.stream);
	return set_limits(s, err);
}

/* It will not fit: said once, with the figures that the choice is about. */
static void say_stuck(struct source *s, const struct memory_stream_stats *stats)
{
	uint64_t least = stats->pages.foreseen ? stats->pages.foreseen : stats->pages.need;
	double seconds = (double)least / (double)(stats->link.rate ? stats->link.rate : 1);
	char size[UNITS_TEXT], rate[UNITS_TEXT];

	if (s->told_stuck)
		return;
	s->told_stuck = true;
	snprintf(s->progress.message, sizeof(s->progress.message),
		 "the guest keeps %s dirty, at %s a pause of %.1f s, above --max-downtime",
		 units_bytes_text(least, size), units_rate_text((double)stats->link.rate * 8, rate),
		 seconds);
	log_warn("%s", s->progress.message);
	report_set(s->report, "not_converging",
		   json_pack("{s:I, s:f, s:f}", "bytes", (json_int_t)least, "downtime_ms",
			     seconds * 1e3, "after_seconds",
			     (double)(clock_ns() - s->started_ns) / 1e9));
}

static int throttle(struct source *s, unsigned rounds, struct error **err)
{
	if (s->throttled == ARRAY_SIZE(throttle_steps) ||
	    (s->throttled && rounds < s->throttled_round + ROUNDS_PER_THROTTLE))
		return 0;
	s->throttled++;
	s->throttled_round = rounds;
	log_warn("the guest's CPU time is cut by %u %%", throttle_steps[s->throttled - 1]);
	snprintf(s->progress.message, sizeof(s->progress.message),
		 "the guest's CPU time is cut by %u %%", throttle_steps[s->throttled - 1]);
	report_set(s->report, "throttled_percent", json_integer(throttle_steps[s->throttled - 1]));
	return set_limits(s, err);
}

static int act_on_stuck(struct source *s, const struct memory_stream_stats *stats,
			struct error **err)
{
	switch (s->job->on_stuck) {
	case HOP_PAUSE:
		return stats->pages.best ? order_switch(s, stats, err) : 0;
	case HOP_THROTTLE:
		return throttle(s, stats->pages.rounds, err);
	case HOP_GIVE_UP:
		return error_set(err, EBUSY, "%s", s->progress.message);
	default:
		return 0;
	}
}

static int steer(struct source *s, struct error **err)
{
	struct memory_stream_stats stats;

	if (!s->memory.stream)
		return 0;
	memory_stream_stats(s->memory.stream, &stats);
	show_stream(s, &stats);
	/* Nor is the guest paused, or slowed, for a link that is not there. */
	if (s->switch_ordered || s->forced || source_lost_since(s))
		return 0;
	if (stats.pages.ready)
		return order_switch(s, &stats, err);
	if (stats.pages.stuck ||
	    (!stats.pages.converges && stats.pages.rounds >= ROUNDS_UNTIL_SAID))
		say_stuck(s, &stats);
	return stats.pages.stuck ? act_on_stuck(s, &stats, err) : 0;
}

/* The hypervisor failed; a channel that broke explains more than it can. */
static int explain(struct source *s, struct error *why, struct error **err)
{
	if (source_tick(s, err) < 0)
		error_free(why);
	else
		error_propagate(err, why);
	return -1;
}

/* Said once, before it is too late to choose another way. */
static void tell_who_decides(struct source *s)
{
	if (hv_schedules_pages(s->env.vm))
		report_set(s->report, "hot_skip_in_save_path", json_true());
	if (hv_heeds_downtime(s->env.vm))
		return;
	snprintf(s->progress.message, sizeof(s->progress.message),
		 "%s decides by itself when to pause the guest: --max-downtime is not heeded",
		 s->env.facts->vm->hypervisor);
	log_warn("%s (see edgehop-xen-save-helper)", s->progress.message);
}

int source_memory(struct source *s, struct error **err)
{
	struct hv_memory_limits limits;
	char path[PATH_MAX];

	tell_who_decides(s);
	if (source_open_memory(s, path, err) < 0)
		return -1;
	limits = memory_limits(s);
	if (hv_memory_start(s->env.vm, path, &limits, err) < 0)
		return -1;
	for (;;) {
		struct error *why = NULL;

		if (hv_memory_wait_paused(s->env.vm, clock_ns() + LOOK_NS, &why) == 0)
			break;
		if (why->code != ETIMEDOUT)
			return explain(s, why, err);
		error_free(why);
		if (look_at_memory(s, err) < 0 || source_tick(s, err) < 0 || steer(s, err) < 0)
			return -1;
	}
	if (!s->paused_ns)
		s->paused_ns = clock_ns();
	source_share_evenly(s);
	source_hurry(s);
	if (s->memory.stream)
		memory_stream_finish(s->memory.stream);
	return fault_point("paused", err);
}

void source_report_memory(struct source *s)
{
	struct memory_stream_stats stats;
	const struct scheduler_stats *p = &stats.pages;
	json_t *report;

	if (!s->memory.stream)
		return;
	memory_stream_stats(s->memory.stream, &stats);
	report = json_pack(
		"{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"rule", hot_rule_name(s->job->pages.rule), "rounds", (int)p->rounds, "pages_in",
		(json_int_t)p->pages_in, "pages_out", (json_int_t)p->pages_out, "chosen",
		(json_int_t)p->pages_chosen, "superseded", (json_int_t)p->pages_superseded,
		"forced", (json_int_t)p->pages_forced, "cooled", (json_int_t)p->pages_cooled,
		"filled", (json_int_t)p->pages_filled, "stale", (json_int_t)p->pages_stale, "there",
		(json_int_t)p->pages_there, "owed", (json_int_t)p->pages_owed, "fetched",
		(json_int_t)p->pages_fetched, "held_peak_bytes", (json_int_t)p->held_peak, "rate",
		(json_int_t)stats.link.rate * 8);
	if (s->switch_ordered) {
		json_object_set_new(report, "left_bytes", json_integer((json_int_t)s->switch_need));
		json_object_set_new(report, "target_bytes",
				    json_integer((json_int_t)s->switch_target));
	}
	report_set(s->report, "hot_skip", report);
}

/* What the destination had already. */
static json_t *known_pages_report(const struct codec_pipe_stats *stats)
{
	const struct front_stats *front = &stats->stream.front;

	return json_pack("{s:I, s:I, s:I, s:I, s:f}", "offered", (json_int_t)stats->offered,
			 "offer_bytes",
			 (json_int_t)(OFFER_HEADER_SIZE + (uint64_t)stats->offered * PAGE_MAC_SIZE),
			 "pages", (json_int_t)front->known, "bytes",
			 (json_int_t)front->known * PAGE_MAC_CONTENT, "seconds", front->known_s);
}

/* The disk that a transfer is of; NULL: it is the memory's. */
static const char *disk_of(const struct source *s, const struct transfer *transfer)
{
	if (transfer == &s->memory)
		return NULL;
	return s->env.facts->vm->disks[(transfer - s->disks) / DISK_STREAMS_MOST].name;
}

void source_report_coding(struct source *s, const struct transfer *transfer)
{
	const char *disk = disk_of(s, transfer);
	struct codec_pipe_stats stats;
	json_t *report, *ways = json_object();

	codec_pipe_stats(transfer->coder, &stats);
	for (int i = 0; i < CONTROL_WAYS; i++) {
		const struct control_used *used = &stats.control.used[i];

		if (used->in)
			json_object_set_new(ways, control_way_name((enum control_way)i),
					    json_pack("{s:I, s:I, s:f}", "in", (json_int_t)used->in,
						      "out", (json_int_t)used->out, "seconds",
						      used->seconds));
	}
	report = json_pack(
		"{s:I, s:I, s:I, s:s, s:s, s:i, s:o}", "in", (json_int_t)stats.stream.bytes_in,
		"out", (json_int_t)stats.stream.bytes_out, disk ? "blocks" : "pages",
		(json_int_t)stats.stream.pages, "way", control_way_name(stats.control.way), "why",
		stats.control.why, "changes", (int)stats.control.changes, "ways", ways);
	if (stats.offered)
		json_object_set_new(report, "known", known_pages_report(&stats));
	if (disk)
		report_disk_coding(s->report, disk, report);
	else
		report_set(s->report, "coding", report);
}
