/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/check_internal.h"

#include <math.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"

/* What VXLAN over UDP adds to a packet of the guest's network, over IPv4 and IPv6. */
#define TUNNEL_IPV4 50
#define TUNNEL_IPV6 70
#define GUEST_MTU   1500

#define BUSY 0.5

/* The guest's largest packet does not fit into one of the path's with the tunnel's around it. */
static bool tunnel_fragments(const struct check *check, const struct probe_path *path)
{
	const struct ip_addr *there = fleet_address(check->peer, path->path);
	unsigned more = there && there->family == AF_INET6 ? TUNNEL_IPV6 : TUNNEL_IPV4;

	return path->mtu && path->mtu < GUEST_MTU + more;
}

static void judge_path(struct check *check, const struct probe_path *path)
{
	char rate[UNITS_TEXT], rtt[UNITS_TEXT];

	if (!path->reachable) {
		findings_add(&check->findings, FINDING_WARN, "path", "%s: %s", path->path,
			     path->why_not);
		return;
	}
	findings_add(&check->findings, path->mptcp ? FINDING_OK : FINDING_WARN, "path",
		     "%s: %s, RTT %s, MTU %u%s%s%s", path->path, units_rate_text(path->rate, rate),
		     units_duration_text(path->rtt_ns, rtt), path->mtu,
		     tunnel_fragments(check, path) ? " (the tunnel's packets go in two pieces)"
						   : "",
		     path->mptcp ? "" : "; plain TCP: ", path->mptcp ? "" : path->why_not_mptcp);
}

void check_judge_paths(struct check *check)
{
	const struct probe_result *probe = &check->probe;
	const struct probe_path *all = &probe->together;
	size_t reachable = 0;
	char rate[UNITS_TEXT];

	for (size_t i = 0; i < probe->path_count; i++) {
		judge_path(check, &probe->paths[i]);
		reachable += probe->paths[i].reachable;
	}
	if (!all->reachable)
		findings_add(&check->findings, FINDING_REFUSE, "paths", "together: %s",
			     all->why_not);
	else if (!all->mptcp)
		findings_add(&check->findings, FINDING_WARN, "mptcp",
			     "a hop goes over one path, with %s: %s",
			     units_rate_text(all->rate, rate), all->why_not_mptcp);
	else
		findings_add(&check->findings,
			     probe->paths_used < reachable ? FINDING_WARN : FINDING_OK, "mptcp",
			     "negotiated, %zu subflows on %zu of %zu paths, %s together",
			     probe->subflows, probe->paths_used, probe->path_count,
			     units_rate_text(all->rate, rate));
}

void check_judge_guest(struct check *check)
{
	const struct guest_hello *agent = &check->agent;
	const struct guest_connections *found = &check->connections;
	unsigned unknown = 0;
	char doubt[96] = "";

	if (!check->agent_answers)
		return;
	findings_add(&check->findings,
		     agent->can_announce && agent->can_joined && agent->can_retire ? FINDING_OK
										   : FINDING_WARN,
		     "agent", "the guest's agent answers, version %s", agent->version);
	if (!agent->mptcp)
		findings_add(&check->findings, FINDING_WARN, "guest",
			     "its kernel has no MPTCP, or it is switched off: no connection "
			     "follows, the tunnel is kept for them");
	if (!check->has_connections)
		return;
	for (size_t i = 0; i < found->count; i++)
		unknown += found->list[i].mptcp && !found->list[i].peer_joined &&
			   !found->list[i].opened_here;
	if (unknown)
		snprintf(doubt, sizeof(doubt),
			 ", of which %u can't be told to follow before they are asked to", unknown);
	findings_add(&check->findings, found->plain ? FINDING_WARN : FINDING_OK, "connections",
		     "%u MPTCP%s; %u plain TCP%s", found->mptcp, doubt, found->plain,
		     found->plain ? ", which keep the tunnel while they last" : "");
}

/* Between two readings of one host. */
static double waited(int64_t from_us, int64_t to_us, int64_t time_ns)
{
	if (from_us < 0 || to_us < from_us || time_ns <= 0)
		return 0;
	return fmin(1, (double)(to_us - from_us) * 1e3 / (double)time_ns);
}

/* While the VM was surveyed, before the probes, which keep the hosts busy themselves. */
static void judge_hosts(struct check *check)
{
	const struct probe_result *probe = &check->probe;
	int64_t time_ns = probe->began_ns - check->watched_ns;
	double here = waited(check->here_waited_us, probe->cpu_waited_us, time_ns);
	double there = check->there ? waited(check->there->cpu_waited_us, probe->far_cpu_waited_us,
					     time_ns)
				    : 0;

	check->busy = fmax(here, there);
	findings_add(&check->findings, check->busy > BUSY ? FINDING_WARN : FINDING_OK, "cpu",
		     "processes waited for a CPU %.0f %% of the time here, %.0f %% at %s%s",
		     100 * here, 100 * there, check->peer->name,
		     check->busy > BUSY ? ": a hop takes longer" : "");
}

static int64_t best_rtt(const struct probe_result *probe)
{
	int64_t best = 0;

	for (size_t i = 0; i < probe->path_count; i++)
		if (probe->paths[i].reachable && (best == 0 || probe->paths[i].rtt_ns < best))
			best = probe->paths[i].rtt_ns;
	return best;
}

/* Where a hop goes over one path only, that is all there is. */
static double sum_alone(const struct probe_result *probe)
{
	double sum = 0;

	for (size_t i = 0; probe->paths_used > 1 && i < probe->path_count; i++)
		sum += probe->paths[i].reachable ? probe->paths[i].rate : 0;
	return sum > 0 ? sum : probe->together.rate;
}

