/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/report.h"

#include "common/units.h"

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static uint64_t bytes_at(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 ? (uint64_t)value : 0;
}

static void print_stages(const json_t *report, FILE *out)
{
	const json_t *stage;
	size_t i;

	if (json_array_size(json_object_get(report, "stages")) == 0)
		return;
	fprintf(out, "  phase  stage        time\n");
	json_array_foreach (json_object_get(report, "stages"), i, stage)
		fprintf(out, "  %-6d %-12s %.3f s\n",
			(int)json_integer_value(json_object_get(stage, "phase")),
			text_at(stage, "stage"),
			json_real_value(json_object_get(stage, "seconds")));
}

static void print_paths(const json_t *report, FILE *out)
{
	char bytes[UNITS_TEXT], repeated[UNITS_TEXT];
	const json_t *value;
	const char *path;
	size_t i;

	if (json_array_size(json_object_get(report, "subflows")) > 0)
		fprintf(out, "  channel      path     bytes sent   again        RTT\n");
	json_array_foreach (json_object_get(report, "subflows"), i, value)
		fprintf(out, "  %-12s %-8s %-12s %-12s %.1f ms\n", text_at(value, "channel"),
			text_at(value, "path"),
			units_bytes_text(bytes_at(value, "bytes_sent"), bytes),
			units_bytes_text(bytes_at(value, "bytes_retransmitted"), repeated),
			json_real_value(json_object_get(value, "rtt_ms")));
	json_object_foreach ((json_t *)(uintptr_t)json_object_get(report, "paths"), path, value)
		fprintf(out, "  path %s: %s, %.0f %%\n", path,
			units_bytes_text(bytes_at(value, "bytes"), bytes),
			100 * json_real_value(json_object_get(value, "share")));
}

static void print_transport(const json_t *report, FILE *out)
{
	json_t *channels = json_object_get(report, "channels");
	const char *peer_why = json_string_value(json_object_get(report, "peer_without_mptcp"));
	const char *name;
	json_t *channel;

	if (peer_why)
		fprintf(out, "  at the destination: %s\n", peer_why);
	json_object_foreach (channels, name, channel) {
		if (json_is_true(json_object_get(channel, "mptcp")))
			continue;
		fprintf(out, "  %s went over plain TCP: %s\n", name, text_at(channel, "why_not"));
	}
}

/* What was not as usual, by the operator's wish. */
static void print_wishes(const json_t *report, FILE *out)
{
	uint64_t limit = bytes_at(report, "rate_limit");
	uint64_t host_limit = bytes_at(report, "host_rate_limit");
	char rate[UNITS_TEXT];

	if (limit)
		fprintf(out, "  rate limit: %s\n", units_rate_text((double)limit, rate));
	if (host_limit)
		fprintf(out, "  rate limit of all hops to that host: %s\n",
			units_rate_text((double)host_limit, rate));
	if (json_is_false(json_object_get(report, "encrypted")))
		fprintf(out, "  disk and memory went unencrypted, as was asked for\n");
	if (json_is_true(json_object_get(report, "forced")))
		fprintf(out, "  it took longer than --timeout: the VM was let pause\n");
	else if (json_is_true(json_object_get(report, "timed_out")))
		fprintf(out, "  it took longer than --timeout\n");
}

static void print_losses(const json_t *report, FILE *out)
{
	const json_t *resumed = json_object_get(report, "resumed");
	char again[UNITS_TEXT];

	if (resumed)
		fprintf(out,
			"  all paths were lost and it went on: times %d, %.1f s in sum, %s sent "
			"again\n",
			(int)bytes_at(resumed, "times"),
			json_number_value(json_object_get(resumed, "seconds")),
			units_bytes_text(bytes_at(resumed, "bytes_again"), again));
}

static void print_hot_skip(const json_t *report, FILE *out)
{
	const json_t *skip = json_object_get(report, "hot_skip");
	const json_t *stuck = json_object_get(report, "not_converging");
	uint64_t throttled = bytes_at(report, "throttled_percent");
	uint64_t left_out =
		bytes_at(skip, "superseded") + bytes_at(skip, "stale") + bytes_at(skip, "there");
	char size[UNITS_TEXT];

	if (skip)
		fprintf(out, "  hot-skip, rule %s: %d rounds, %s left out of %d pages\n",
			text_at(skip, "rule"), (int)bytes_at(skip, "rounds"),
			units_bytes_text(left_out * 4096, size), (int)bytes_at(skip, "pages_in"));
	if (stuck)
		fprintf(out, "  after %.0f s the VM kept %s dirty, a pause of %.0f ms\n",
			json_number_value(json_object_get(stuck, "after_seconds")),
			units_bytes_text(bytes_at(stuck, "bytes"), size),
			json_number_value(json_object_get(stuck, "downtime_ms")));
	if (throttled)
		fprintf(out, "  its CPU time was cut by up to %d %%\n", (int)throttled);
}

