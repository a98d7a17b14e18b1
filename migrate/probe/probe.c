/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/probe/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/pressure.h"
#include "common/uuid.h"
#include "migrate/probe/burst.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/mptcp.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "probe"

/*
 * Theory of operation
 *
 *     source                                    far side, in `edgehop serve`
 *     a key that is made for this probe ------> listens
 *     each path: from its address there to its address here, no endpoint is held: one subflow
 *     "together" -----------------------------> announces its addresses, but for the first path's
 *     begins on the first path; the kernel joins the others
 *     "end" ----------------------------------> endpoints given back, stops listening
 *
 * The limits stand here before the first connection; what is announced before that is lost.
 */
#define CALL_NS	      (20 * NS_PER_SEC)
#define CONNECT_NS    (5 * NS_PER_SEC)
#define TOGETHER_MOST 3	   /* times a path's share of time */
#define CARRIED	      1000 /* bytes: more than a handshake */

struct probe {
	const struct probe_plan *plan;
	struct channel_key key;
	uint16_t port;
	size_t buffer;
};

size_t probe_configured_buffer(const struct fleet *fleet, const struct fleet_host *peer)
{
	uint64_t rates = 0, rtt_us = 0;

	for (size_t i = 0; i < peer->address_count; i++) {
		const struct fleet_path *path = fleet_path(fleet, peer->addresses[i].path);

		rates += path->rate;
		if ((uint64_t)path->rtt_ns / 1000 > rtt_us)
			rtt_us = (uint64_t)path->rtt_ns / 1000;
	}
	return mptcp_buffer_for(rates, rtt_us);
}

static bool is_on(const struct subflow *subflow, const struct ip_addr *remote)
{
	return ip_same(&subflow->remote, remote);
}

/* What a path's own subflow says of it. */
static void take_subflow(struct probe_path *path, const struct subflow *subflow)
{
	int64_t rtt_ns = (int64_t)subflow->min_rtt_us * 1000;

	if (path->rtt_ns == 0 || rtt_ns < path->rtt_ns)
		path->rtt_ns = rtt_ns;
	if (subflow->mtu && (path->mtu == 0 || subflow->mtu < path->mtu))
		path->mtu = subflow->mtu;
}

static void take_burst(struct probe_path *path, const struct burst *burst)
{
	path->reachable = true;
	path->rate = burst->rate;
	path->spread = burst->spread;
	path->mptcp = burst->stats.negotiated;
	path->why_not_mptcp = burst->stats.why_not;
}

/* Interrupted: an error. What the path itself does wrong: a result. */
static int not_reachable(struct probe_path *path, struct error *why, struct error **err)
{
	if (why->code == EINTR)
		return error_propagate(err, why);
	snprintf(path->why_not, sizeof(path->why_not), "%s", why->message);
	error_free(why);
	return 0;
}

static int probe_alone(const struct probe *probe, const struct fleet_address *there,
		       struct probe_path *path, struct error **err)
{
	const struct ip_addr *own = fleet_address(probe->plan->self, there->path);
	struct error *why = NULL;
	struct channel *channel;
	struct burst burst;

	memcpy(path->path, there->path, NAME_SIZE);
	channel = channel_connect_from(own, &there->address, probe->port, &probe->key,
				       BURST_CHANNEL, probe->buffer, clock_ns() + CONNECT_NS, &why);
	if (!channel ||
	    burst_run(channel, probe->plan->burst_ns, probe->plan->stop, &burst, &why) < 0)
		return not_reachable(path, why, err);
	take_burst(path, &burst);
	for (size_t i = 0; i < burst.stats.n_subflows; i++)
		if (is_on(&burst.stats.subflows[i], &there->address))
			take_subflow(path, &burst.stats.subflows[i]);
	return 0;
}

/* One whose SYN was never answered is a subflow, too, as the kernel counts. */
static bool has_carried(const struct subflow *subflow)
{
	return subflow->bytes_acked > CARRIED;
}

static void count_paths(const struct probe *probe, const struct burst *burst,
			struct probe_result *result)
{
	const struct fleet_host *peer = probe->plan->peer;
	const struct subflow *subflows = burst->stats.subflows;

	for (size_t i = 0; i < burst->stats.n_subflows; i++)
		if (has_carried(&subflows[i])) {
			take_subflow(&result->together, &subflows[i]);
			result->subflows++;
		}
	for (size_t a = 0; a < peer->address_count; a++)
		for (size_t i = 0; i < burst->stats.n_subflows; i++)
			if (has_carried(&subflows[i]) &&
			    is_on(&subflows[i], &peer->addresses[a].address)) {
				result->paths_used++;
				break;
			}
}

