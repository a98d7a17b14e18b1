/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_PREDICT_H
#define HOP_PREDICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "migrate/hypervisor/hypervisor.h"

/*
 * How long a hop will take, from what was measured: arithmetic on plain data. The model and the
 * error's sources stand in predict.c.
 */
enum predict_stage {
	PREDICT_REACH,
	PREDICT_TUNNEL,
	PREDICT_INCOMING,
	PREDICT_DISK,
	PREDICT_MEMORY,
	PREDICT_SWITCHOVER,
	PREDICT_VNIC,
	PREDICT_CLEANUP,
	PREDICT_STAGES
};

struct predict_input {
	double rate;	   /* payload over all paths, bytes/s */
	double rate_error; /* as a share of it */
	int64_t rtt_ns;	   /* of the best path */
	int64_t ssh_ns;	   /* that starting the far side through SSH took */
	struct hv_survey survey;
	double busy;	      /* share of time in which processes of the hosts wait for a CPU */
	int64_t downtime_ns;  /* the pause that the hop aims at */
	bool agent;	      /* the guest's agent answers */
	unsigned connections; /* that will have to join */
};

#define PREDICT_WHY 160

struct prediction {
	bool converges; /* else times are those of a hop that never ends: 0 */
	char why_not[PREDICT_WHY];
	int64_t stage_ns[PREDICT_STAGES];
	int64_t total_ns, total_low_ns, total_high_ns;
	int64_t downtime_ns, downtime_low_ns, downtime_high_ns;
	uint64_t disk_bytes, memory_bytes; /* that will be sent */
	unsigned rounds;		   /* of memory, the last one, in the pause, included */
};

void predict(const struct predict_input *input, struct prediction *prediction);

/*
 * The rate over all paths to count on, from what was measured over all together and alone over each
 * (sum of those), and how sure that is. together_spread: as a share, see probe.h. Any unit.
 */
struct predict_rate {
	double rate;
	double error; /* as a share */
};
struct predict_rate predict_rate(double together, double together_spread, double alone_sum);

/* How much of the memory gets dirty within that time, bytes: between and beyond what was
 * measured. */
double predict_dirty(const struct hv_survey *survey, double seconds);

json_t *prediction_to_json(const struct prediction *prediction); /* the caller decrefs */

#endif
