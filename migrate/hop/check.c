/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/check_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/pressure.h"
#include "migrate/disk/disk.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/open.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "check"

#define SSH_NS	 (30 * NS_PER_SEC)
#define CALL_NS	 (20 * NS_PER_SEC)
#define AGENT_NS (3 * NS_PER_SEC)

/*
 * Theory of operation
 *
 * Gathering goes from the near to the far and from the cheap to the dear. What can't be found out
 * becomes a finding, and the rest goes on without it, so that one check tells all that is wrong.
 * Only what makes the whole question void is an error.
 */

/* A question that failed becomes a finding. */
static void note_failure(struct check *check, enum finding_level level, const char *what,
			 const struct error *why)
{
	findings_add(&check->findings, level, what, "%s", error_text(why));
}

static bool is_there(const struct fleet_host *host, const char *path)
{
	return fleet_address(host, path) != NULL;
}

/* Is the VM in a state to hop from? false: it need not be surveyed. */
static bool look_at_state(struct check *check)
{
	const char *name = check->facts->vm->name;
	auto_error why = NULL;
	enum hv_state state;

	/* Who works on it also holds the hypervisor's ear. */
	if (vm_store_busy(name)) {
		findings_add(&check->findings, FINDING_REFUSE, "state",
			     "somebody is at work on VM %s: a start, a hop or a recovery", name);
		return false;
	}
	if (hv_state(check->hv, &state, &why) < 0) {
		note_failure(check, FINDING_REFUSE, "state", why);
		return false;
	}
	if (state == HV_ABSENT)
		findings_add(&check->findings, FINDING_REFUSE, "state",
			     "VM %s is stopped, expected it to run (`edgehop start %s`)", name,
			     name);
	else
		findings_add(&check->findings, state == HV_RUNNING ? FINDING_OK : FINDING_REFUSE,
			     "state", "VM %s is %s%s", name, hv_state_name(state),
			     state == HV_RUNNING ? "" : ", expected it to run");
	return state == HV_RUNNING;
}

static void look_at_guest(struct check *check)
{
	auto_error why = NULL;
	char path[PATH_MAX];
	struct orders *orders;

	if (!check->facts->vm->agent) {
		findings_add(&check->findings, FINDING_WARN, "agent",
			     "the VM has no agent: away from home only the tunnel leads to it");
		return;
	}
	if (vm_store_run_path(path, check->facts->vm->name, "agent.sock", &why) < 0) {
		note_failure(check, FINDING_WARN, "agent", why);
		return;
	}
	orders = orders_open(path, &why);
	if (orders && orders_hello(orders, &check->agent, clock_ns() + AGENT_NS, &why) == 0) {
		check->agent_answers = true;
		check->has_connections = check->agent.can_connections &&
					 orders_connections(orders, &check->connections,
							    clock_ns() + AGENT_NS, &why) == 0;
	}
	orders_close(orders);
	if (why)
		note_failure(check, FINDING_WARN, "agent", why);
}

static void look_at_vm(struct check *check)
{
	auto_error why = NULL;

	if (!look_at_state(check))
		return;
	look_at_guest(check);
	if (hv_survey(check->hv, check->options->survey_ns, &check->survey, &why) < 0)
		note_failure(check, FINDING_WARN, "survey", why);
	else
		check->surveyed = true;
	hv_close(check->hv); /* leaves its ear to others for the time of the probes */
	check->hv = NULL;
}

/* Does the host that answers call itself so? */
static int greet(struct check *check, struct error **err)
{
	auto_json hello = json_pack("{s:s, s:s, s:i}", "do", "hello", "version", EDGEHOP_VERSION,
				    "wire", SERVE_WIRE);
	auto_json answer = remote_call(check->remote, hello, clock_ns() + CALL_NS, err);
	const char *name = answer ? json_get_string(answer, "host", err) : NULL;

	if (!name)
		return -1;
	if (strcmp(name, check->peer->name) != 0)
		return error_set(err, EREMOTEIO,
				 "host %s: found a host that calls itself \"%.32s\", expected %s",
				 check->peer->name, name, check->peer->name);
	return 0;
}

static void look_there(struct check *check)
{
	auto_error why = NULL;
	int64_t begun = clock_ns();

	check->remote = remote_open(check->peer, check->options->rsh, begun + SSH_NS, &why);
	if (!check->remote || greet(check, &why) < 0) {
		note_failure(check, FINDING_REFUSE, "ssh", why);
		remote_close(check->remote);
		check->remote = NULL;
		return;
	}
	check->ssh_ns = clock_ns() - begun;
	findings_add(&check->findings, FINDING_OK, "ssh", "host %s answers on path %s after %.2f s",
		     check->peer->name, remote_path(check->remote), (double)check->ssh_ns / 1e9);
	check->there = host_survey_there(check->remote, check->facts->vm, &why);
	if (!check->there)
		note_failure(check, FINDING_REFUSE, "edgehop", why);
	check->watched_ns = clock_ns();
	check->here_waited_us = pressure_cpu_us();
}

