/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Destination: QEMU's NBD server on a Unix socket, one writable export a disk. The disks of an
 * incoming VM are inactive until its state is loaded; to export one activates it earlier.
 *
 * Source, for disk N:
 *
 *     diskN --- mirror job "diskN-mirror" ---> diskN-nbd ---> Unix socket
 *
 *     (none) -> running -> ready -> concluded -> (none)
 *                  \----------\-> concluded with an error
 *
 * The job copies all of it first (holes as holes), then what the guest wrote. copy-mode background:
 * a guest's write never waits for the WAN. So a guest that syncs something in less than a round
 * trip never lets the job find the disk clean, which is what QEMU calls ready: the job is taken for
 * converged when little is left, and becomes ready once the VM is paused. The dirty bitmap has
 * granules of 4 KiB (32 MiB of memory a TiB): with larger ones such a guest would fill the link
 * with what it did not write.
 *
 * To end a ready job without force ("cancel", not "complete") sends what is left and flushes the
 * target, and the VM's device stays on its own disk: that is what a hop wants. A job is never
 * dismissed by itself, so that its error can be read.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"

#define ABORT_LIMIT_NS	  (30 * NS_PER_SEC)
#define PROGRESS_LIMIT_NS (10 * NS_PER_SEC)

/* Bytes under way to the target at most: the path's bandwidth x RTT has to fit. */
#define MIRROR_BUFFER	   (16 << 20)
#define MIRROR_REST	   (1 << 20) /* bytes that may be left for the pause */
#define MIRROR_GRANULARITY (4 << 10)

int qemu_export_start(struct hv_vm *vm, const char *socket_path, struct error **err)
{
	char node[QEMU_NODE_SIZE];

	if (qemu_command(vm, "nbd-server-start",
			 json_pack("{s:{s:s s:{s:s}}}", "addr", "type", "unix", "data", "path",
				   socket_path),
			 err) < 0)
		return -1;
	for (size_t i = 0; i < vm->def->disk_count; i++) {
		qemu_node(i, "", node);
		if (qemu_command(vm, "block-export-add",
				 json_pack("{s:s s:s s:s s:s s:b}", "type", "nbd", "id", node,
					   "node-name", node, "name", vm->def->disks[i].name,
					   "writable", 1),
				 err) < 0) {
			qemu_command(vm, "nbd-server-stop", NULL, NULL);
			return error_wrap(err, "disk %s", vm->def->disks[i].name);
		}
	}
	return 0;
}

int qemu_export_stop(struct hv_vm *vm, struct error **err)
{
	return qemu_command(vm, "nbd-server-stop", NULL, err);
}

/* The job's entry of query-jobs, the caller's to decref; NULL without *err: there is none. */
static json_t *find_job(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err)
{
	auto_json jobs = qemu_ask_until(vm, "query-jobs", NULL, deadline_ns, err);
	char id[QEMU_NODE_SIZE];
	json_t *job;
	size_t i;

	qemu_node(disk, "-mirror", id);
	json_array_foreach (jobs, i, job) {
		const char *its = json_string_value(json_object_get(job, "id"));

		if (its && strcmp(its, id) == 0)
			return json_incref(job);
	}
	return NULL;
}

static bool job_is(const json_t *job, const char *status)
{
	const char *its = json_string_value(json_object_get(job, "status"));

	return its && strcmp(its, status) == 0;
}

/* "standby" is a ready job that is held for a moment, as it is while the VM is being paused. */
static bool job_is_ready(const json_t *job)
{
	return job_is(job, "ready") || job_is(job, "standby");
}

static int job_error(const json_t *job, struct error **err)
{
	const char *why = json_string_value(json_object_get(job, "error"));

	if (why)
		return error_set(err, EREMOTEIO, "the mirror failed: %s", why);
	return 0;
}

int qemu_mirror_start(struct hv_vm *vm, size_t disk, const char *socket_path, struct error **err)
{
	char node[QEMU_NODE_SIZE], target[QEMU_NODE_SIZE], job[QEMU_NODE_SIZE],
		filter[QEMU_NODE_SIZE];

	qemu_node(disk, "", node);
	qemu_node(disk, "-nbd", target);
	qemu_node(disk, "-mirror", job);
	qemu_node(disk, "-filter", filter);
	if (qemu_command(vm, "blockdev-add",
			 json_pack("{s:s s:s s:{s:s s:s} s:s s:s}", "driver", "nbd", "node-name",
				   target, "server", "type", "unix", "path", socket_path, "export",
				   vm->def->disks[disk].name, "discard", "unmap"),
			 err) < 0)
		return error_wrap(err, "disk %s", vm->def->disks[disk].name);
	if (qemu_command(vm, "blockdev-mirror",
			 json_pack("{s:s s:s s:s s:s s:s s:s s:i s:i s:s s:s s:b}", "job-id", job,
				   "device", node, "target", target, "filter-node-name", filter,
				   "sync", "full", "copy-mode", "background", "buf-size",
				   MIRROR_BUFFER, "granularity", MIRROR_GRANULARITY,
				   "on-source-error", "report", "on-target-error", "report",
				   "auto-dismiss", 0),
			 err) < 0) {
		qemu_command(vm, "blockdev-del", json_pack("{s:s}", "node-name", target), NULL);
		return error_wrap(err, "disk %s", vm->def->disks[disk].name);
	}
	return 0;
}

/* The disk's job, which must be there. */
static json_t *get_job(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err)
{
	struct error *why = NULL;
	json_t *job = find_job(vm, disk, deadline_ns, &why);

	if (job)
		return job;
	if (!why)
		error_set(&why, ENOENT, "disk %s has no mirror", vm->def->disks[disk].name);
	error_propagate(err, why);
	return NULL;
}

