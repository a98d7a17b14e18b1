/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/remote.h"
#include "migrate/hop/boot_files.h"
#include "migrate/hop/check.h"
#include "migrate/hop/held.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/memory_channel.h"
#include "migrate/hop/open.h"
#include "migrate/probe/probe.h"
#include "migrate/vm/vm_store.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "source"

/* Phases 1 and 2: everything until the VM's disks are there. */

#define SSH_NS	    (30 * NS_PER_SEC)
#define CALL_NS	    (30 * NS_PER_SEC)
#define INCOMING_NS (60 * NS_PER_SEC)
#define LOCK_NS	    (3 * NS_PER_SEC)

/* One codes more than a gigabit takes; beyond that the front is what is slower. */
#define CODING_LANES_MOST 4
#define CODING_LEAST	  (1u << 20) /* bytes: the least that a coder's cache may have */

/* Who the far side is, before anything is written anywhere. */
static int greet(struct source *s, struct remote *remote, struct error **err)
{
	auto_json hello = json_pack("{s:s, s:s, s:i}", "do", "hello", "version", EDGEHOP_VERSION,
				    "wire", SERVE_WIRE);
	auto_json answer = remote_call(remote, hello, clock_ns() + CALL_NS, err);
	const char *uuid, *name;

	if (!answer || hop_check_wire(answer, s->env.peer->name, err) < 0)
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

/* Starts the far worker; the key goes through SSH's standard input. */
static int open_far_side(struct source *s, struct remote *remote, struct error **err)
{
	char hex[CHANNEL_KEY_HEX];
	auto_json facts = hop_facts_to_json(s->env.facts, HOP_DESTINATION, err);
	auto_json request = NULL;
	auto_json answer = NULL;
	int64_t port;

	memcpy(s->key.hop, s->env.facts->hop, UUID_SIZE);
	if (!facts)
		return -1;
	if (getrandom(s->key.key, TLS_KEY_SIZE, 0) != TLS_KEY_SIZE)
		return error_errno(err, "random key");
	channel_key_to_hex(&s->key, hex);
	request = json_pack("{s:s, s:O, s:s, s:I, s:b, s:I, s:I}", "do", "open", "facts", facts,
			    "key", hex, "buffer", (json_int_t)s->buffer, "plain", s->job->plain,
			    "resume_ms", (json_int_t)(s->job->resume_ns / NS_PER_MS),
			    "resume_window", (json_int_t)s->job->resume_window);
	explicit_bzero(hex, sizeof(hex));
	answer = remote_call(remote, request, clock_ns() + CALL_NS, err);
	if (!answer || json_get_int(answer, "port", 1, 65535, &port, err) < 0)
		return -1;
	s->port = (uint16_t)port;
	return 0;
}

static int connect_control(struct source *s, struct error **err)
{
	struct ip_addr addresses[SOURCE_ADDRESSES];
	size_t n = source_peer_addresses(s, addresses);
	struct channel *channel;

	channel = channel_connect(addresses, n, s->port, &s->key, "control", 0, false,
				  clock_ns() + CALL_NS, err);
	if (!channel)
		return error_wrap(err, "host %s", s->env.peer->name);
	if (source_let_resume(s, channel, err) < 0) {
		channel_destroy(channel);
		return -1;
	}
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

/* Who is there, whether the VM has room; nothing has been touched yet, here or there. */
static int look_at_far_side(struct source *s, struct remote *remote, struct error **err)
{
	return greet(s, remote, err) < 0 ||
			       check_destination(s->env.fleet, s->env.facts, remote, err) < 0 ||
			       begin_on_path(s, remote_path(remote), err) < 0
		       ? -1
		       : 0;
}

/* The worker of a hop that is just over may have it for a moment yet. */
static int lock_vm(const char *vm, struct error **err)
{
	int64_t deadline = clock_ns() + LOCK_NS;

	for (;;) {
		struct error *why = NULL;
		int lock = vm_store_lock(vm, &why);

		if (lock >= 0)
			return lock;
		if (why->code != EBUSY || clock_ns() > deadline)
			return error_propagate(err, why);
		error_free(why);
		clock_sleep_ms(50);
	}
}

/* The VM is ours, runs, and nobody else does anything with it from now on. */
static int take_vm(struct source *s, struct error **err)
{
	if (source_require_disks(s, err) < 0 || held_take_over(s->env.facts, err) < 0)
		return -1;
	s->vm_lock = lock_vm(s->env.facts->vm->name, err);
	return s->vm_lock < 0 ? -1 : require_running(s, err);
}

static int open_journal(struct source *s, struct error **err)
{
	auto_json facts = hop_facts_to_json(s->env.facts, HOP_SOURCE, err);
	struct error *no_mptcp = NULL;

	if (!facts || journal_create(s->env.facts->hop, facts, err) < 0)
		return -1;
	s->journalled = true;
	/* The limits must stand before the first connection: an address announced earlier is lost.
	 */
	if (endpoints_hold(s->env.facts->hop, NULL, 0, ENDPOINT_SUBFLOW, &no_mptcp) < 0) {
		log_warn("%s; going on over TCP", error_text(no_mptcp));
		error_free(no_mptcp);
	}
	return 0;
}

int source_reach(struct source *s, struct error **err)
{
	bool held = s->env.facts->supersedes[0] != 0;
	struct remote *remote;
	int result;

	/* The worker of a held hop keeps the VM, and its tunnel, until this hop is sure to begin.
	 */
	if (!held && take_vm(s, err) < 0)
		return -1;
	remote = remote_open(s->env.peer, s->job->rsh, clock_ns() + SSH_NS, err);
	if (!remote)
		return -1;
	s->buffer = probe_configured_buffer(s->env.fleet, s->env.peer);
	result = look_at_far_side(s, remote, err);
	if (result == 0 && held)
		result = take_vm(s, err);
	if (result == 0)
		result = open_journal(s, err);
	if (result == 0)
		result = open_far_side(s, remote, err);
	remote_close(remote);
	return result < 0 ? -1 : connect_control(s, err);
}

int source_tunnel(struct source *s, struct error **err)
{
	memcpy(s->tunnel_path, s->env.facts->first_path, NAME_SIZE);
	if (hop_has_tunnel(s->env.facts) && tunnel_open(&s->env.tunnel, err) < 0)
		return -1;
	if (source_call(s, json_pack("{s:s}", "do", "tunnel"), CALL_NS, NULL, err) < 0)
		return -1;
	return fault_point("tunnel", err);
}

int source_incoming(struct source *s, struct error **err)
{
	json_t *request = json_pack("{s:s}", "do", "incoming");
	auto_json answer = NULL;

	if (source_describe_disks(s, request, err) < 0) {
		json_decref(request);
		return -1;
	}
	if (source_call(s, request, INCOMING_NS, &answer, err) < 0 ||
	    source_plan_disks(s, answer, err) < 0 || source_boot_files(s, err) < 0)
		return -1;
	return fault_point("incoming", err);
}

static bool peek_at_guest(void *arg, uint64_t page, size_t pages, uint8_t *content)
{
	return hv_guest_memory_read(arg, page * 4096, content, pages * 4096) == 0;
}

/* The expected rule looks into the guest's memory, where the hypervisor says where that is. */
static void let_look(struct source *s, struct scheduler_options *pages)
{
	auto_error why = NULL;

	if (hv_guest_memory(s->env.vm, &s->guest_memory, &why) < 0) {
		log_warn("hot-skip does without a look into the guest: %s", error_text(why));
		return;
	}
	pages->peek = peek_at_guest;
	pages->peek_arg = &s->guest_memory;
	pages->peek_bytes = s->guest_memory.bytes;
}

/* The processors that this process may use, as far as they are worth a lane of coding. */
static unsigned coding_lanes(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return count < CODING_LANES_MOST ? (unsigned)count : CODING_LANES_MOST;
}

int source_choose_coding(struct source *s, struct encoder_options *coder, uint64_t bytes,
			 size_t sharers, struct error **err)
{
	uint64_t cache = s->job->coding_cache / sharers;

	if (cache > bytes)
		cache = bytes;
	*coder = (struct encoder_options){.codec = codec_defaults, .strongest = WAY_ZSTD_13};
	coder->codec.cache_bytes = cache > CODING_LEAST ? cache : CODING_LEAST;
	if (getrandom(&coder->codec.seed, sizeof(coder->codec.seed), 0) < 0)
		return error_errno(err, "random seed");
	return 0;
}

static int choose_coding(struct source *s, struct encoder_options *coder, struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;

	if (source_choose_coding(s, coder, vm->memory, 1, err) < 0)
		return -1;
	coder->codec.lanes = coding_lanes();
	coder->format = memory_channel_format(vm);
	coder->pages = vm_def_is_xen(vm) ? memory_channel_pages(vm) : 0;
	coder->offer_most = offer_most(memory_channel_pages(vm));
	return 0;
}

int source_open_memory(struct source *s, char path[PATH_MAX], struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;
	struct scheduler_options pages = s->job->pages;
	bool schedule = s->job->hot_skip && !hv_schedules_pages(s->env.vm);
	struct encoder_options coder;
	struct transfer_through through = {schedule ? &pages : NULL,
					   s->job->coding ? &coder : NULL};

	if (s->job->coding && choose_coding(s, &coder, err) < 0)
		return -1;
	pages.format = coded_stream_formats[memory_channel_format(vm)];
	pages.pages = memory_channel_pages(vm);
	pages.downtime_ns = s->downtime_ns;
	if (schedule && pages.rule == HOT_EXPECTED)
		let_look(s, &pages);
	if (source_transfer_listen(s, &s->memory, "memory", &through, path, err) < 0)
		return -1;
	return source_call(s, json_pack("{s:s, s:b}", "do", "memory", "coded", s->job->coding),
			   CALL_NS, NULL, err);
}
