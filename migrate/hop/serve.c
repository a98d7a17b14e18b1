/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/destination.h"
#include "migrate/hop/env.h"
#include "migrate/hop/history.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/host_survey.h"
#include "migrate/hop/open.h"
#include "migrate/hop/resolve.h"
#include "migrate/probe/probe.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/relay.h"
#include "migrate/vm/vm_store.h"

#define LOG_MODULE "serve"

#define RESUME_MOST_MS (24 * 3600 * 1000)
#define LISTEN_NS      (15 * NS_PER_SEC)
#define DECIDE_NS      (60 * NS_PER_SEC)
#define FINISH_NS      (10 * NS_PER_SEC)

/* Each request: fills *answer, to which "done" is added. */
typedef int serve_request(const struct fleet *fleet, const json_t *request, json_t **answer,
			  struct error **err);

int hop_check_wire(const json_t *line, const char *who, struct error **err)
{
	const char *version = json_string_value(json_object_get(line, "version"));
	int64_t wire;

	if (json_get_int(line, "wire", 1, INT32_MAX, &wire, err) < 0)
		return error_wrap(err, "%s", who);
	if (wire != SERVE_WIRE)
		return error_set(err, EPROTO,
				 "%s: found version %.16s with wire version %d, expected wire "
				 "version %d of edgehop " EDGEHOP_VERSION,
				 who, version ? version : "?", (int)wire, SERVE_WIRE);
	return 0;
}

static int serve_hello(const struct fleet *fleet, const json_t *request, json_t **answer,
		       struct error **err)
{
	const struct fleet_host *self = fleet_self(fleet, err);
	char uuid[UUID_SIZE];
	const char *why_not = NULL;
	bool mptcp = mptcp_available(&why_not);

	if (!self || hop_check_wire(request, "the source", err) < 0 || uuid_of_host(uuid, err) < 0)
		return -1;
	*answer = json_pack("{s:s, s:s, s:s, s:i, s:b, s:s?, s:[s, s]}", "host", self->name,
			    "host-uuid", uuid, "version", EDGEHOP_VERSION, "wire", SERVE_WIRE,
			    "mptcp", mptcp, "why_not", why_not, "features", "survey", "probe");
	return 0;
}

/* The worker's first word: its port, or why there is none. */
static int await_port(const char *hop, json_t **answer, struct error **err)
{
	int64_t deadline = clock_ns() + LISTEN_NS;

	while (clock_ns() < deadline) {
		auto_json snapshot = ctl_ask(hop, "status", deadline, NULL);
		auto_json end = snapshot ? NULL : keeper_read_end(hop, NULL);
		int64_t port;

		if (snapshot && json_get_int(snapshot, "port", 1, 65535, &port, NULL) == 0) {
			*answer = json_pack("{s:I}", "port", (json_int_t)port);
			return 0;
		}
		if (!end && snapshot && json_object_get(snapshot, "status"))
			end = json_incref(snapshot);
		if (end) {
			const char *why = json_get_string(end, "error", NULL);

			return error_set(err, EIO, "%s", why ? why : "its worker ended");
		}
		clock_sleep_ms(5);
	}
	return error_set(err, ETIMEDOUT, "its worker did not begin to listen");
}

/* A source that does not know of it doesn't ask for it. */
static int read_resume(const json_t *request, struct destination_job *job, struct error **err)
{
	int64_t patience_ms, window;

	if (!json_object_get(request, "resume_ms"))
		return 0;
	if (json_get_int(request, "resume_ms", 0, RESUME_MOST_MS, &patience_ms, err) < 0 ||
	    json_get_int(request, "resume_window", RELAY_WINDOW_LEAST, RELAY_WINDOW_MOST, &window,
			 err) < 0)
		return -1;
	job->resume_ns = patience_ms * NS_PER_MS;
	job->resume_window = (uint64_t)window;
	return 0;
}

static int serve_open(const struct fleet *fleet, const json_t *request, json_t **answer,
		      struct error **err)
{
	auto_facts facts = hop_facts_from_json(json_object_get(request, "facts"), NULL, err);
	struct destination_job job = {.facts = facts, .fleet = fleet};
	const struct keeper_job keeper = {.hop = facts ? facts->hop : "",
					  .work = destination_work,
					  .recover = destination_recover,
					  .context = &job};
	const char *hex;
	char uuid[UUID_SIZE];
	int64_t buffer;
	int result;

	if (!facts || json_get_int(request, "buffer", 0, 256 << 20, &buffer, err) < 0 ||
	    read_resume(request, &job, err) < 0)
		return -1;
	hex = json_get_string(request, "key", err);
	if (!hex || uuid_of_host(uuid, err) < 0)
		return -1;
	if (strcmp(uuid, facts->destination_uuid) != 0)
		return error_set(err, EPROTO, "the hop is meant for another host");
	job.buffer = (size_t)buffer;
	job.plain = json_is_true(json_object_get(request, "plain"));
	memcpy(job.key.hop, facts->hop, UUID_SIZE);
	result = channel_key_from_hex(hex, &job.key, err);
	if (result == 0)
		result = keeper_start(&keeper, err);
	explicit_bzero(&job.key, sizeof(job.key));
	if (result < 0 || await_port(facts->hop, answer, err) < 0)
		return -1;
	return fault_point("serve", err);
}

static int read_hop(const json_t *request, char hop[UUID_SIZE], struct error **err)
{
	const char *text = json_get_string(request, "hop", err);

	if (!text)
		return -1;
	if (!uuid_parse(text, hop))
		return error_set(err, EPROTO, "field hop: expected a UUID");
	return 0;
}