/* whose: a word, and its name or "" */
static void print_coded(const json_t *coding, const char *whose, const char *name, FILE *out)
{
	const json_t *known = json_object_get(coding, "known");
	char before[UNITS_TEXT], after[UNITS_TEXT];

	fprintf(out, "  %s%s's stream: %s became %s, at last by %s (%s)\n", whose, name,
		units_bytes_text(bytes_at(coding, "in"), before),
		units_bytes_text(bytes_at(coding, "out"), after), text_at(coding, "way"),
		text_at(coding, "why"));
	if (known)
		fprintf(out, "    %s of it were there already, of %s that were offered\n",
			units_bytes_text(bytes_at(known, "bytes"), before),
			units_bytes_text(4096 * bytes_at(known, "offered"), after));
}

static void print_coding(const json_t *report, FILE *out)
{
	const json_t *memory = json_object_get(report, "coding");
	const json_t *failed = json_object_get(json_object_get(report, "checkpoint"), "failed");
	const json_t *disks = json_object_get(report, "disk_coding"), *coding;
	const json_t *copies = json_object_get(report, "disk_copy"), *copy;
	const char *disk;

	if (memory)
		print_coded(memory, "memory", "", out);
	json_object_foreach ((json_t *)(uintptr_t)disks, disk, coding)
		print_coded(coding, "disk ", disk, out);
	if (failed)
		fprintf(out, "  no checkpoint is kept: %s\n", json_string_value(failed));
	json_object_foreach ((json_t *)(uintptr_t)copies, disk, copy)
		fprintf(out, "  disk %s: %s was copied\n", disk, json_string_value(copy));
}

static void print_connections(const json_t *report, FILE *out)
{
	const json_t *vnic = json_object_get(report, "vnic");
	const json_t *waiting;
	size_t i;

	if (!vnic)
		return;
	if (json_is_true(json_object_get(vnic, "guest_restarted")))
		fprintf(out,
			"  the guest RESTARTED after it had been moved: what it had not synced is "
			"lost\n");
	fprintf(out, "  connections: %d MPTCP, of which %d followed; %d plain TCP\n",
		(int)json_integer_value(json_object_get(vnic, "connections")),
		(int)json_integer_value(json_object_get(vnic, "joined")),
		(int)json_integer_value(json_object_get(vnic, "plain")));
	if (!json_is_true(json_object_get(vnic, "held")))
		return;
	fprintf(out, "  the tunnel is kept: %s\n", text_at(vnic, "why"));
	json_array_foreach (json_object_get(vnic, "waiting"), i, waiting)
		fprintf(out, "    %s\n", json_string_value(waiting));
}

static void print_prediction(const json_t *report, FILE *out)
{
	const json_t *predicted = json_object_get(report, "predicted");
	const json_t *errors = json_object_get(report, "prediction_error_percent");

	if (errors)
		fprintf(out,
			"  predicted: %.1f s, it was %+.0f %%; downtime %.0f ms, it was %+.0f %%\n",
			json_number_value(json_object_get(predicted, "seconds")),
			json_number_value(json_object_get(errors, "seconds")),
			json_number_value(json_object_get(predicted, "downtime_ms")),
			json_number_value(json_object_get(errors, "downtime")));
}

void report_print(const json_t *report, FILE *out)
{
	const json_t *from = json_object_get(report, "from"), *to = json_object_get(report, "to");
	const json_t *downtime = json_object_get(report, "downtime_ms");

	fprintf(out, "hop %s: %s, %s (%s) -> %s (%s): %s in %.1f s\n", text_at(report, "hop"),
		text_at(report, "vm"), text_at(from, "site"), text_at(from, "host"),
		text_at(to, "site"), text_at(to, "host"), text_at(report, "result"),
		json_real_value(json_object_get(report, "seconds")));
	print_stages(report, out);
	print_paths(report, out);
	print_transport(report, out);
	print_wishes(report, out);
	print_losses(report, out);
	print_hot_skip(report, out);
	print_coding(report, out);
	print_connections(report, out);
	if (downtime)
		fprintf(out, "  downtime, as the hypervisors saw it: %.0f ms\n",
			json_number_value(downtime));
	print_prediction(report, out);
}
