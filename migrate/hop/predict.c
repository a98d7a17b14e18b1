/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What a hop does, stage by stage, with the costs that each has:
 *
 *   reach       SSH (measured), the far worker's start, the first channel
 *   tunnel, incoming, cleanup    requests of a round trip, and what the hosts need for them
 *   disk        data that is no hole, then what the guest writes meanwhile; until 1 MiB is left
 *   memory      rounds: the first sends all pages (a page of zeroes costs 9 bytes), each further
 *               one what got dirty while the one before was sent
 *   switchover  the rest, what lies in buffers, round trips of the commit protocol
 *   vnic        the agent's orders, and joins where there are connections
 *
 * Rounds, as QEMU 7.2 goes about them: it sends until what is left would go within the downtime
 * limit at the present rate (the threshold), then looks again what is dirty, and pauses the guest
 * when that is below the threshold still; else it goes on:
 *
 *     pending' = rest + dirty(t) - what is in both
 *
 * In what is left QEMU counts a page of zeroes like any other, so the rest of the first round holds
 * less by their share; its pages the guest has left alone. The rest of later ones are pages that it
 * keeps writing to, so it lies in dirty(t) as far as that holds the round's pages again.
 * QEMU sends for up to 50 ms between two looks, so it ends a little below the threshold.
 *
 * The error has four sources, put together as independent ones: the rate (how far it went up
 * and down while it was measured), the sample of the memory (its standard error, twice), what this
 * model leaves out of a transfer, and the fixed costs, which differ by machine and load. What can't
 * be known: that guest, paths or hosts do something else tomorrow than today.
 */
#include "migrate/hop/predict.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"

/* Measured in the lab on two cores; seconds. */
#define REACH_S	   0.12
#define TUNNEL_S   0.03
#define INCOMING_S 0.15
#define CHANNEL_S  0.03
#define VNIC_S	   0.30
#define JOIN_S	   1.10 /* joins, and that the guest waits for peers before it lets go */
#define CLEANUP_S  0.06
#define COMMIT_S   0.12 /* devices, journals, tunnel */
/*
 * On hosts where processes wait for a CPU all the time. Packets are lost where they are forwarded
 * late, and to recover takes round trips, which a long transfer meets more often than a short
 * measurement; the disk's requests need more of the CPU a byte; the fixed costs grow; and the
 * guest's agent needs the VM to be run.
 */
#define BUSY_TRIPS   9.0 /* of a rate: divided by 1 + this x RTT in seconds */
#define BUSY_DISK    0.10
#define BUSY_FIXED   1.0
#define BUSY_AGENT_S 1.8
#define BUSY_ERROR   0.1 /* of the rate, as a share; they never wait evenly */
#define FIXED_ERROR  0.4 /* of all these, as a share */

/* What ten hops with different loads were off where rate and memory were as measured. */
#define MODEL_ERROR 0.12 /* of the time of disk and memory, as a share */

/* Round trips */
#define REACH_TRIPS   8
#define CHANNEL_TRIPS 5 /* TCP, TLS, hello, request; and the rate's beginning */
#define COMMIT_TRIPS  6 /* disk flushed, prepared, released, running */

/* Shares of the probe's rate: the hypervisors are in it, too; and the disk goes through NBD. */
#define MEMORY_EFFICIENCY 0.97
#define DISK_EFFICIENCY	  0.93
#define MIRROR_REST	  (1 << 20)
#define PAGE_HEADER	  8

/* All paths together carry about that share of what they carry alone, give or take the error. */
#define ALONE_SHARE  0.95
#define ALONE_ERROR  0.15
#define LEAST_SPREAD 0.02

#define ZERO_PAGE   9
#define SLICE_S	    0.05 /* QEMU sends that long between two looks */
#define ROUNDS_MOST 500

static const char *const stage_names[] = {
	[PREDICT_REACH] = "reach",	 [PREDICT_TUNNEL] = "tunnel",
	[PREDICT_INCOMING] = "incoming", [PREDICT_DISK] = "disk",
	[PREDICT_MEMORY] = "memory",	 [PREDICT_SWITCHOVER] = "switchover",
	[PREDICT_VNIC] = "vnic",	 [PREDICT_CLEANUP] = "cleanup",
};
static_assert(ARRAY_SIZE(stage_names) == PREDICT_STAGES, "each stage has a name");

