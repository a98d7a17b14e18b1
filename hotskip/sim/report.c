/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/report.h"

#include <stdlib.h>

struct sim_row *sim_rows_create(size_t count)
{
	return calloc(count, sizeof(struct sim_row));
}

const char *sim_row_name(const struct sim_row *row, char buf[SIM_NAME])
{
	snprintf(buf, SIM_NAME, "%s%s", row->algorithm->name, row->smart ? "+smart" : "");
	return buf;
}

/* The time of the first row of the same bandwidth: what others are compared with. */
static double base_of(const struct sim_table *table, size_t i)
{
	while (i > 0 && table->rows[i - 1].bandwidth == table->rows[i].bandwidth)
		i--;
	return table->rows[i].result.seconds;
}

void report_text(FILE *out, const struct sim_table *table)
{
	char name[SIM_NAME];

	for (size_t i = 0; i < table->count; i++) {
		const struct sim_row *row = &table->rows[i];
		const struct sim_result *result = &row->result;

		if (i == 0 || row[-1].bandwidth != row->bandwidth)
			fprintf(out,
				"%s%g Mbit/s, %.0f MiB\n"
				"  algorithm           total s  ratio  pause s        MB  rounds  "
				"ended by\n",
				i ? "\n" : "", row->bandwidth / 1e6, (double)row->memory / 0x1p20);
		fprintf(out, "  %-18s %8.1f  %5.2f  %7.3f  %8.0f  %6u  %s\n",
			sim_row_name(row, name), result->seconds,
			result->seconds / base_of(table, i), result->pause, result->bytes / 1e6,
			result->rounds, stop_reason_name(result->reason));
	}
}

void report_csv(FILE *out, const struct sim_table *table)
{
	char name[SIM_NAME];

	fputs("bandwidth_bit_s,memory_bytes,algorithm,seconds,pause_seconds,bytes,rounds,reason\n",
	      out);
	for (size_t i = 0; i < table->count; i++) {
		const struct sim_row *row = &table->rows[i];

		fprintf(out, "%.0f,%llu,%s,%.3f,%.4f,%.0f,%u,%s\n", row->bandwidth,
			(unsigned long long)row->memory, sim_row_name(row, name),
			row->result.seconds, row->result.pause, row->result.bytes,
			row->result.rounds, stop_reason_name(row->result.reason));
	}
}

json_t *report_json(const struct sim_table *table)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < table->count; i++) {
		const struct sim_row *row = &table->rows[i];
		char name[SIM_NAME];

		json_array_append_new(
			rows,
			json_pack("{s:f, s:I, s:s, s:f, s:f, s:f, s:i, s:s}", "bandwidth_bit_s",
				  row->bandwidth, "memory_bytes", (json_int_t)row->memory,
				  "algorithm", sim_row_name(row, name), "seconds",
				  row->result.seconds, "pause_seconds", row->result.pause, "bytes",
				  row->result.bytes, "rounds", (int)row->result.rounds, "reason",
				  stop_reason_name(row->result.reason)));
	}
	return json_pack("{s:s, s:f, s:I, s:o}", "model", table->model, "downtime_seconds",
			 table->downtime, "seed", (json_int_t)table->seed, "runs", rows);
}
