/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_QEMU_H
#define MIGRATE_HYPERVISOR_QEMU_H

#include <jansson.h>
#include <sys/types.h>

#include "migrate/hypervisor/driver.h"

/*
 * The parts of the QEMU driver among themselves:
 *     qemu.c          the handle, the monitor, the state
 *     qemu_args.c     the command line
 *     qemu_run.c      the process: start, end, alive
 *     qemu_disk.c     exports and mirrors
 *     qemu_memory.c   memory and devices
 *     qemu_ram.c      where the guest's memory lies
 *     qemu_revive.c   back from an interrupted hop
 *     qemu_survey.c   what a hop would have to move
 *     qemu_capabilities.c  what this host's QEMU can do
 */

/*
 * One command on the monitor, which is connected when it is first asked. arguments: NULL, or an
 * object whose reference is taken over. qemu_ask returns what came back, the caller's to decref.
 * Errors as those of qmp_command, and ESRCH: QEMU does not run. The time limit is 30 s: QEMU's
 * main loop can stand still for seconds. With qemu_ask_until the caller sets it.
 */
json_t *qemu_ask(struct hv_vm *vm, const char *command, json_t *arguments, struct error **err);
json_t *qemu_ask_until(struct hv_vm *vm, const char *command, json_t *arguments,
		       int64_t deadline_ns, struct error **err);
int qemu_command(struct hv_vm *vm, const char *command, json_t *arguments, struct error **err);

/*
 * Breaks off the connection of an NBD node, or all connections of a hop (node NULL: memory and
 * NBD), however QEMU hangs on them: what waits for them fails then. Needs a monitor that was
 * connected before QEMU began to hang. Nothing to break is no error.
 *
 * Limit: a write to an NBD node that fills its Unix socket stalls on, until the other end reads or
 * is closed: the kernel does not call a full Unix socket writable because it was shut down, and
 * QEMU waits for that.
 */
int qemu_break_off(struct hv_vm *vm, const char *node, struct error **err);

/* qmp_forget_events and qmp_wait_change on the monitor. */
void qemu_forget_events(struct hv_vm *vm);
int qemu_wait_change(struct hv_vm *vm, int64_t deadline_ns, struct error **err);

/* Leaves the monitor; the next question connects anew. */
void qemu_drop_monitor(struct hv_vm *vm);

/* QEMU's own word for its state ("running", "inmigrate"). */
int qemu_run_state(struct hv_vm *vm, char *state, size_t size, struct error **err);

int qemu_state(struct hv_vm *vm, enum hv_state *state, struct error **err);
int qemu_resume(struct hv_vm *vm, struct error **err);

/* qemu_args.c: how to start it; a NULL-terminated argv, the caller frees it. */
char **qemu_args(const struct vm_def *def, bool incoming, struct error **err);
void qemu_args_free(char **argv); /* takes NULL */

/* Names of block nodes and jobs, at most 31 characters each: "disk0", "disk0-nbd", ... */
#define QEMU_NODE_SIZE 32
char *qemu_node(size_t disk, const char *suffix, char buf[QEMU_NODE_SIZE]);

/* qemu_run.c */
int qemu_start(struct hv_vm *vm, struct error **err);
int qemu_start_incoming(struct hv_vm *vm, struct error **err);
int qemu_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int qemu_kill(struct hv_vm *vm, struct error **err);
bool qemu_alive(struct hv_vm *vm);
pid_t qemu_pid(const struct hv_vm *vm); /* 0: it does not run */

/* QEMU's last words, from its log, for an error; "" when there are none. */
void qemu_last_words(const struct hv_vm *vm, char *buf, size_t size);

/* qemu_disk.c */
int qemu_export_start(struct hv_vm *vm, const char *socket_path, struct error **err);
int qemu_export_stop(struct hv_vm *vm, struct error **err);
int qemu_mirror_start(struct hv_vm *vm, size_t disk, const char *socket_path, struct error **err);
int qemu_mirror_progress(struct hv_vm *vm, size_t disk, struct hv_mirror *mirror,
			 struct error **err);
int qemu_mirror_finish(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err);
int qemu_mirror_abort(struct hv_vm *vm, size_t disk, struct error **err);

/* qemu_memory.c */
int qemu_memory_listen(struct hv_vm *vm, const char *socket_path, struct error **err);
int qemu_memory_wait_loaded(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int qemu_memory_start(struct hv_vm *vm, const char *socket_path,
		      const struct hv_memory_limits *limits, struct error **err);
int qemu_memory_set_limits(struct hv_vm *vm, const struct hv_memory_limits *limits,
			   struct error **err);
int qemu_memory_progress(struct hv_vm *vm, struct hv_memory *memory, struct error **err);
int qemu_memory_wait_paused(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int qemu_memory_continue(struct hv_vm *vm, struct error **err);
int qemu_memory_wait_sent(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int qemu_memory_cancel(struct hv_vm *vm, struct error **err);

/* qemu_args.c: the guest's memory as QEMU is told to give it. */
uint64_t qemu_ram_kib(const struct vm_def *def);

/* qemu_ram.c */
int qemu_guest_memory(struct hv_vm *vm, struct hv_guest_memory *memory, struct error **err);

/* qemu_survey.c, qemu_capabilities.c */
int qemu_survey(struct hv_vm *vm, int64_t time_ns, struct hv_survey *survey, struct error **err);
struct hv_capabilities *qemu_capabilities(enum vm_accel accel, struct error **err);

/* qemu_args.c: which program QEMU is on this host; borrowed. */
const char *qemu_program(void);

/* qemu_revive.c */
int qemu_revive(struct hv_vm *vm, struct error **err);

#endif
