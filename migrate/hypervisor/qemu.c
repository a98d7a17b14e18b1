/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU is a process of its own that outlives us: who opens a VM finds it by its files in the run
 * folder. It is asked, never remembered: no state of QEMU is kept here, so a handle that another
 * process opens after we were killed sees the same. The monitor serves one client at a time; a
 * handle holds it from its first question until it is closed.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "migrate/hypervisor/qmp.h"
#include "migrate/vm/vm_store.h"

#define GREETING_LIMIT_NS (5 * NS_PER_SEC)
#define COMMAND_LIMIT_NS  (30 * NS_PER_SEC)

struct qemu {
	struct hv_vm vm;
	struct qmp *qmp; /* NULL: not connected */
};

static struct hv_vm *qemu_open(const struct vm_def *def, struct error **err)
{
	struct qemu *qemu = calloc(1, sizeof(*qemu));

	if (!qemu) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	qemu->vm.ops = &qemu_ops;
	qemu->vm.def = def;
	return &qemu->vm;
}

void qemu_drop_monitor(struct hv_vm *vm)
{
	struct qemu *qemu = (struct qemu *)vm;

	qmp_destroy(qemu->qmp);
	qemu->qmp = NULL;
}

static void qemu_close(struct hv_vm *vm)
{
	qemu_drop_monitor(vm);
	free(vm);
}

/* The monitor, connected when it is first asked for. ESRCH: QEMU does not run. */
static struct qmp *monitor(struct hv_vm *vm, struct error **err)
{
	struct qemu *qemu = (struct qemu *)vm;
	char path[PATH_MAX];

	if (qemu->qmp)
		return qemu->qmp;
	if (!qemu_alive(vm)) {
		error_set(err, ESRCH, "it does not run here");
		return NULL;
	}
	if (vm_store_run_path(path, vm->def->name, "qmp.sock", err) < 0)
		return NULL;
	qemu->qmp = qmp_connect(path, clock_ns() + GREETING_LIMIT_NS, err);
	return qemu->qmp;
}

/* A monitor that broke off is of no use any more. One that is late is: for qemu_break_off. */
static void leave_if_broken(struct hv_vm *vm, const struct error *why)
{
	if (why->code != EREMOTEIO && why->code != ENOTSUP && why->code != ETIMEDOUT)
		qemu_drop_monitor(vm);
}

json_t *qemu_ask_until(struct hv_vm *vm, const char *command, json_t *arguments,
		       int64_t deadline_ns, struct error **err)
{
	struct qmp *qmp = monitor(vm, err);
	struct error *why = NULL;
	json_t *answer;

	if (!qmp) {
		json_decref(arguments);
		return NULL;
	}
	answer = qmp_command(qmp, command, arguments, deadline_ns, &why);
	if (answer)
		return answer;
	leave_if_broken(vm, why);
	error_propagate(err, why);
	return NULL;
}

json_t *qemu_ask(struct hv_vm *vm, const char *command, json_t *arguments, struct error **err)
{
	return qemu_ask_until(vm, command, arguments, clock_ns() + COMMAND_LIMIT_NS, err);
}

int qemu_command(struct hv_vm *vm, const char *command, json_t *arguments, struct error **err)
{
	auto_json answer = qemu_ask(vm, command, arguments, err);

	return answer ? 0 : -1;
}

void qemu_forget_events(struct hv_vm *vm)
{
	struct qemu *qemu = (struct qemu *)vm;

	if (qemu->qmp)
		qmp_forget_events(qemu->qmp);
}

int qemu_wait_change(struct hv_vm *vm, int64_t deadline_ns, struct error **err)
{
	struct qmp *qmp = monitor(vm, err);
	struct error *why = NULL;

	if (!qmp)
		return -1;
	if (qmp_wait_change(qmp, deadline_ns, &why) == 0)
		return 0;
	leave_if_broken(vm, why);
	return error_propagate(err, why);
}

/* Only connections that a hop makes, not those of consoles and channels. node NULL: all of these.
 */
static bool is_chosen(const json_t *instance, const char *node)
{
	const char *type = json_string_value(json_object_get(instance, "type"));
	const char *its = json_string_value(json_object_get(instance, "node-name"));

	if (type && strcmp(type, "block-node") == 0)
		return its && (!node || strcmp(its, node) == 0);
	return type && !node && strcmp(type, "migration") == 0;
}