/*
 * A steady measurement over all paths says it all: also what they share. On hosts that are busy it
 * may have fallen into a hole; then the paths one by one, at other moments, know better. Both are
 * weighed by their variance.
 */
struct predict_rate predict_rate(double together, double together_spread, double alone_sum)
{
	double guess = ALONE_SHARE * alone_sum;
	double of_together = fmax(LEAST_SPREAD, together_spread) * together;
	double of_guess = ALONE_ERROR * guess;
	double weight, other, sum;

	if (together <= 0 || guess <= 0)
		return (struct predict_rate){fmax(0, together), 1};
	weight = 1 / (of_together * of_together);
	other = 1 / (of_guess * of_guess);
	sum = weight + other;
	guess = (together * weight + guess * other) / sum;
	return (struct predict_rate){guess, sqrt(1 / sum) / guess};
}

double predict_dirty(const struct hv_survey *survey, double seconds)
{
	double t0 = 0, b0 = 0, slope = 0;

	for (size_t i = 0; i < survey->dirty_count; i++) {
		double t1 = (double)survey->dirty[i].within_ns / 1e9;
		double b1 = (double)survey->dirty[i].bytes;

		if (t1 > t0)
			slope = b1 > b0 ? (b1 - b0) / (t1 - t0) : 0;
		if (seconds <= t1)
			return b0 + slope * (seconds - t0);
		t0 = t1;
		b0 = b1;
	}
	b0 += slope * (seconds - t0);
	return b0 < (double)survey->memory ? b0 : (double)survey->memory;
}

/* One set of assumptions: the middle, or one end of an error. */
struct assumption {
	double rate;  /* bytes/s */
	double dirty; /* factor */
};

struct outcome {
	bool converges;
	char why_not[PREDICT_WHY];
	double disk_s, memory_s, pause_s;
	double disk_bytes, memory_bytes;
	unsigned rounds;
};

static double write_rate(const struct hv_survey *survey)
{
	double sum = 0;

	for (size_t i = 0; i < survey->disk_count; i++)
		sum += (double)survey->disks[i].write_rate;
	return sum;
}

static void never_ends(struct outcome *o, const char *what, double written, double rate)
{
	char have[UNITS_TEXT], need[UNITS_TEXT];

	o->converges = false;
	snprintf(o->why_not, sizeof(o->why_not),
		 "the guest writes %s/s to its %s, the paths carry %s/s",
		 units_bytes_text((uint64_t)written, need), what,
		 units_bytes_text((uint64_t)fmax(0, rate), have));
}

static void run_disk(const struct predict_input *in, const struct assumption *a, struct outcome *o)
{
	double rate = a->rate * DISK_EFFICIENCY * (1 - BUSY_DISK * in->busy),
	       writes = write_rate(&in->survey), data = 0;

	for (size_t i = 0; i < in->survey.disk_count; i++) {
		double allocated = (double)in->survey.disks[i].allocated;

		data += allocated > MIRROR_REST ? allocated - MIRROR_REST : 0;
	}
	if (writes >= rate) {
		never_ends(o, "disks", writes, rate);
		return;
	}
	o->disk_s = data / (rate - writes);
	o->disk_bytes = data + writes * o->disk_s;
}

/* Bytes on the wire for the first round, with its pages of zeroes. */
static double first_round(const struct hv_survey *survey)
{
	double page = survey->page ? (double)survey->page : 4096;
	double zero = (double)survey->memory - (double)survey->nonzero;

	return (double)survey->nonzero * (1 + PAGE_HEADER / page) +
	       (zero > 0 ? zero / page * ZERO_PAGE : 0);
}

/* Of the memory, as far as the guest has filled it. */
static double nonzero_share(const struct hv_survey *survey)
{
	return survey->memory ? fmin(1, (double)survey->nonzero / (double)survey->memory) : 1;
}