/* As a hop connects: to the first path's address first, then to the others. */
static size_t addresses_in_order(const struct probe_plan *plan, struct ip_addr list[PROBE_PATHS])
{
	size_t n = 0;

	for (int others = 0; others < 2; others++)
		for (size_t i = 0; i < plan->peer->address_count && n < PROBE_PATHS; i++) {
			const struct fleet_address *address = &plan->peer->addresses[i];
			bool other = strcmp(address->path, plan->first_path) != 0;

			if (other == (others == 1))
				list[n++] = address->address;
		}
	return n;
}

static int probe_together(const struct probe *probe, struct remote *remote,
			  struct probe_result *result, struct error **err)
{
	auto_json request = json_pack("{s:s, s:s}", "do", "probe-together", "first-path",
				      probe->plan->first_path);
	auto_json answer = remote_call(remote, request, clock_ns() + CALL_NS, err);
	struct ip_addr addresses[PROBE_PATHS];
	size_t n = addresses_in_order(probe->plan, addresses);
	struct error *why = NULL;
	struct channel *channel;
	struct burst burst;

	if (!answer)
		return -1;
	if (endpoints_hold(probe->key.hop, NULL, 0, ENDPOINT_SUBFLOW, &why) < 0) {
		log_info("%s; probing over TCP", error_text(why));
		error_free(why);
		why = NULL;
	}
	channel = channel_connect(addresses, n, probe->port, &probe->key, BURST_CHANNEL,
				  probe->buffer, false, clock_ns() + CONNECT_NS, &why);
	/* What predictions rest on, and slower to settle: it gets more time. */
	if (!channel || burst_run(channel, TOGETHER_MOST * probe->plan->burst_ns, probe->plan->stop,
				  &burst, &why) < 0)
		return not_reachable(&result->together, why, err);
	take_burst(&result->together, &burst);
	count_paths(probe, &burst, result);
	return 0;
}

/* The key goes through SSH's standard input. */
static int begin(struct probe *probe, struct remote *remote, struct probe_result *result,
		 struct error **err)
{
	char hex[CHANNEL_KEY_HEX];
	auto_json request = NULL;
	auto_json answer = NULL;
	int64_t port;

	if (uuid_make(probe->key.hop, err) < 0)
		return -1;
	if (getrandom(probe->key.key, TLS_KEY_SIZE, 0) != TLS_KEY_SIZE)
		return error_errno(err, "random key");
	channel_key_to_hex(&probe->key, hex);
	request = json_pack("{s:s, s:s, s:s, s:I}", "do", "probe-begin", "probe", probe->key.hop,
			    "key", hex, "buffer", (json_int_t)probe->buffer);
	explicit_bzero(hex, sizeof(hex));
	answer = remote_call(remote, request, clock_ns() + CALL_NS, err);
	if (!answer || json_get_int(answer, "port", 1, 65535, &port, err) < 0 ||
	    json_get_int(answer, "cpu_waited_us", -1, INT64_MAX, &result->far_cpu_waited_us, err) <
		    0)
		return -1;
	result->began_ns = clock_ns();
	result->cpu_waited_us = pressure_cpu_us();
	probe->port = (uint16_t)port;
	return 0;
}

static int run(const struct probe *probe, struct remote *remote, struct probe_result *result,
	       struct error **err)
{
	const struct probe_plan *plan = probe->plan;

	for (size_t i = 0; i < plan->peer->address_count && result->path_count < PROBE_PATHS; i++)
		if (fleet_address(plan->self, plan->peer->addresses[i].path) &&
		    probe_alone(probe, &plan->peer->addresses[i],
				&result->paths[result->path_count++], err) < 0)
			return -1;
	return probe_together(probe, remote, result, err);
}

int probe_run(const struct probe_plan *plan, struct remote *remote, struct probe_result *result,
	      struct error **err)
{
	struct probe probe = {.plan = plan,
			      .buffer = probe_configured_buffer(plan->fleet, plan->peer)};
	auto_json end = json_pack("{s:s}", "do", "probe-end");
	auto_error why = NULL;
	auto_json answer = NULL;
	int status;

	memset(result, 0, sizeof(*result));
	if (begin(&probe, remote, result, err) < 0)
		return error_wrap(err, "probing host %s", plan->peer->name);
	status = run(&probe, remote, result, err);
	if (endpoints_release(probe.key.hop, &why) < 0)
		log_warn("%s", error_text(why));
	answer = remote_call(remote, end, clock_ns() + CALL_NS, status == 0 ? err : NULL);
	if (!answer)
		status = -1;
	explicit_bzero(&probe.key, sizeof(probe.key));
	return status < 0 ? error_wrap(err, "probing host %s", plan->peer->name) : 0;
}
