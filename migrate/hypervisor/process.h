/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_PROCESS_H
#define MIGRATE_HYPERVISOR_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/*
 * A VM's process that outlives us: QEMU, edgehop-xen. It holds a lock on its pid file, in the VM's
 * run folder, as long as it lives.
 */

/* The pid in the file while its lock is held; 0: it does not run. */
pid_t process_pid(const char *vm, const char *pid_file);

/* A descriptor for the process, or -1 when it does not run: then there is nothing to end. */
int process_open(const char *vm, const char *pid_file);

/* Waits until the process has ended. false: it has not, in time. */
bool process_wait_end(int pidfd, int64_t deadline_ns);

/*
 * Starts it in the background, nobody's child but init's, in a session of its own, its output in
 * the VM's run folder's `log_file`. Returns the reading end of a pipe that ends when it does: it
 * has the other end as descriptor PROCESS_LIFELINE.
 */
#define PROCESS_LIFELINE 3
int process_spawn(char *const *argv, const char *vm, const char *log_file, struct error **err);

/*
 * The last line of its log, without what comes before "PROGRAM...: ", for an error; "" when there
 * is none. Of a long line the end.
 */
void process_last_words(const char *vm, const char *log_file, const char *program, char *buf,
			size_t size);

#endif