static void run_memory(const struct predict_input *in, const struct assumption *a,
		       struct outcome *o)
{
	double rate = a->rate * MEMORY_EFFICIENCY - write_rate(&in->survey);
	double threshold = rate * (double)in->downtime_ns / 1e9;
	double floor = threshold > rate * SLICE_S ? threshold - rate * SLICE_S / 2 : threshold / 2;
	double pending = first_round(&in->survey), rest, dirty = 0, seconds = 0;

	for (o->rounds = 1; o->rounds < ROUNDS_MOST; o->rounds++) {
		rest = pending;
		if (pending > floor)
			rest = o->rounds == 1 ? floor * nonzero_share(&in->survey) : floor;
		seconds = (pending - rest) / rate;
		dirty = a->dirty * predict_dirty(&in->survey, seconds);
		o->memory_s += seconds;
		o->memory_bytes += pending - rest;
		if (o->rounds > 1)
			rest *= 1 - (dirty < pending ? dirty / pending : 1);
		pending = rest + dirty;
		if (pending <= threshold) {
			o->rounds++;
			o->memory_bytes += pending;
			o->pause_s = pending / rate;
			return;
		}
	}
	never_ends(o, "memory", seconds > 0 ? dirty / seconds : 0, rate);
}

/* What is left of the measured rate in the long run. */
static double sustained(const struct predict_input *in)
{
	return in->rate / (1 + BUSY_TRIPS * in->busy * (double)in->rtt_ns / 1e9);
}

static struct outcome run(const struct predict_input *in, double rate_factor, double dirty_factor)
{
	struct assumption a = {.rate = sustained(in) * rate_factor, .dirty = dirty_factor};
	struct outcome o = {.converges = true};

	run_disk(in, &a, &o);
	if (o.converges)
		run_memory(in, &a, &o);
	return o;
}

/* Bytes that lie in buffers between the hypervisors when the guest is paused. */
static double backlog_s(const struct predict_input *in)
{
	return 2 * (double)in->rtt_ns / 1e9;
}

static double pause_s(const struct predict_input *in, const struct outcome *o)
{
	return o->pause_s + backlog_s(in) + COMMIT_TRIPS * (double)in->rtt_ns / 1e9 + COMMIT_S;
}

static void fill_stages(const struct predict_input *in, const struct outcome *o,
			double stages[PREDICT_STAGES])
{
	double rtt = (double)in->rtt_ns / 1e9, slow = 1 + BUSY_FIXED * in->busy;

	stages[PREDICT_REACH] = (double)in->ssh_ns / 1e9 + REACH_S * slow + REACH_TRIPS * rtt;
	stages[PREDICT_TUNNEL] = TUNNEL_S * slow + rtt;
	stages[PREDICT_INCOMING] = INCOMING_S * slow + rtt;
	stages[PREDICT_DISK] = CHANNEL_S * slow + CHANNEL_TRIPS * rtt + o->disk_s;
	stages[PREDICT_MEMORY] = CHANNEL_S * slow + CHANNEL_TRIPS * rtt + o->memory_s;
	stages[PREDICT_SWITCHOVER] = pause_s(in, o);
	stages[PREDICT_VNIC] = VNIC_S * slow + BUSY_AGENT_S * in->busy * in->busy +
			       (in->agent && in->connections ? JOIN_S : 0) + 2 * rtt;
	stages[PREDICT_CLEANUP] = CLEANUP_S * slow + rtt;
}

static double sum(const double stages[PREDICT_STAGES])
{
	double total = 0;

	for (size_t i = 0; i < PREDICT_STAGES; i++)
		total += stages[i];
	return total;
}

/* Twice the standard error of a share of the sample, as a share of itself. */
static double sample_error(const struct hv_survey *survey, double bytes)
{
	double share = survey->memory ? bytes / (double)survey->memory : 0;
	double n = survey->sampled ? (double)survey->sampled : 1;

	if (share <= 0 || share >= 1)
		return 0;
	return fmin(1, 2 * sqrt((1 - share) / (share * n)));
}

static int64_t to_ns(double seconds)
{
	return (int64_t)(seconds * 1e9);
}

