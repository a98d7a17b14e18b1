/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/remote.h"
#include "migrate/hop/journal.h"
#include "migrate/transport/local.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "source"

/* Phases 1 to 3: everything until the VM's memory is all but there. */

#define SSH_NS	    (30 * NS_PER_SEC)
#define CALL_NS	    (30 * NS_PER_SEC)
#define INCOMING_NS (60 * NS_PER_SEC)

/* Who the far side is, before anything is written anywhere. */
static int greet(struct source *s, struct remote *remote, struct error **err)
{
	auto_json hello =
		json_pack("{s:s, s:s, s:i}", "do", "hello", "version", EDGEHOP_VERSION, "wire", 1);
	auto_json answer = remote_call(remote, hello, clock_ns() + CALL_NS, err);
	const char *uuid, *name;

	if (!answer)
		return -1;
	uuid = json_get_string(answer, "host-uuid", err);
	name = json_get_string(answer, "host", err);
	if (!uuid || !name)
		return error_wrap(err, "host %s", s->env.peer->name);
	if (strcmp(name, s->env.peer->name) != 0)
		return error_set(err, EREMOTEIO,
				 "host %s: found a host that calls itself \"%.32s\", expected %s",
				 s->env.peer->name, name, s->env.peer->name);
	if (!uuid_parse(uuid, s->job->facts->destination_uuid))
		return error_set(err, EPROTO, "host %s: found no UUID", s->env.peer->name);
	if (json_is_false(json_object_get(answer, "mptcp")))
		report_set(s->report, "peer_without_mptcp",
			   json_incref(json_object_get(answer, "why_not")));
	return 0;
}

/* The path on which SSH got through is the one to begin on. */
static int begin_on_path(struct source *s, const char *path, struct error **err)
{
	if (!fleet_address(s->env.self, path))
		return 0;
	memcpy(s->job->facts->first_path, path, strlen(path) + 1);
	return hop_env_begin_on(&s->env, path, err);
}

