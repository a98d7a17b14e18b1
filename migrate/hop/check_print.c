/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A check as text for people, made from its JSON. */
#include "migrate/hop/check.h"

#include <string.h>

#include "common/units.h"

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static double number_at(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool check_refuses(const json_t *check)
{
	return strcmp(text_at(check, "verdict"), "refuse") == 0;
}

static void print_findings(const json_t *check, FILE *out)
{
	const json_t *finding;
	size_t i;

	json_array_foreach (json_object_get(check, "findings"), i, finding)
		fprintf(out, "  %-6s  %-12s %s\n", text_at(finding, "level"),
			text_at(finding, "what"), text_at(finding, "text"));
}

static void print_survey(const json_t *check, FILE *out)
{
	const json_t *survey = json_object_get(check, "survey"), *point;
	char all[UNITS_TEXT], nonzero[UNITS_TEXT], bytes[UNITS_TEXT];
	size_t i;

	if (!survey)
		return;
	fprintf(out, "memory: %s, of which %s are no zeroes; written to within",
		units_bytes_text((uint64_t)number_at(survey, "memory"), all),
		units_bytes_text((uint64_t)number_at(survey, "nonzero"), nonzero));
	json_array_foreach (json_object_get(survey, "dirty"), i, point)
		fprintf(out, "%s %.1f s: %s", i ? "," : "", number_at(point, "seconds"),
			units_bytes_text((uint64_t)number_at(point, "bytes"), bytes));
	fputc('\n', out);
	json_array_foreach (json_object_get(survey, "disks"), i, point)
		fprintf(out, "disk %zu: %s, of which %s hold data; %s/s written\n", i,
			units_bytes_text((uint64_t)number_at(point, "size"), all),
			units_bytes_text((uint64_t)number_at(point, "allocated"), nonzero),
			units_bytes_text((uint64_t)number_at(point, "write_rate"), bytes));
}

static const char *follows_text(const json_t *connection)
{
	const char *follows = text_at(connection, "follows");

	if (strcmp(follows, "yes") == 0)
		return json_is_true(json_object_get(connection, "opened_by_guest"))
			       ? "follows: the guest opened it, and joins by itself"
			       : "follows: the peer has taken an announced address before";
	if (strcmp(follows, "no") == 0)
		return "stays: plain TCP, the tunnel is kept for it";
	return "not known: nothing was announced to the peer yet that it has taken; it follows if "
	       "its add_addr_accepted is not 0, which only its own kernel knows";
}

static void print_connections(const json_t *check, FILE *out)
{
	const json_t *connection;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(check, "connections"), "list"), i,
			    connection)
		fprintf(out, "connection %s from %s: %d subflow%s; %s\n",
			text_at(connection, "local"), text_at(connection, "peer"),
			(int)number_at(connection, "subflows"),
			number_at(connection, "subflows") == 1 ? "" : "s",
			follows_text(connection));
}

void check_print_prediction(const json_t *check, FILE *out)
{
	const json_t *p = json_object_get(check, "prediction");
	char disk[UNITS_TEXT], memory[UNITS_TEXT], rate[UNITS_TEXT];
	json_t *seconds;
	const char *stage;

	if (!p)
		return;
	if (!json_is_true(json_object_get(p, "converges"))) {
		fprintf(out, "prediction: no end: %s\n", text_at(p, "why_not"));
		return;
	}
	fprintf(out,
		"prediction: %.1f s (%.1f to %.1f), the VM paused for %.0f ms (%.0f to %.0f)\n"
		"  disk %s, memory %s in %d rounds, at %s\n ",
		number_at(p, "seconds"), number_at(p, "seconds_low"), number_at(p, "seconds_high"),
		number_at(p, "downtime_ms"), number_at(p, "downtime_low_ms"),
		number_at(p, "downtime_high_ms"),
		units_bytes_text((uint64_t)number_at(p, "disk_bytes"), disk),
		units_bytes_text((uint64_t)number_at(p, "memory_bytes"), memory),
		(int)number_at(p, "rounds"),
		units_rate_text(1e6 * number_at(p, "rate_mbit"), rate));
	json_object_foreach (json_object_get(p, "stages"), stage, seconds)
		fprintf(out, " %s %.1f s", stage, json_number_value(seconds));
	fputc('\n', out);
}

void check_print_refusals(const json_t *check, FILE *out)
{
	const json_t *finding;
	size_t i;

	json_array_foreach (json_object_get(check, "findings"), i, finding)
		if (strcmp(text_at(finding, "level"), "refuse") == 0)
			fprintf(out, "edgehop: %s: %s\n", text_at(finding, "what"),
				text_at(finding, "text"));
}

void check_print(const json_t *check, FILE *out)
{
	const json_t *from = json_object_get(check, "from"), *to = json_object_get(check, "to");
	const char *verdict = text_at(check, "verdict");

	fprintf(out, "%s, %s (%s) -> %s (%s)\n", text_at(check, "vm"), text_at(from, "site"),
		text_at(from, "host"), text_at(to, "site"), text_at(to, "host"));
	print_findings(check, out);
	print_survey(check, out);
	print_connections(check, out);
	check_print_prediction(check, out);
	fprintf(out, "%s\n",
		strcmp(verdict, "ok") == 0     ? "a hop can go"
		: strcmp(verdict, "warn") == 0 ? "a hop can go, see what is marked warn"
					       : "a hop can't go");
}