/* The ends of the error: slow paths with much dirtied, fast ones with little; and fixed costs. */
static void fill_errors(const struct predict_input *in, const struct outcome *middle,
			struct prediction *p)
{
	const struct hv_survey *survey = &in->survey;
	double rate = fmin(0.5, fmax(in->rate_error, 0.05) + BUSY_ERROR * in->busy);
	double dirty = survey->dirty_count ? sample_error(survey, predict_dirty(survey, 1)) : 0.5;
	struct outcome slow = run(in, 1 - rate, 1), fast = run(in, 1 + rate, 1);
	struct outcome much = run(in, 1, 1 + dirty), little = run(in, 1, 1 - dirty);
	double moved = middle->disk_s + middle->memory_s, total = (double)p->total_ns / 1e9;
	double fixed = hypot(FIXED_ERROR * (total - moved), MODEL_ERROR * moved);
	double pause = (double)p->downtime_ns / 1e9;
	double pause_fixed = FIXED_ERROR * (pause - middle->pause_s);

	/* Where an end does not converge, there is no upper one: ten times is as good as any. */
	double up_rate = slow.converges ? slow.disk_s + slow.memory_s - moved : 9 * moved;
	double up_dirty = much.converges ? much.disk_s + much.memory_s - moved : 9 * moved;
	double down_rate = moved - fast.disk_s - fast.memory_s;
	double down_dirty = moved - little.disk_s - little.memory_s;
	double limit = (double)in->downtime_ns / 1e9;

	p->total_low_ns = to_ns(
		total - sqrt(down_rate * down_rate + down_dirty * down_dirty + fixed * fixed));
	p->total_high_ns =
		to_ns(total + sqrt(up_rate * up_rate + up_dirty * up_dirty + fixed * fixed));
	/* How much is left when the guest is paused is anything from nothing to the threshold. */
	p->downtime_low_ns = to_ns(fmax(0, pause - middle->pause_s - pause_fixed));
	p->downtime_high_ns = to_ns(pause - middle->pause_s +
				    fmax(limit * (1 + rate), middle->pause_s) + pause_fixed);
}

void predict(const struct predict_input *input, struct prediction *p)
{
	struct outcome o = {.why_not = "no path carries anything"};
	double stages[PREDICT_STAGES];

	memset(p, 0, sizeof(*p));
	if (input->rate > 0)
		o = run(input, 1, 1);
	p->converges = o.converges;
	memcpy(p->why_not, o.why_not, sizeof(p->why_not));
	if (!o.converges)
		return;
	fill_stages(input, &o, stages);
	for (size_t i = 0; i < PREDICT_STAGES; i++)
		p->stage_ns[i] = to_ns(stages[i]);
	p->total_ns = to_ns(sum(stages));
	p->downtime_ns = to_ns(pause_s(input, &o));
	p->disk_bytes = (uint64_t)o.disk_bytes;
	p->memory_bytes = (uint64_t)o.memory_bytes;
	p->rounds = o.rounds;
	fill_errors(input, &o, p);
}

static double seconds_of(int64_t ns)
{
	return (double)ns / 1e9;
}

json_t *prediction_to_json(const struct prediction *p)
{
	json_t *stages = json_object();

	if (!p->converges) {
		json_decref(stages);
		return json_pack("{s:b, s:s}", "converges", 0, "why_not", p->why_not);
	}
	for (size_t i = 0; i < PREDICT_STAGES; i++)
		json_object_set_new(stages, stage_names[i], json_real(seconds_of(p->stage_ns[i])));
	return json_pack("{s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:i, s:o}", "converges", 1,
			 "seconds", seconds_of(p->total_ns), "seconds_low",
			 seconds_of(p->total_low_ns), "seconds_high", seconds_of(p->total_high_ns),
			 "downtime_ms", 1e3 * seconds_of(p->downtime_ns), "downtime_low_ms",
			 1e3 * seconds_of(p->downtime_low_ns), "downtime_high_ms",
			 1e3 * seconds_of(p->downtime_high_ns), "disk_bytes",
			 (json_int_t)p->disk_bytes, "memory_bytes", (json_int_t)p->memory_bytes,
			 "rounds", (int)p->rounds, "stages", stages);
}
