/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/source_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "migrate/hop/disk_channel.h"
#include "migrate/transport/local.h"
#include "migrate/vm/vm_store.h"

#define LOG_MODULE "source"

/*
 * The VM's disks, from the plan until both sides have the same.
 *
 * Theory of operation
 *
 * There are three ways for a disk. One that is under a driver of ours (migrate/disk, "carried") is
 * copied by that, through channels of the hop. A bare one is mirrored by the hypervisor, if that
 * copies disks; else both hosts have it, and nothing is to be done.
 *
 *     incoming     the destination says what it has of carried disks; what is to be copied
 *     disk         all of them are copied until little is left
 *     memory       carried ones write at both sides from the second round on
 *     switchover   the VM is paused: they are made equal, and nobody writes to them here
 */
#define LOOK_NS		(50 * NS_PER_MS)
#define LOOK_CARRIED_NS (500 * NS_PER_MS) /* each look runs a program */
#define OPEN_NS		(30 * NS_PER_SEC)
#define FINISH_NS	(30 * NS_PER_SEC)

static const char *const copies[] = {"nothing", "changes", "all"};

static bool travels(const struct source *s, size_t disk)
{
	return s->carried.disks[disk] || hv_copies_disks(s->env.vm);
}

int source_require_disks(struct source *s, struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;

	if (disk_set_open(&s->carried, vm, err) < 0)
		return -1;
	if (s->carried.count == 0 || !hv_copies_disks(s->env.vm))
		return 0;
	/* A mirror would be a copy that the driver knows nothing of. */
	return error_set(err, ENOTSUP,
			 "VM %s: disks of it are on DRBD, which hops of %s don't carry "
			 "(`edgehop disk release %s` while it is off); nothing was changed",
			 vm->name, vm->hypervisor, vm->name);
}

/* ---- The plan ---- */

int source_describe_disks(struct source *s, json_t *request, struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;
	json_t *sizes = json_array(), *drivers = json_array();

	json_object_set_new(request, "disks", sizes);
	json_object_set_new(request, "drivers", drivers);
	for (size_t i = 0; i < vm->disk_count; i++) {
		const struct disk *disk = s->carried.disks[i];
		uint64_t bytes;

		if (vm_store_disk_size(vm, i, &bytes, err) < 0)
			return -1;
		json_array_append_new(sizes, json_integer((json_int_t)bytes));
		json_array_append_new(drivers, disk ? json_string(disk_driver(disk)) : json_null());
	}
	return 0;
}

int source_plan_disks(struct source *s, const json_t *answer, struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;
	const json_t *states = json_object_get(answer, "disks");
	json_t *report = json_object();

	for (size_t i = 0; i < vm->disk_count; i++) {
		const char *state = json_string_value(json_array_get(states, i));
		enum disk_copy copy;

		if (!s->carried.disks[i])
			continue;
		if (!state || strlen(state) >= DISK_STATE_TEXT) {
			json_decref(report);
			return error_set(err, EPROTO, "disk %s: found no state of it at host %s",
					 vm->disks[i].name, s->env.peer->name);
		}
		if (disk_plan(s->carried.disks[i], state, &copy, err) < 0) {
			json_decref(report);
			return -1;
		}
		log_info("disk %s: %s is to be copied", vm->disks[i].name, copies[copy]);
		json_object_set_new(report, vm->disks[i].name, json_string(copies[copy]));
	}
	if (s->carried.count)
		report_set(s->report, "disk_copy", json_incref(report));
	json_decref(report);
	return 0;
}

/* ---- Copying ---- */

static struct transfer *transfer_of(struct source *s, size_t disk, size_t stream)
{
	return &s->disks[disk * DISK_STREAMS_MOST + stream];
}

static int tell_far_side(struct source *s, size_t disk, bool coded, struct error **err)
{
	return source_call(
		s, json_pack("{s:s, s:i, s:b}", "do", "disk", "disk", (int)disk, "coded", coded),
		OPEN_NS, NULL, err);
}

/*
 * All disks' caches are as large as the memory's together, and none is larger than its disk. What
 * a driver of ours carries is not coded: its protocol is the driver's own affair.
 */
static int choose_coding(struct source *s, size_t i, struct encoder_options *coder,
			 struct error **err)
{
	const struct vm_def *vm = s->env.facts->vm;
	uint64_t bytes;

	if (vm_store_disk_size(vm, i, &bytes, err) < 0 ||
	    source_choose_coding(s, coder, bytes, vm->disk_count, err) < 0)
		return -1;
	coder->disk = true;
	coder->offer_most = offer_most(bytes / OFFER_PAGE);
	return 0;
}