int qemu_break_off(struct hv_vm *vm, const char *node, struct error **err)
{
	int64_t deadline = clock_ns() + GREETING_LIMIT_NS;
	struct qmp *qmp = monitor(vm, err);
	auto_json known = NULL;
	auto_json done = NULL;
	auto_json chosen = json_array();
	json_t *instance;
	size_t i;

	if (!qmp)
		return -1;
	known = qmp_command_urgent(qmp, "query-yank", NULL, deadline, err);
	if (!known)
		return -1;
	json_array_foreach (known, i, instance)
		if (is_chosen(instance, node))
			json_array_append(chosen, instance);
	if (json_array_size(chosen) == 0)
		return 0;
	done = qmp_command_urgent(qmp, "yank", json_pack("{s:O}", "instances", chosen), deadline,
				  err);
	return done ? 0 : -1;
}

int qemu_run_state(struct hv_vm *vm, char *state, size_t size, struct error **err)
{
	auto_json answer = qemu_ask(vm, "query-status", NULL, err);
	const char *word = answer ? json_get_string(answer, "status", err) : NULL;

	if (!word)
		return -1;
	snprintf(state, size, "%s", word);
	return 0;
}

/* What QEMU calls it (RunState in its qapi/run-state.json). Others: HV_BROKEN. */
static const struct {
	const char *word;
	enum hv_state state;
} run_states[] = {
	{"running", HV_RUNNING},       {"suspended", HV_RUNNING}, {"paused", HV_PAUSED},
	{"prelaunch", HV_PAUSED},      {"save-vm", HV_PAUSED},	  {"debug", HV_PAUSED},
	{"finish-migrate", HV_PAUSED}, {"postmigrate", HV_SENT},  {"inmigrate", HV_INCOMING},
};

int qemu_state(struct hv_vm *vm, enum hv_state *state, struct error **err)
{
	char word[32];

	if (!qemu_alive(vm)) {
		*state = HV_ABSENT;
		return 0;
	}
	if (qemu_run_state(vm, word, sizeof(word), err) < 0)
		return -1;
	*state = HV_BROKEN;
	for (size_t i = 0; i < ARRAY_SIZE(run_states); i++)
		if (strcmp(run_states[i].word, word) == 0)
			*state = run_states[i].state;
	return 0;
}

static int qemu_pause(struct hv_vm *vm, struct error **err)
{
	return qemu_command(vm, "stop", NULL, err);
}

int qemu_resume(struct hv_vm *vm, struct error **err)
{
	char word[32];

	if (qemu_command(vm, "cont", NULL, err) < 0 ||
	    qemu_run_state(vm, word, sizeof(word), err) < 0)
		return -1;
	if (strcmp(word, "running") != 0)
		return error_set(err, EREMOTEIO, "QEMU was told to run and is in state %s", word);
	return 0;
}

const struct hypervisor_ops qemu_ops = {
	.name = "qemu",
	.open = qemu_open,
	.close = qemu_close,
	.start = qemu_start,
	.start_incoming = qemu_start_incoming,
	.shut_down = qemu_shut_down,
	.kill = qemu_kill,
	.alive = qemu_alive,
	.state = qemu_state,
	.pause = qemu_pause,
	.resume = qemu_resume,
	.revive = qemu_revive,
	.export_start = qemu_export_start,
	.export_stop = qemu_export_stop,
	.mirror_start = qemu_mirror_start,
	.mirror_progress = qemu_mirror_progress,
	.mirror_finish = qemu_mirror_finish,
	.mirror_abort = qemu_mirror_abort,
	.memory_listen = qemu_memory_listen,
	.memory_wait_loaded = qemu_memory_wait_loaded,
	.memory_start = qemu_memory_start,
	.memory_set_limits = qemu_memory_set_limits,
	.memory_progress = qemu_memory_progress,
	.memory_wait_paused = qemu_memory_wait_paused,
	.memory_continue = qemu_memory_continue,
	.memory_wait_sent = qemu_memory_wait_sent,
	.memory_cancel = qemu_memory_cancel,
	.guest_memory = qemu_guest_memory,
	.survey = qemu_survey,
	.capabilities = qemu_capabilities,
};