static int probe(struct check *check, struct error **err)
{
	struct error *why = NULL;
	const char *path = remote_path(check->remote);
	struct probe_plan plan = {
		.fleet = check->fleet,
		.self = check->self,
		.peer = check->peer,
		.first_path = is_there(check->self, path) ? path : check->facts->first_path,
		.burst_ns = check->options->burst_ns,
		.stop = check->options->stop};

	if (probe_run(&plan, check->remote, &check->probe, &why) == 0) {
		check->probed = true;
		return 0;
	}
	if (why->code == EINTR)
		return error_propagate(err, why);
	note_failure(check, FINDING_REFUSE, "paths", why);
	error_free(why);
	return 0;
}

static void sum_disks(const struct hop_facts *facts, struct preflight *preflight)
{
	for (size_t i = 0; i < facts->vm->disk_count; i++) {
		auto_disk disk = disk_open(facts->vm, i, NULL);
		char path[PATH_MAX];
		struct stat st;

		preflight->on_drbd[i] = disk && !disk_is_bare(disk);
		/* nothing of a device goes to where VMs lie */
		if (!*facts->vm->disks[i].file ||
		    vm_store_disk_path(path, facts->vm, i, NULL) < 0 || stat(path, &st) < 0)
			continue;
		preflight->disk_size += (uint64_t)st.st_size;
		preflight->disk_allocated += (uint64_t)st.st_blocks * 512;
	}
}

static void judge(struct check *check)
{
	struct preflight preflight = {.vm = check->facts->vm,
				      .epoch = check->facts->epoch,
				      .comes_home = check->facts->supersedes[0] != 0,
				      .here = check->here,
				      .there = check->there};

	sum_disks(check->facts, &preflight);
	if (check->there)
		preflight_judge(&preflight, &check->findings);
	if (check->probed)
		check_judge_paths(check);
	check_judge_guest(check);
	if (check->probed && check->surveyed)
		check_judge_prediction(check);
}

static int interrupted(const struct check *check, struct error **err)
{
	return check->options->stop && *check->options->stop ? error_set(err, EINTR, "interrupted")
							     : 0;
}

static int gather(struct check *check, struct error **err)
{
	auto_error why = NULL;

	/* What a check that was killed has left. */
	if (endpoints_purge(journal_knows_open, NULL, &why) < 0)
		log_warn("%s", error_text(why));
	check->here = host_survey_here(check->fleet, check->facts->vm, err);
	if (!check->here)
		return -1;
	look_there(check);
	if (interrupted(check, err) < 0)
		return -1;
	look_at_vm(check);
	if (interrupted(check, err) < 0)
		return -1;
	return check->remote ? probe(check, err) : 0;
}

static void clear(struct check *check)
{
	hv_close(check->hv);
	remote_close(check->remote);
	host_survey_free(check->here);
	host_survey_free(check->there);
	hop_facts_free(check->facts);
	free(check);
}

json_t *check_run(const struct fleet *fleet, const char *vm, const char *site,
		  const struct check_options *options, struct error **err)
{
	struct check *check = calloc(1, sizeof(*check));
	json_t *json = NULL;

	if (!check) {
		error_set(err, ENOMEM, "no memory for a check");
		return NULL;
	}
	check->fleet = fleet;
	check->options = options;
	check->facts = hop_plan(fleet, vm, site, err);
	if (check->facts) {
		check->self = fleet_host(fleet, check->facts->source, err);
		check->peer = fleet_host(fleet, check->facts->destination, err);
		check->hv = hv_open(check->facts->vm, err);
	}
	if (check->hv && gather(check, err) == 0) {
		judge(check);
		json = check_to_json(check);
	}
	clear(check);
	return json;
}

int check_destination(const struct fleet *fleet, const struct hop_facts *facts,
		      struct remote *remote, struct error **err)
{
	auto_host_survey there = host_survey_there(remote, facts->vm, err);
	struct preflight preflight = {.vm = facts->vm,
				      .epoch = facts->epoch,
				      .comes_home = facts->supersedes[0] != 0,
				      .there = there};
	struct findings findings = {0};

	(void)fleet;
	if (!there)
		return -1;
	sum_disks(facts, &preflight);
	preflight_judge(&preflight, &findings);
	return findings_check(&findings, err);
}
