/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU sends memory in rounds while the guest runs, and by its own reckoning (what is left, its
 * measured rate, the downtime it may cause) decides when to pause it. pause-before-switchover
 * makes it wait there, guest paused, until it is told to go on; only then are the last pages and
 * the devices sent. return-path has the destination confirm, so that "completed" means loaded.
 *
 *     none -> setup -> active -> pre-switchover -> device -> completed
 *               \________\____________\______________\----> failed, cancelled
 *
 * Know: with a downtime limit of 0 QEMU 7.2 goes to the pause after one round, so 1 ms is the least
 * that is set; an idle guest may get there after one round even so. A migration that
 * was cancelled or failed lets the guest run on if it ran before; a completed one leaves it in
 * "postmigrate" with its disks inactive, from which `cont` takes it back. From pre-switchover's end
 * on QEMU holds its big lock while it sends: the monitor is deaf for as long as nobody reads.
 */
#include "migrate/hypervisor/qemu.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"

#define CANCEL_LIMIT_NS	  (30 * NS_PER_SEC)
#define PROGRESS_LIMIT_NS (10 * NS_PER_SEC)
#define CONTINUE_LIMIT_NS (2 * NS_PER_SEC)
#define THROTTLE_STEP	  20
#define MOST_BANDWIDTH	  (100LL << 30) /* bytes/s: none */

/* What both ends switch on; everything else is switched off. */
static const char *const capabilities_on[] = {"return-path", "pause-before-switchover", "events",
					      "late-block-activate"};

/* MigrationStatus of QEMU's qapi/migration.json. Those of postcopy and COLO can't occur. */
static const struct {
	const char *word;
	enum hv_memory_phase phase;
} phases[] = {
	{"none", HV_MEMORY_NONE},
	{"setup", HV_MEMORY_SETUP},
	{"active", HV_MEMORY_ACTIVE},
	{"wait-unplug", HV_MEMORY_SETUP},
	{"pre-switchover", HV_MEMORY_PAUSED},
	{"device", HV_MEMORY_DEVICE},
	{"completed", HV_MEMORY_COMPLETED},
	{"cancelling", HV_MEMORY_DEVICE},
	{"cancelled", HV_MEMORY_CANCELLED},
	{"failed", HV_MEMORY_FAILED},
};

static bool wanted(const char *capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(capabilities_on); i++)
		if (strcmp(capabilities_on[i], capability) == 0)
			return true;
	return false;
}

/* Which capabilities there are differs by version: QEMU is asked. */
static int set_capabilities(struct hv_vm *vm, bool may_throttle, struct error **err)
{
	auto_json known = qemu_ask(vm, "query-migrate-capabilities", NULL, err);
	auto_json list = json_array();
	json_t *entry;
	size_t i;

	if (!known)
		return -1;
	json_array_foreach (known, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "capability"));
		bool on = json_is_true(json_object_get(entry, "state"));

		bool wish = name &&
			    (wanted(name) || (may_throttle && strcmp(name, "auto-converge") == 0));

		if (name && wish != on)
			json_array_append_new(
				list, json_pack("{s:s s:b}", "capability", name, "state", wish));
	}
	if (json_array_size(list) == 0)
		return 0;
	return qemu_command(vm, "migrate-set-capabilities",
			    json_pack("{s:O}", "capabilities", list), err);
}

static json_t *unix_uri(const char *socket_path)
{
	return json_pack("{s:s+}", "uri", "unix:", socket_path);
}

int qemu_memory_listen(struct hv_vm *vm, const char *socket_path, struct error **err)
{
	if (set_capabilities(vm, false, err) < 0)
		return -1;
	return qemu_command(vm, "migrate-incoming", unix_uri(socket_path), err);
}

int qemu_memory_set_limits(struct hv_vm *vm, const struct hv_memory_limits *limits,
			   struct error **err)
{
	json_int_t bandwidth = limits->bandwidth ? (json_int_t)limits->bandwidth : MOST_BANDWIDTH;
	json_int_t downtime = limits->downtime_ns / NS_PER_MS;

	if (downtime < 1)
		downtime = 1;
	/*
	 * QEMU itself decides when to throttle, given the capability: at every other look for dirty
	 * pages from the threshold of 1 % on. How far it may go is what is set here.
	 */
	return qemu_command(vm, "migrate-set-parameters",
			    json_pack("{s:I s:I s:i s:i s:i s:i}", "max-bandwidth", bandwidth,
				      "downtime-limit", downtime, "throttle-trigger-threshold", 1,
				      "cpu-throttle-initial", 1, "cpu-throttle-increment",
				      THROTTLE_STEP, "max-cpu-throttle",
				      limits->throttle ? (int)limits->throttle : 1),
			    err);
}

int qemu_memory_start(struct hv_vm *vm, const char *socket_path,
		      const struct hv_memory_limits *limits, struct error **err)
{
	if (set_capabilities(vm, limits->may_throttle, err) < 0 ||
	    qemu_memory_set_limits(vm, limits, err) < 0)
		return -1;
	return qemu_command(vm, "migrate", unix_uri(socket_path), err);
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	double n = json_number_value(value);

	return n > 0 ? (uint64_t)n : 0;
}

static int parse_phase(const json_t *answer, enum hv_memory_phase *phase, struct error **err)
{
	const char *word = json_string_value(json_object_get(answer, "status"));

	/* Before the first migration QEMU tells nothing at all. */
	*phase = HV_MEMORY_NONE;
	if (!word)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (strcmp(phases[i].word, word) == 0) {
			*phase = phases[i].phase;
			return 0;
		}
	return error_set(err, EPROTO, "QEMU's migration is in the unknown state %s", word);
}

