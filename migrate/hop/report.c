/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"
#include "common/wall.h"
#include "migrate/hop/forecast.h"

struct report {
	json_t *json;
	const struct fleet_host *peer;
	int64_t started_ns, stage_ns;
};

struct report *report_create(const struct hop_facts *facts, const struct fleet_host *peer)
{
	struct report *report = calloc(1, sizeof(*report));
	char started[WALL_TEXT];
	json_t *predicted;

	if (!report)
		return NULL;
	wall_text(wall_ms(), started);
	report->peer = peer;
	report->started_ns = clock_ns();
	report->json = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:{s:s,s:s}, s:{s:s,s:s}, s:[], "
				 "s:[], s:{}}",
				 "edgehop", "report", "version", REPORT_VERSION, "hop", facts->hop,
				 "vm", facts->vm->name, "side", hop_side_name(HOP_SOURCE),
				 "started", started, "from", "site", facts->source_site, "host",
				 facts->source, "to", "site", facts->destination_site, "host",
				 facts->destination, "stages", "subflows", "channels");
	if (!report->json) {
		free(report);
		return NULL;
	}
	predicted = forecast_take(facts->vm->name, facts->destination);
	if (predicted)
		report_set(report, "predicted", predicted);
	return report;
}

void report_destroy(struct report *report)
{
	if (!report)
		return;
	json_decref(report->json);
	free(report);
}

static double seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

void report_stages_end(struct report *report)
{
	json_t *stages = json_object_get(report->json, "stages");
	json_t *last = json_array_get(stages, json_array_size(stages) - 1);

	if (last && !json_object_get(last, "seconds"))
		json_object_set_new(last, "seconds",
				    json_real(seconds(clock_ns() - report->stage_ns)));
}

void report_stage(struct report *report, int phase, const char *stage)
{
	report_stages_end(report);
	report->stage_ns = clock_ns();
	json_array_append_new(json_object_get(report->json, "stages"),
			      json_pack("{s:i, s:s}", "phase", phase, "stage", stage));
}

const char *report_path_of(const struct fleet_host *peer, const struct subflow *subflow)
{
	for (size_t i = 0; i < peer->address_count; i++)
		if (ip_same(&peer->addresses[i].address, &subflow->remote))
			return peer->addresses[i].path;
	return NULL;
}

void report_channel(struct report *report, const char *channel, const struct relay_stats *stats)
{
	json_t *subflows = json_object_get(report->json, "subflows");

	for (size_t i = 0; i < stats->n_subflows; i++) {
		const struct subflow *s = &stats->subflows[i];
		const char *path = report_path_of(report->peer, s);
		char local[IP_TEXT], remote[IP_TEXT];

		json_array_append_new(
			subflows,
			json_pack("{s:s, s:s?, s:s, s:s, s:I, s:I, s:I, s:f}", "channel", channel,
				  "path", path, "local", ip_format_host(&s->local, local), "remote",
				  ip_format_host(&s->remote, remote), "bytes_sent",
				  (json_int_t)s->bytes_sent, "bytes_received",
				  (json_int_t)s->bytes_received, "bytes_retransmitted",
				  (json_int_t)s->bytes_retransmitted, "rtt_ms",
				  (double)s->rtt_us / 1000));
	}
	json_object_set_new(json_object_get(report->json, "channels"), channel,
			    json_pack("{s:I, s:I, s:b, s:s?}", "sent", (json_int_t)stats->sent,
				      "received", (json_int_t)stats->received, "mptcp",
				      stats->negotiated, "why_not", stats->why_not));
}

void report_disk_coding(struct report *report, const char *disk, json_t *coding)
{
	json_t *disks = json_object_get(report->json, "disk_coding");

	if (!disks) {
		disks = json_object();
		json_object_set_new(report->json, "disk_coding", disks);
	}
	json_object_set_new(disks, disk, coding);
}

static json_int_t larger(json_int_t a, json_int_t b)
{
	return a > b ? a : b;
}

/* The channels stand still together; what each sends again is its own. */
void report_losses(struct report *report, const struct relay_stats *stats)
{
	const json_t *before = json_object_get(report->json, "resumed");
	json_int_t times = json_integer_value(json_object_get(before, "times"));
	json_int_t again = json_integer_value(json_object_get(before, "bytes_again"));
	json_int_t most = json_integer_value(json_object_get(before, "most_again"));
	double stood = json_number_value(json_object_get(before, "seconds"));

	if (!stats->resumed)
		return;
	if (stood < seconds(stats->stood_ns))
		stood = seconds(stats->stood_ns);
	report_set(report, "resumed",
		   json_pack("{s:I, s:f, s:I, s:I, s:I}", "times",
			     larger(times, (json_int_t)stats->resumed), "seconds", stood,
			     "bytes_again", again + (json_int_t)stats->again, "most_again",
			     larger(most, (json_int_t)stats->again_most), "window",
			     (json_int_t)stats->window));
}

void report_set(struct report *report, const char *key, json_t *value)
{
	json_object_set_new(report->json, key, value);
}

/* Bytes that went out on each path, over all channels. */
static void sum_paths(struct report *report)
{
	json_t *paths = json_object();
	json_t *subflow;
	json_int_t total = 0;
	const char *path;
	json_t *bytes;
	size_t i;

	json_array_foreach (json_object_get(report->json, "subflows"), i, subflow) {
		const char *name = json_string_value(json_object_get(subflow, "path"));
		json_int_t sent = json_integer_value(json_object_get(subflow, "bytes_sent"));
		json_int_t before;

		name = name ? name : "other";
		before = json_integer_value(json_object_get(json_object_get(paths, name), "bytes"));
		json_object_set_new(paths, name, json_pack("{s:I}", "bytes", before + sent));
		total += sent;
	}
	json_object_foreach (paths, path, bytes) {
		json_int_t sent = json_integer_value(json_object_get(bytes, "bytes"));

		json_object_set_new(bytes, "share",
				    json_real(total ? (double)sent / (double)total : 0));
	}
	json_object_set_new(report->json, "paths", paths);
}

const json_t *report_end(struct report *report, const char *result, const char *error)
{
	json_t *errors;

	report_stages_end(report);
	sum_paths(report);
	report_set(report, "seconds", json_real(seconds(clock_ns() - report->started_ns)));
	report_set(report, "result", json_string(result));
	errors = strcmp(result, "done") == 0 ? forecast_error(report->json) : NULL;
	if (errors)
		report_set(report, "prediction_error_percent", errors);
	if (error)
		report_set(report, "error", json_string(error));
	return report->json;
}

int report_save(const struct report *report, struct error **err)
{
	return report_write(report->json, err);
}

int report_write(const json_t *json, struct error **err)
{
	const char *hop = json_string_value(json_object_get(json, "hop"));
	auto_free char *text = json_dumps(json, JSON_INDENT(2));
	char path[PATH_MAX];

	if (place(path, err, PLACE_STATE "/history") < 0 || make_dirs(path, err) < 0 ||
	    place(path, err, PLACE_STATE "/history/%s.json", hop) < 0)
		return -1;
	if (!text)
		return error_set(err, ENOMEM, "%s: can't encode the report", path);
	return write_file_durably(path, text, strlen(text), err);
}
