/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_QMP_H
#define MIGRATE_HYPERVISOR_QMP_H

#include <stdint.h>
#include <jansson.h>

#include "common/error.h"

/*
 * A client of QEMU's monitor (QMP): JSON lines over a Unix socket. One thread at a time. QEMU
 * serves one client at a time, so a second one gets no greeting until the first has left.
 */
struct qmp;

/* Connects and shakes hands. deadline_ns: clock_ns() time. */
struct qmp *qmp_connect(const char *path, int64_t deadline_ns, struct error **err);

/* The same on a connected descriptor, which becomes the client's. */
struct qmp *qmp_create(int fd, int64_t deadline_ns, struct error **err);
void qmp_destroy(struct qmp *qmp); /* takes NULL */

/*
 * Runs a command and returns what it returned, which the caller decrefs. arguments: NULL, or an
 * object whose reference is taken over. Events that come meanwhile are queued. Errors: ENOTSUP
 * when QEMU has no such command, EREMOTEIO with QEMU's own words when it refused, ETIMEDOUT (its
 * answer will be dropped when it comes; the client stays of use), ECONNRESET when QEMU ended.
 */
json_t *qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int64_t deadline_ns,
		    struct error **err);

/*
 * The same past QEMU's main loop, which may stand still: for the few commands that may be run so
 * ("out of band"; `yank`). ENOTSUP: this QEMU's monitor can't.
 */
json_t *qmp_command_urgent(struct qmp *qmp, const char *command, json_t *arguments,
			   int64_t deadline_ns, struct error **err);

/*
 * The next event with this name, from the queue or as it comes; name NULL: any. The caller's to
 * decref. ETIMEDOUT when deadline_ns passes. Other events stay queued, the oldest of more than
 * QMP_EVENTS_MOST are dropped: who waits for a state asks for it too (qmp_wait_change).
 */
#define QMP_EVENTS_MOST 256
json_t *qmp_event(struct qmp *qmp, const char *name, int64_t deadline_ns, struct error **err);

/* Forgets what is queued, so that qmp_wait_change waits for what happens from now on. */
void qmp_forget_events(struct qmp *qmp);

/*
 * Waits until any event comes, or a short while has passed: in a loop "forget events, ask for a
 * state, wait for a change" no event can be missed for long, and none is decoded. Fails with
 * ETIMEDOUT when deadline_ns has passed.
 */
int qmp_wait_change(struct qmp *qmp, int64_t deadline_ns, struct error **err);

#endif
