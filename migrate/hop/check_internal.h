/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_CHECK_INTERNAL_H
#define HOP_CHECK_INTERNAL_H

#include "migrate/hop/check.h"
#include "migrate/hop/predict.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/probe/probe.h"
#include "netswitch/orders.h"

/* What a check has gathered so far. check.c gathers, check_judge.c judges and writes it down. */
struct check {
	const struct fleet *fleet;
	const struct fleet_host *self, *peer;
	const struct check_options *options;
	struct hop_facts *facts;
	struct hv_vm *hv;
	struct remote *remote;
	int64_t ssh_ns;
	int64_t watched_ns; /* since when both hosts' CPUs are watched */
	int64_t here_waited_us;
	double rate; /* that the prediction counts on, bit/s */
	double busy; /* share of that time in which processes waited for a CPU; the worse host */
	struct host_survey *here, *there; /* NULL: not known */

	bool surveyed, probed, agent_answers, has_connections;
	struct hv_survey survey;
	struct probe_result probe;
	struct guest_hello agent;
	struct guest_connections connections;
	struct prediction prediction;

	struct findings findings;
};

/* Findings from what was gathered; those of gathering itself are there already. */
void check_judge_paths(struct check *check);
void check_judge_guest(struct check *check);
void check_judge_prediction(struct check *check);

/* The caller's to decref. */
json_t *check_to_json(const struct check *check);

#endif