void check_judge_prediction(struct check *check)
{
	struct predict_rate rate = predict_rate(
		check->probe.together.rate, check->probe.together.spread, sum_alone(&check->probe));

	judge_hosts(check);

	struct predict_input input = {.rate = rate.rate / 8,
				      .rate_error = rate.error,
				      .rtt_ns = best_rtt(&check->probe),
				      .ssh_ns = check->ssh_ns,
				      .survey = check->survey,
				      .downtime_ns = check->options->downtime_ns,
				      .busy = check->busy,
				      .agent = check->agent_answers,
				      .connections = check->connections.mptcp};

	if (check->options->rate_limit)
		input.rate = fmin(input.rate, (double)check->options->rate_limit / 8);
	if (check->peer->rate_limit)
		input.rate = fmin(input.rate, (double)check->peer->rate_limit / 8);
	check->rate = input.rate * 8;
	predict(&input, &check->prediction);
	if (!check->prediction.converges)
		findings_add(&check->findings, FINDING_REFUSE, "prediction",
			     "a hop would not come to an end now: %s", check->prediction.why_not);
}

static json_t *path_to_json(const struct probe_path *path)
{
	return json_pack("{s:s, s:b, s:s, s:f, s:f, s:f, s:i, s:b, s:s?}", "path", path->path,
			 "reachable", path->reachable, "why_not", path->why_not, "rtt_ms",
			 (double)path->rtt_ns / NS_PER_MS, "rate_mbit", path->rate / 1e6,
			 "rate_spread", path->spread, "mtu", (int)path->mtu, "mptcp", path->mptcp,
			 "why_not_mptcp", path->why_not_mptcp);
}

static json_t *probe_to_json(const struct probe_result *probe)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < probe->path_count; i++)
		json_array_append_new(paths, path_to_json(&probe->paths[i]));
	return json_pack("{s:o, s:o, s:i, s:i}", "paths", paths, "together",
			 path_to_json(&probe->together), "subflows", (int)probe->subflows,
			 "paths_used", (int)probe->paths_used);
}

static json_t *survey_to_json(const struct hv_survey *survey)
{
	json_t *dirty = json_array(), *disks = json_array();

	for (size_t i = 0; i < survey->dirty_count; i++)
		json_array_append_new(dirty,
				      json_pack("{s:f, s:I}", "seconds",
						(double)survey->dirty[i].within_ns / 1e9, "bytes",
						(json_int_t)survey->dirty[i].bytes));
	for (size_t i = 0; i < survey->disk_count; i++)
		json_array_append_new(
			disks,
			json_pack("{s:I, s:I, s:I}", "size", (json_int_t)survey->disks[i].size,
				  "allocated", (json_int_t)survey->disks[i].allocated, "write_rate",
				  (json_int_t)survey->disks[i].write_rate));
	return json_pack("{s:I, s:I, s:I, s:o, s:o}", "memory", (json_int_t)survey->memory,
			 "nonzero", (json_int_t)survey->nonzero, "sampled_pages",
			 (json_int_t)survey->sampled, "dirty", dirty, "disks", disks);
}

/* What can be known on this side; see connections.h of the guest. */
static const char *can_follow(const struct guest_connection *connection)
{
	if (!connection->mptcp)
		return "no";
	return connection->peer_joined || connection->opened_here ? "yes" : "unknown";
}

static json_t *connections_to_json(const struct guest_connections *found)
{
	json_t *list = json_array();

	for (size_t i = 0; i < found->count; i++) {
		const struct guest_connection *c = &found->list[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:b, s:i, s:b, s:b, s:s}", "local",
						c->local, "peer", c->peer, "mptcp", c->mptcp,
						"subflows", (int)c->subflows, "opened_by_guest",
						c->opened_here, "peer_took_an_address_before",
						c->peer_joined, "follows", can_follow(c)));
	}
	return json_pack("{s:i, s:i, s:o}", "mptcp", (int)found->mptcp, "plain", (int)found->plain,
			 "list", list);
}

static json_t *prediction_part(const struct check *check)
{
	json_t *json = prediction_to_json(&check->prediction);

	json_object_set_new(json, "rate_mbit", json_real(check->rate / 1e6));
	json_object_set_new(json, "busy", json_real(check->busy));
	json_object_set_new(json, "max_downtime_ms",
			    json_real((double)check->options->downtime_ns / NS_PER_MS));
	return json;
}

/* Without the long lists of what the hypervisor knows. */
static json_t *host_part(const struct host_survey *survey)
{
	json_t *json = host_survey_to_json(survey);

	json_object_del(json, "machines");
	json_object_del(json, "cpus");
	return json;
}

json_t *check_to_json(const struct check *check)
{
	json_t *json =
		json_pack("{s:s, s:i, s:s, s:{s:s,s:s}, s:{s:s,s:s}, s:s, s:o}", "edgehop", "check",
			  "version", 1, "vm", check->facts->vm->name, "from", "site",
			  check->facts->source_site, "host", check->facts->source, "to", "site",
			  check->facts->destination_site, "host", check->facts->destination,
			  "verdict", finding_level_name(findings_worst(&check->findings)),
			  "findings", findings_to_json(&check->findings));

	if (check->here)
		json_object_set_new(json, "here", host_part(check->here));
	if (check->there)
		json_object_set_new(json, "there", host_part(check->there));
	if (check->probed)
		json_object_set_new(json, "probe", probe_to_json(&check->probe));
	if (check->surveyed)
		json_object_set_new(json, "survey", survey_to_json(&check->survey));
	if (check->has_connections)
		json_object_set_new(json, "connections", connections_to_json(&check->connections));
	if (check->probed && check->surveyed)
		json_object_set_new(json, "prediction", prediction_part(check));
	return json;
}
