/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_XEN_H
#define MIGRATE_HYPERVISOR_XEN_H

#include "migrate/hypervisor/driver.h"
#include "migrate/hypervisor/xen_words.h"

/*
 * The parts of the Xen driver among themselves, and what it and edgehop-xen (migrate/xen) agree on:
 *     xen.c               the handle, the connection to edgehop-xen, the state
 *     xen_run.c           the process: start, adopt, end, alive
 *     xen_memory.c        memory and devices
 *     xen_capabilities.c  what this host's Xen can do
 *     xen_words.c         what is said on the connection
 */
#define XEN_PID_FILE "xen.pid"
#define XEN_SOCKET   "xen.sock"
#define XEN_LOG_FILE "xen.log"
#define XEN_DOMAIN   "domain" /* there may be a domain, whether a process carries it or not */

/* What scripts/build-xen-helper installs: Xen's save helper with hot-skip inside. */
#define XEN_SAVE_HELPER "/usr/lib/edgehop/edgehop-xen-save-helper"

/* A request; its id is chosen here. For the rest see xen_order. */
int xen_ask(struct hv_vm *vm, struct xen_request *request, struct xen_status *status,
	    struct error **err);

/*
 * One request; path: of XEN_LISTEN, else NULL. Connects when it has to. ESRCH: it does
 * not run; EREMOTEIO and others: edgehop-xen refuses, in its words. The time limit is 60 s: libxl
 * builds a domain in one go.
 */
int xen_order(struct hv_vm *vm, enum xen_order order, const char *path, struct xen_status *status,
	      struct error **err);

/* Until the status is another than the one of `serial`, or ms have passed: then it is the same. */
int xen_wait(struct hv_vm *vm, uint64_t serial, int64_t ms, struct xen_status *status,
	     struct error **err);

/*
 * Asks again and again until is_met says 1 (returns 0) or -1 with an error. ETIMEDOUT at
 * deadline_ns, with `what` in the message.
 */
typedef int xen_condition(const struct xen_status *status, struct error **err);
int xen_await(struct hv_vm *vm, xen_condition *is_met, int64_t deadline_ns, const char *what,
	      struct error **err);

void xen_disconnect(struct hv_vm *vm); /* the next request connects anew */

/* xen_run.c */
int xen_start(struct hv_vm *vm, struct error **err);
int xen_start_incoming(struct hv_vm *vm, struct error **err);
int xen_shut_down(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int xen_kill(struct hv_vm *vm, struct error **err);
bool xen_alive(struct hv_vm *vm);
const char *xen_program(void); /* where edgehop-xen is; borrowed */

/* xen_memory.c */
bool xen_schedules_pages(void);
int xen_memory_listen(struct hv_vm *vm, const char *socket_path, struct error **err);
int xen_memory_wait_loaded(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int xen_memory_start(struct hv_vm *vm, const char *socket_path,
		     const struct hv_memory_limits *limits, struct error **err);
int xen_memory_set_limits(struct hv_vm *vm, const struct hv_memory_limits *limits,
			  struct error **err);
int xen_memory_progress(struct hv_vm *vm, struct hv_memory *memory, struct error **err);
int xen_memory_wait_paused(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int xen_memory_continue(struct hv_vm *vm, struct error **err);
int xen_memory_wait_sent(struct hv_vm *vm, int64_t deadline_ns, struct error **err);
int xen_memory_cancel(struct hv_vm *vm, struct error **err);
int xen_page_digests(struct hv_vm *vm, uint64_t **digests, uint64_t *count, struct error **err);

/* xen_capabilities.c */
struct hv_capabilities *xen_capabilities(enum vm_accel accel, struct error **err);

#endif