int qemu_mirror_progress(struct hv_vm *vm, size_t disk, struct hv_mirror *mirror,
			 struct error **err)
{
	auto_json job = get_job(vm, disk, clock_ns() + PROGRESS_LIMIT_NS, err);
	int64_t done, total;

	if (!job)
		return -1;
	if (job_error(job, err) < 0)
		return error_wrap(err, "disk %s", vm->def->disks[disk].name);
	if (json_get_int(job, "current-progress", 0, INT64_MAX, &done, err) < 0 ||
	    json_get_int(job, "total-progress", 0, INT64_MAX, &total, err) < 0)
		return -1;
	mirror->done = (uint64_t)done;
	mirror->total = (uint64_t)total;
	mirror->converged = job_is_ready(job) || (total > 0 && total - done <= MIRROR_REST);
	return 0;
}

static bool job_has_concluded(const json_t *job)
{
	return job_is(job, "concluded");
}

/* Waits until the job is as wanted, or has concluded for another reason. Its entry then, or NULL.
 */
static json_t *wait_job(struct hv_vm *vm, size_t disk, bool (*wanted)(const json_t *job),
			int64_t deadline_ns, struct error **err)
{
	for (;;) {
		auto_json job = NULL;

		qemu_forget_events(vm);
		job = get_job(vm, disk, deadline_ns, err);
		if (!job)
			return NULL;
		if (wanted(job) || job_has_concluded(job))
			return steal_ptr(job);
		if (qemu_wait_change(vm, deadline_ns, err) < 0)
			return NULL;
	}
}

/* Of a job that is ready: send what is left, then end. Of others, and with force: give up. */
static int cancel(struct hv_vm *vm, size_t disk, bool force, int64_t deadline_ns,
		  struct error **err)
{
	char id[QEMU_NODE_SIZE];
	auto_json answer = qemu_ask_until(
		vm, "block-job-cancel",
		json_pack("{s:s s:b}", "device", qemu_node(disk, "-mirror", id), "force", force),
		deadline_ns, err);

	return answer ? 0 : -1;
}

static int dismiss(struct hv_vm *vm, size_t disk, struct error **err)
{
	char id[QEMU_NODE_SIZE];

	return qemu_command(vm, "job-dismiss",
			    json_pack("{s:s}", "id", qemu_node(disk, "-mirror", id)), err);
}

/* The NBD node stays: to remove it costs another round trip to the target, for a last flush. */
static int finish(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err)
{
	auto_json ready = wait_job(vm, disk, job_is_ready, deadline_ns, err);
	auto_json concluded = NULL;

	if (!ready || job_error(ready, err) < 0)
		return -1;
	if (job_has_concluded(ready))
		return error_set(err, EIO, "the mirror ended before it was ready");
	if (cancel(vm, disk, false, deadline_ns, err) < 0)
		return -1;
	concluded = wait_job(vm, disk, job_has_concluded, deadline_ns, err);
	if (!concluded || job_error(concluded, err) < 0)
		return -1;
	return dismiss(vm, disk, err);
}

int qemu_mirror_finish(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err)
{
	if (finish(vm, disk, deadline_ns, err) < 0)
		return error_wrap(err, "disk %s", vm->def->disks[disk].name);
	return 0;
}

/* Is there a block node of this name? 1, 0, or -1. */
static int has_node(struct hv_vm *vm, const char *name, struct error **err)
{
	auto_json nodes =
		qemu_ask(vm, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), err);
	json_t *node;
	size_t i;

	if (!nodes)
		return -1;
	json_array_foreach (nodes, i, node) {
		const char *its = json_string_value(json_object_get(node, "node-name"));

		if (its && strcmp(its, name) == 0)
			return 1;
	}
	return 0;
}

static bool job_ends(const json_t *job)
{
	return job_is(job, "aborting") || job_has_concluded(job);
}

/* A job whose connection is broken off may fail by itself before it is told to end. */
static int force_end(struct hv_vm *vm, size_t disk, int64_t deadline_ns, struct error **err)
{
	struct error *why = NULL;
	auto_json job = NULL;

	if (cancel(vm, disk, true, deadline_ns, &why) == 0)
		return 0;
	job = find_job(vm, disk, deadline_ns, NULL);
	if (!job || !job_ends(job))
		return error_propagate(err, why);
	error_free(why);
	return 0;
}

static int abort_job(struct hv_vm *vm, size_t disk, struct error **err)
{
	int64_t deadline = clock_ns() + ABORT_LIMIT_NS;
	struct error *why = NULL;
	auto_json job = find_job(vm, disk, deadline, &why);
	auto_json concluded = NULL;

	if (why)
		return error_propagate(err, why);
	if (!job)
		return 0;
	if (!job_ends(job) && force_end(vm, disk, deadline, err) < 0)
		return -1;
	concluded = wait_job(vm, disk, job_has_concluded, deadline, err);
	return concluded ? dismiss(vm, disk, err) : -1;
}

int qemu_mirror_abort(struct hv_vm *vm, size_t disk, struct error **err)
{
	char target[QEMU_NODE_SIZE];
	int left;

	/* Else QEMU would wait for a target that stalls. Without this it may still come off. */
	qemu_break_off(vm, qemu_node(disk, "-nbd", target), NULL);
	if (abort_job(vm, disk, err) < 0)
		return -1;
	left = has_node(vm, target, err);
	if (left <= 0)
		return left;
	return qemu_command(vm, "blockdev-del", json_pack("{s:s}", "node-name", target), err);
}