static int start_mirror(struct source *s, size_t i, struct error **err)
{
	char channel[DISK_CHANNEL], path[PATH_MAX];
	struct encoder_options coder = {0};
	struct transfer_through through = {.coder = s->job->coding ? &coder : NULL};

	disk_channel(i, 0, channel);
	if ((s->job->coding && choose_coding(s, i, &coder, err) < 0) ||
	    source_transfer_listen(s, transfer_of(s, i, 0), channel, &through, path, err) < 0 ||
	    tell_far_side(s, i, s->job->coding, err) < 0)
		return -1;
	return hv_mirror_start(s->env.vm, i, path, err);
}

static int start_carrying(struct source *s, size_t i, struct error **err)
{
	struct disk *disk = s->carried.disks[i];
	struct disk_link link = {.buffer = s->buffer};
	int fds[DISK_STREAMS_MOST], result = -1;
	size_t n = disk_streams(disk), opened = 0;
	char channel[DISK_CHANNEL];

	if (disk_channel_secret(&s->key, i, &link, err) == 0)
		result = disk_send_open(disk, &link, fds, clock_ns() + OPEN_NS, err);
	explicit_bzero(&link, sizeof(link));
	if (result < 0)
		return -1;
	for (; result == 0 && opened < n; opened++)
		result = source_transfer_start(s, transfer_of(s, i, opened),
					       disk_channel(i, opened, channel), fds[opened], err);
	for (; opened < n; opened++)
		close(fds[opened]);
	return result < 0 ? -1 : tell_far_side(s, i, false, err);
}

static int start_disk(struct source *s, size_t i, struct error **err)
{
	if (!travels(s, i))
		return 0;
	if ((s->carried.disks[i] ? start_carrying(s, i, err) : start_mirror(s, i, err)) < 0)
		return error_wrap(err, "disk %s", s->env.facts->vm->disks[i].name);
	return 0;
}

int source_mirrors_left(struct source *s, uint64_t *left, struct error **err)
{
	*left = 0;
	for (size_t i = 0; i < s->env.facts->vm->disk_count; i++) {
		struct hv_mirror mirror;

		if (s->carried.disks[i] || !travels(s, i))
			continue;
		if (hv_mirror_progress(s->env.vm, i, &mirror, err) < 0)
			return -1;
		*left += mirror.total > mirror.done ? mirror.total - mirror.done : 0;
	}
	return 0;
}

static int look_at_disk(struct source *s, size_t i, struct disk_progress *now, struct error **err)
{
	struct hv_mirror mirror;

	if (s->carried.disks[i])
		return disk_progress(s->carried.disks[i], now, err);
	if (hv_mirror_progress(s->env.vm, i, &mirror, err) < 0)
		return -1;
	*now = (struct disk_progress){mirror.done, mirror.total, mirror.converged};
	return 0;
}

/* 1: little enough is left of all of them; 0: not yet. */
static int look_at_disks(struct source *s, struct error **err)
{
	int converged = 1;

	s->progress.done = s->progress.total = 0;
	for (size_t i = 0; i < s->env.facts->vm->disk_count; i++) {
		struct disk_progress now;

		if (!travels(s, i))
			continue;
		if (look_at_disk(s, i, &now, err) < 0)
			return -1;
		s->progress.done += now.done;
		s->progress.total += now.total;
		converged = converged && now.converged;
	}
	return converged;
}

int source_disk(struct source *s, struct error **err)
{
	int64_t every = s->carried.count ? LOOK_CARRIED_NS : LOOK_NS, next = 0;
	int converged = 0;

	for (size_t i = 0; i < s->env.facts->vm->disk_count; i++)
		if (start_disk(s, i, err) < 0)
			return -1;
	for (;;) {
		if (clock_ns() >= next) {
			converged = look_at_disks(s, err);
			next = clock_ns() + every;
		}
		if (converged < 0 || source_tick(s, err) < 0)
			return -1;
		if (s->progress.done > 0 && fault_point("disk-copy", err) < 0)
			return -1;
		if (converged)
			break;
		clock_sleep_ms(LOOK_NS / NS_PER_MS);
	}
	report_set(s->report, "disk_bytes", json_integer((json_int_t)s->progress.done));
	return 0;
}

/* ---- Until both sides have the same ---- */

int source_write_twice(struct source *s, struct error **err)
{
	if (s->writes_twice)
		return 0;
	s->writes_twice = true;
	return disk_set_take(&s->carried, disk_synchronous, err);
}

static int finish_disk(struct source *s, size_t i, struct error **err)
{
	int64_t deadline = clock_ns() + FINISH_NS;

	if (s->carried.disks[i])
		return disk_finish(s->carried.disks[i], deadline, err);
	if (hv_mirror_finish(s->env.vm, i, deadline, err) < 0)
		return error_wrap(err, "disk %s", s->env.facts->vm->disks[i].name);
	return 0;
}

int source_finish_disks(struct source *s, struct error **err)
{
	for (size_t i = 0; i < s->env.facts->vm->disk_count; i++)
		if (travels(s, i) && finish_disk(s, i, err) < 0)
			return -1;
	return fault_point("mirrored", err);
}