static int ask_progress(struct hv_vm *vm, struct hv_memory *memory, int64_t deadline_ns,
			struct error **err)
{
	auto_json answer = qemu_ask_until(vm, "query-migrate", NULL, deadline_ns, err);
	const json_t *ram = json_object_get(answer, "ram");
	const char *why = json_string_value(json_object_get(answer, "error-desc"));
	uint64_t downtime;

	if (!answer)
		return -1;
	memset(memory, 0, sizeof(*memory));
	if (parse_phase(answer, &memory->phase, err) < 0)
		return -1;
	memory->total = number(ram, "total");
	memory->remaining = number(ram, "remaining");
	memory->transferred = number(ram, "transferred");
	memory->dirty_rate = number(ram, "dirty-pages-rate") * number(ram, "page-size");
	memory->rate = (uint64_t)(json_number_value(json_object_get(ram, "mbps")) * 1e6);
	memory->rounds = (unsigned)number(ram, "dirty-sync-count");
	downtime = number(answer, "downtime");
	if (!downtime)
		downtime = number(answer, "expected-downtime");
	memory->downtime_ns = (int64_t)downtime * NS_PER_MS;
	snprintf(memory->failure, sizeof(memory->failure), "%s",
		 why				     ? why
		 : memory->phase == HV_MEMORY_FAILED ? "QEMU gave no reason"
						     : "");
	return 0;
}

int qemu_memory_progress(struct hv_vm *vm, struct hv_memory *memory, struct error **err)
{
	return ask_progress(vm, memory, clock_ns() + PROGRESS_LIMIT_NS, err);
}

/* Waits for a phase that the mask has; fails at an end that it does not have. */
static int wait_phase(struct hv_vm *vm, unsigned mask, int64_t deadline_ns,
		      struct hv_memory *memory, struct error **err)
{
	const unsigned ends = 1u << HV_MEMORY_COMPLETED | 1u << HV_MEMORY_CANCELLED |
			      1u << HV_MEMORY_FAILED | 1u << HV_MEMORY_NONE;

	static_assert(HV_MEMORY_PHASES <= 32, "a phase is a bit of the mask");
	for (;;) {
		qemu_forget_events(vm);
		if (ask_progress(vm, memory, deadline_ns, err) < 0)
			return -1;
		if (mask & 1u << memory->phase)
			return 0;
		if (ends & 1u << memory->phase)
			return error_set(err, EREMOTEIO, "the memory's migration is %s%s%s",
					 hv_memory_phase_name(memory->phase),
					 *memory->failure ? ": " : "", memory->failure);
		if (qemu_wait_change(vm, deadline_ns, err) < 0)
			return error_wrap(err, "the memory's migration, %s",
					  hv_memory_phase_name(memory->phase));
	}
}

int qemu_memory_wait_paused(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	struct hv_memory memory;

	return wait_phase(vm, 1u << HV_MEMORY_PAUSED, deadline_ns, &memory, err);
}

/* QEMU may begin to hang in the last round before it answers: what came of it shows in its phase.
 */
int qemu_memory_continue(struct hv_vm *vm, struct error **err)
{
	struct error *why = NULL;
	auto_json answer = qemu_ask_until(vm, "migrate-continue",
					  json_pack("{s:s}", "state", "pre-switchover"),
					  clock_ns() + CONTINUE_LIMIT_NS, &why);

	if (answer)
		return 0;
	if (why->code != ETIMEDOUT)
		return error_propagate(err, why);
	error_free(why);
	return 0;
}

int qemu_memory_wait_sent(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	struct hv_memory memory;

	return wait_phase(vm, 1u << HV_MEMORY_COMPLETED, deadline_ns, &memory, err);
}

int qemu_memory_cancel(struct hv_vm *vm, struct error **err)
{
	const unsigned any_end = 1u << HV_MEMORY_COMPLETED | 1u << HV_MEMORY_CANCELLED |
				 1u << HV_MEMORY_FAILED | 1u << HV_MEMORY_NONE;
	struct hv_memory memory;

	if (qemu_memory_progress(vm, &memory, err) < 0)
		return -1;
	if (any_end & 1u << memory.phase)
		return 0;
	if (qemu_command(vm, "migrate_cancel", NULL, err) < 0)
		return -1;
	return wait_phase(vm, any_end, clock_ns() + CANCEL_LIMIT_NS, &memory, err);
}

/*
 * The incoming side of 7.2 ends its process when the stream breaks: then the monitor breaks off,
 * and the log has the reason.
 */
int qemu_memory_wait_loaded(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	struct error *why = NULL;
	struct hv_memory memory;
	enum hv_state state = HV_INCOMING;
	char words[256];

	/* "none": nobody has connected yet. QEMU is paused a moment before it says "completed". */
	while (!why) {
		qemu_forget_events(vm);
		if (qemu_state(vm, &state, &why) < 0 ||
		    ask_progress(vm, &memory, deadline_ns, &why) < 0)
			break;
		if (state == HV_PAUSED && memory.phase == HV_MEMORY_COMPLETED)
			return 0;
		if (memory.phase == HV_MEMORY_FAILED)
			error_set(&why, EREMOTEIO, "%s", memory.failure);
		else if (state != HV_INCOMING && state != HV_PAUSED)
			error_set(&why, EPROTO, "QEMU is %s when it should wait for its state",
				  hv_state_name(state));
		else
			(void)qemu_wait_change(vm, deadline_ns, &why);
	}
	error_propagate(err, why);
	if (!qemu_alive(vm)) {
		qemu_last_words(vm, words, sizeof(words));
		error_wrap(err, "QEMU ended while it loaded the VM's state (%s)", words);
	}
	return -1;
}
