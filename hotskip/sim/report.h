/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_REPORT_H
#define HOTSKIP_SIM_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "hotskip/sim/run.h"

/* What one simulated hop was of, and what came out. */
struct sim_row {
	double bandwidth; /* bit/s */
	uint64_t memory;  /* bytes */
	const struct algorithm *algorithm;
	bool smart;
	struct sim_result result;
};

/* Rows are grouped by bandwidth, ascending, with the same algorithms in each group. */
struct sim_table {
	const char *model;
	double downtime; /* s */
	uint64_t seed;
	struct sim_row *rows;
	size_t count;
};

struct sim_row *sim_rows_create(size_t count); /* the caller's to free; NULL: no memory */

/* "ours", "ours+smart". The result is buf. */
#define SIM_NAME 32
const char *sim_row_name(const struct sim_row *row, char buf[SIM_NAME]);

void report_text(FILE *out, const struct sim_table *table);
void report_csv(FILE *out, const struct sim_table *table);
json_t *report_json(const struct sim_table *table); /* the caller's; NULL: no memory */

/* Total time against bandwidth, a line an algorithm, as the edge paper's figure 12. */
void report_svg(FILE *out, const struct sim_table *table);

#endif