static void key_to_hex(const struct channel_key *key, char hex[2 * TLS_KEY_SIZE + 1])
{
	for (size_t i = 0; i < TLS_KEY_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", key->key[i]);
}

/* Starts the far worker; the key goes through SSH's standard input. */
static int open_far_side(struct source *s, struct remote *remote, struct error **err)
{
	char hex[2 * TLS_KEY_SIZE + 1];
	auto_json facts = hop_facts_to_json(s->env.facts, HOP_DESTINATION, err);
	auto_json request = NULL;
	auto_json answer = NULL;
	int64_t port;

	memcpy(s->key.hop, s->env.facts->hop, UUID_SIZE);
	if (!facts)
		return -1;
	if (getrandom(s->key.key, TLS_KEY_SIZE, 0) != TLS_KEY_SIZE)
		return error_errno(err, "random key");
	key_to_hex(&s->key, hex);
	request = json_pack("{s:s, s:O, s:s, s:I}", "do", "open", "facts", facts, "key", hex,
			    "buffer", (json_int_t)s->buffer);
	explicit_bzero(hex, sizeof(hex));
	answer = remote_call(remote, request, clock_ns() + CALL_NS, err);
	if (!answer || json_get_int(answer, "port", 1, 65535, &port, err) < 0)
		return -1;
	s->port = (uint16_t)port;
	return 0;
}

/* 2 x sum of rates x highest RTT, as the configuration has them; then measured (relay.c). */
static size_t configured_buffer(const struct source *s)
{
	uint64_t rates = 0, rtt_us = 0;

	for (size_t i = 0; i < s->env.peer->address_count; i++) {
		const struct fleet_path *path =
			fleet_path(s->env.fleet, s->env.peer->addresses[i].path);

		rates += path->rate;
		if ((uint64_t)path->rtt_ns / 1000 > rtt_us)
			rtt_us = (uint64_t)path->rtt_ns / 1000;
	}
	return mptcp_buffer_for(rates, rtt_us);
}

static int connect_control(struct source *s, struct error **err)
{
	struct ip_addr addresses[SOURCE_ADDRESSES];
	size_t n = source_peer_addresses(s, addresses);
	struct channel *channel;

	channel = channel_connect(addresses, n, s->port, &s->key, "control", 0,
				  clock_ns() + CALL_NS, err);
	if (!channel)
		return error_wrap(err, "host %s", s->env.peer->name);
	s->control = control_start(channel, err);
	return s->control ? 0 : -1;
}

static int require_running(struct source *s, struct error **err)
{
	struct owner owner;
	enum hv_state state;

	if (owner_require_self(s->env.facts->vm->name, &owner, err) < 0 ||
	    hv_state(s->env.vm, &state, err) < 0)
		return -1;
	if (owner.epoch != s->env.facts->epoch)
		return error_set(err, ESTALE, "VM %s has moved in the meantime",
				 s->env.facts->vm->name);
	if (state != HV_RUNNING)
		return error_set(err, EINVAL, "VM %s: found it %s, expected it to run",
				 s->env.facts->vm->name, hv_state_name(state));
	return 0;
}

int source_reach(struct source *s, struct error **err)
{
	struct error *no_mptcp = NULL;
	auto_json facts = NULL;
	struct remote *remote;
	int result;

	s->vm_lock = vm_store_lock(s->env.facts->vm->name, err);
	if (s->vm_lock < 0 || require_running(s, err) < 0)
		return -1;
	remote = remote_open(s->env.peer, s->job->rsh, clock_ns() + SSH_NS, err);
	if (!remote)
		return -1;
	result = greet(s, remote, err);
	if (result == 0)
		result = begin_on_path(s, remote_path(remote), err);
	if (result == 0) {
		facts = hop_facts_to_json(s->env.facts, HOP_SOURCE, err);
		result = facts ? journal_create(s->env.facts->hop, facts, err) : -1;
	}
	s->journalled = result == 0;
	/* The limits must stand before the first connection: an address announced earlier is lost.
	 */
	if (result == 0 &&
	    endpoints_hold(s->env.facts->hop, NULL, 0, ENDPOINT_SUBFLOW, &no_mptcp) < 0) {
		log_warn("%s; going on over TCP", error_text(no_mptcp));
		error_free(no_mptcp);
	}
	s->buffer = configured_buffer(s);
	if (result == 0)
		result = open_far_side(s, remote, err);
	remote_close(remote);
	return result < 0 ? -1 : connect_control(s, err);
}

int source_tunnel(struct source *s, struct error **err)
{
	memcpy(s->tunnel_path, s->env.facts->first_path, NAME_SIZE);
	if (tunnel_open(&s->env.tunnel, err) < 0)
		return -1;
	return source_call(s, json_pack("{s:s}", "do", "tunnel"), CALL_NS, NULL, err);
}

int source_incoming(struct source *s, struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;
	json_t *sizes = json_array();

	for (size_t i = 0; i < vm->disk_count; i++) {
		uint64_t bytes;

		if (vm_store_disk_size(vm, i, &bytes, err) < 0) {
			json_decref(sizes);
			return -1;
		}
		json_array_append_new(sizes, json_integer((json_int_t)bytes));
	}
	return source_call(s, json_pack("{s:s, s:o}", "do", "incoming", "disks", sizes),
			   INCOMING_NS, NULL, err);
}

/* Listens for the hypervisor, opens the channel, and has the far side connect its end. */
static int open_transfer(struct source *s, struct transfer *transfer, const char *channel,
			 char path[PATH_MAX], json_t *request, struct error **err)
{
	char file[48];
	int listen_fd;

	snprintf(file, sizeof(file), "%s.sock", channel);
	listen_fd = hop_env_path(&s->env, path, file, err) < 0 ? -1 : local_listen(path, err);
	if (listen_fd < 0 || source_transfer_open(s, transfer, channel, listen_fd, err) < 0) {
		json_decref(request);
		return -1;
	}
	return source_call(s, request, CALL_NS, NULL, err);
}

static int start_mirror(struct source *s, size_t i, struct error **err)
{
	const struct vm_disk *disk = &s->env.facts->vm->disks[i];
	char channel[NAME_SIZE + 8], path[PATH_MAX];

	snprintf(channel, sizeof(channel), "d%zu", i);
	if (open_transfer(s, &s->disks[i], channel, path,
			  json_pack("{s:s, s:i}", "do", "disk", "disk", (int)i), err) < 0)
		return error_wrap(err, "disk %s", disk->name);
	return hv_mirror_start(s->env.vm, i, path, err);
}

int source_disk(struct source *s, struct error **err)
{
	size_t n = s->env.facts->vm->disk_count;
	size_t converged = 0;

	for (size_t i = 0; i < n; i++)
		if (start_mirror(s, i, err) < 0)
			return -1;
	while (converged < n) {
		s->progress.done = s->progress.total = 0;
		converged = 0;
		for (size_t i = 0; i < n; i++) {
			struct hv_mirror mirror;

			if (hv_mirror_progress(s->env.vm, i, &mirror, err) < 0)
				return -1;
			s->progress.done += mirror.done;
			s->progress.total += mirror.total;
			converged += mirror.converged;
		}
		if (source_tick(s, err) < 0)
			return -1;
		if (s->progress.done > 0 && fault_point("disk-copy", err) < 0)
			return -1;
		if (converged < n)
			clock_sleep_ms(50);
	}
	report_set(s->report, "disk_bytes", json_integer((json_int_t)s->progress.done));
	return 0;
}

static int look_at_memory(struct source *s, struct error **err)
{
	struct hv_memory memory;

	if (hv_memory_progress(s->env.vm, &memory, err) < 0)
		return -1;
	s->progress.done = memory.transferred;
	s->progress.total = memory.transferred + memory.remaining;
	s->progress.round = memory.rounds;
	s->progress.expected_downtime_ns = memory.downtime_ns;
	if (memory.transferred > 1 << 20 && fault_point("memory-copy", err) < 0)
		return -1;
	return 0;
}

int source_memory(struct source *s, struct error **err)
{
	struct hv_memory_limits limits = {.downtime_ns = s->job->downtime_ns};
	char path[PATH_MAX];

	if (open_transfer(s, &s->memory, "memory", path, json_pack("{s:s}", "do", "memory"), err) <
		    0 ||
	    hv_memory_start(s->env.vm, path, &limits, err) < 0)
		return -1;
	for (;;) {
		struct error *why = NULL;

		if (hv_memory_wait_paused(s->env.vm, clock_ns() + 100 * NS_PER_MS, &why) == 0)
			break;
		if (why->code != ETIMEDOUT) {
			/* A channel that broke explains more than the hypervisor can. */
			if (source_tick(s, err) < 0)
				error_free(why);
			else
				error_propagate(err, why);
			return -1;
		}
		error_free(why);
		if (look_at_memory(s, err) < 0 || source_tick(s, err) < 0)
			return -1;
	}
	s->paused_ns = clock_ns();
	return fault_point("paused", err);
}