/* Its worker ended between ACCEPTED and the VM's resuming, maybe: it runs when this returns. */
static int finish_accepted(const char *hop, const struct fleet *fleet)
{
	auto_error why = NULL;

	if (recover_hop(hop, fleet, NULL, clock_ns() + FINISH_NS, &why) != 0)
		log_warn("%s", error_text(why));
	return 0;
}

/* No worker that could decide: refuses in its place, unless it had accepted. */
static int refuse_without_worker(const char *hop, const struct fleet *fleet, struct error **err)
{
	struct hop_env env = {0};
	auto_json json = NULL;
	auto_facts facts = NULL;
	enum hop_state state;
	enum hop_side side;
	bool accepted;
	int result;

	if (journal_read(hop, &state, &json, err) < 0)
		return -1;
	facts = hop_facts_from_json(json, &side, err);
	if (!facts)
		return -1;
	if (side != HOP_DESTINATION)
		return error_set(err, EPROTO, "hop %s: this host is its source", hop);
	if (!keeper_worker_gone(hop))
		return error_set(err, EBUSY, "hop %s: its worker can't be ended", hop);
	if (journal_read(hop, &state, NULL, err) < 0)
		return -1;
	if (state != HOP_OPEN && state != HOP_PREPARED && state != HOP_REFUSED)
		return finish_accepted(hop, fleet);

	auto_close lock = vm_store_lock(facts->vm->name, err);

	if (lock < 0)
		return -1;
	result = hop_env_init(&env, facts, HOP_DESTINATION, fleet, err);
	accepted = result == 0 && resolve_accepted_here(&env);
	if (result == 0 && !accepted)
		result = destination_undo(&env, err);
	hop_env_clear(&env);
	if (accepted) {
		close(steal_fd(&lock));
		return finish_accepted(hop, fleet);
	}
	if (result == 0)
		history_note_quietly(hop,
				     "refused: the hop's worker was gone when the source asked");
	return result;
}

/* The source has RELEASED in its journal and asks what this side made of it: for good. */
static int serve_decide(const struct fleet *fleet, const json_t *request, json_t **answer,
			struct error **err)
{
	char hop[UUID_SIZE];
	enum hop_state state;

	if (read_hop(request, hop, err) < 0)
		return -1;
	*answer = ctl_ask(hop, "decide", clock_ns() + DECIDE_NS, NULL);
	if (*answer && json_get_string(*answer, "decision", NULL))
		return 0;
	json_decref(*answer);
	*answer = NULL;
	if (journal_read(hop, &state, NULL, err) < 0)
		return -1;
	if (state != HOP_ACCEPTED && state != HOP_DONE &&
	    (refuse_without_worker(hop, fleet, err) < 0 ||
	     journal_read(hop, &state, NULL, err) < 0))
		return -1;
	*answer =
		json_pack("{s:s}", "decision",
			  hop_state_name(state == HOP_ACCEPTED || state == HOP_DONE ? HOP_ACCEPTED
										    : HOP_REFUSED));
	return 0;
}

/* The VM has hopped again, or was taken back: nobody expects it here any more. */
static bool moved_on(const struct hop_facts *facts)
{
	struct owner accepted = hop_owner_accepted(facts), owner;

	return owner_read(facts->vm->name, &owner, NULL) == 0 && owner.epoch > accepted.epoch;
}

static int serve_outcome(const struct fleet *fleet, const json_t *request, json_t **answer,
			 struct error **err)
{
	char hop[UUID_SIZE];
	auto_json json = NULL;
	auto_facts facts = NULL;
	auto_hv vm = NULL;
	enum hop_state state;

	(void)fleet;
	if (read_hop(request, hop, err) < 0 || journal_read(hop, &state, &json, err) < 0)
		return -1;
	facts = hop_facts_from_json(json, NULL, err);
	if (!facts)
		return -1;
	vm = hv_open(facts->vm, err);
	if (!vm)
		return -1;
	*answer = json_pack("{s:s, s:b}", "state", hop_state_name(state), "runs",
			    hv_alive(vm) || moved_on(facts));
	return 0;
}

/* For a host that wants to start the VM after it was away. */
static int serve_owner(const struct fleet *fleet, const json_t *request, json_t **answer,
		       struct error **err)
{
	const char *vm = json_get_string(request, "vm", err);
	char name[NAME_SIZE];
	struct owner owner;

	(void)fleet;
	if (!vm)
		return -1;
	if (!value_name(vm, name))
		return error_set(err, EPROTO, "field vm: expected a VM's name");
	if (owner_read(name, &owner, err) < 0)
		return -1;
	*answer = json_pack("{s:s, s:I}", "owner", owner.host, "epoch", (json_int_t)owner.epoch);
	return 0;
}

static const struct {
	const char *name;
	serve_request *serve;
} requests[] = {
	{"hello", serve_hello},
	{"open", serve_open},
	{"decide", serve_decide},
	{"outcome", serve_outcome},
	{"owner", serve_owner},
	{"survey", host_survey_serve},
	{"probe-begin", probe_serve_begin},
	{"probe-together", probe_serve_together},
	{"probe-end", probe_serve_end},
};

json_t *hop_serve(const struct fleet *fleet, const json_t *request)
{
	const char *name = json_get_string(request, "do", NULL);
	auto_error why = NULL;
	json_t *answer = NULL;
	size_t i = 0;

	while (name && i < ARRAY_SIZE(requests) && strcmp(requests[i].name, name) != 0)
		i++;
	if (!name || i == ARRAY_SIZE(requests))
		return json_pack("{s:s, s:s}", "failed", "?", "error", "unknown request");
	if (requests[i].serve(fleet, request, &answer, &why) < 0)
		return json_pack("{s:s, s:s}", "failed", name, "error", error_text(why));
	json_object_set_new(answer, "done", json_string(name));
	return answer;
}
