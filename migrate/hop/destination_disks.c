/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/destination_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/jsonl.h"
#include "migrate/hop/disk_channel.h"
#include "migrate/transport/local.h"
#include "migrate/vm/vm_store.h"

/*
 * Where the VM's disks come to: files that the hypervisor exports, or what a driver of ours
 * receives. The source says which (source_disks.c), this side what it has of the latter.
 */
#define NBD_SOCKET "nbd.sock"
#define OPEN_NS	   (30 * NS_PER_SEC)

static const json_t *listed(const json_t *request, const char *key, const struct vm_def *vm,
			    struct error **err)
{
	const json_t *list = json_object_get(request, key);

	if (json_array_size(list) == vm->disk_count)
		return list;
	error_set(err, EPROTO, "field %s: found a list of %zu, expected one for each of %zu disks",
		  key, json_array_size(list), vm->disk_count);
	return NULL;
}

static int read_sizes(const json_t *request, const struct vm_def *vm, uint64_t *sizes,
		      struct error **err)
{
	const json_t *list = listed(request, "disks", vm, err);

	for (size_t i = 0; list && i < vm->disk_count; i++) {
		json_int_t size = json_integer_value(json_array_get(list, i));

		if (size < 512 || size % 512 || size > (json_int_t)1 << 50)
			return error_set(err, EPROTO,
					 "disk %s: found %" JSON_INTEGER_FORMAT
					 " bytes, expected a multiple of 512 up to 1 PiB",
					 vm->disks[i].name, size);
		sizes[i] = (uint64_t)size;
	}
	return list ? 0 : -1;
}

/* Handles for the disks that the source has under a driver. An older one does not tell of any. */
static int open_carried(struct destination *d, const json_t *request, struct error **err)
{
	const struct vm_def *vm = d->env.facts->vm;
	const json_t *list;

	if (!json_object_get(request, "drivers"))
		return 0;
	list = listed(request, "drivers", vm, err);
	for (size_t i = 0; list && i < vm->disk_count; i++) {
		const char *driver = json_string_value(json_array_get(list, i));

		if (!driver)
			continue;
		d->carried.disks[i] = disk_open_as(driver, vm, i, err);
		if (!d->carried.disks[i])
			return -1;
		if (disk_is_bare(d->carried.disks[i]))
			return error_set(err, EPROTO, "disk %s: found the driver \"%s\"",
					 vm->disks[i].name, driver);
		d->carried.count++;
	}
	return list ? 0 : -1;
}

/* What an earlier stay left stays where a driver makes use of it. */
static int make_folder(struct destination *d, const uint64_t *sizes, struct error **err)
{
	const struct hop_facts *facts = d->env.facts;
	struct owner source = hop_owner_source(facts);
	uint64_t made[VM_DISKS_MOST];

	destination_keep_old_disks(d, sizes);
	if (d->carried.count == 0)
		return vm_store_make_incoming(facts->vm, &source, sizes, err);
	for (size_t i = 0; i < facts->vm->disk_count; i++)
		made[i] = d->carried.disks[i] ? 0 : sizes[i];
	return vm_store_keep_incoming(facts->vm, &source, made, err);
}

int destination_make_disks(struct destination *d, const json_t *request, struct error **err)
{
	const struct vm_def *vm = d->env.facts->vm;
	uint64_t sizes[VM_DISKS_MOST];
	json_t *states = json_array();

	json_object_set_new(d->answer, "disks", states);
	if (read_sizes(request, vm, sizes, err) < 0 || open_carried(d, request, err) < 0 ||
	    make_folder(d, sizes, err) < 0)
		return -1;
	for (size_t i = 0; i < vm->disk_count; i++) {
		char state[DISK_STATE_TEXT];

		if (d->carried.disks[i] &&
		    disk_receive(d->carried.disks[i], sizes[i], state, err) < 0)
			return -1;
		json_array_append_new(states,
				      d->carried.disks[i] ? json_string(state) : json_null());
	}
	return 0;
}

int destination_export_disks(struct destination *d, struct error **err)
{
	char path[PATH_MAX];

	if (!hv_copies_disks(d->env.vm))
		return 0;
	return hop_env_path(&d->env, path, NBD_SOCKET, err) < 0
		       ? -1
		       : hv_export_start(d->env.vm, path, err);
}

static int receive_mirror(struct destination *d, size_t i, bool coded, struct error **err)
{
	struct door_decoding decoding = {0};
	char channel[DISK_CHANNEL], path[PATH_MAX];
	int fd = hop_env_path(&d->env, path, NBD_SOCKET, err) < 0 ? -1 : local_connect(path, err);

	if (fd < 0)
		return -1;
	if (coded)
		destination_know_disk(d, i, &decoding);
	else
		cleanup_close(&d->old_disks[i]);
	return destination_relay(d, disk_channel(i, 0, channel), coded ? &decoding : NULL, fd, err);
}

static int receive_carried(struct destination *d, size_t i, struct error **err)
{
	struct disk *disk = d->carried.disks[i];
	struct disk_link link = {.buffer = d->job->buffer};
	size_t n = disk_streams(disk), attached = 0;
	int fds[DISK_STREAMS_MOST], result = -1;
	char channel[DISK_CHANNEL];

	if (disk_channel_secret(&d->job->key, i, &link, err) == 0)
		result = disk_receive_open(disk, &link, fds, clock_ns() + OPEN_NS, err);
	explicit_bzero(&link, sizeof(link));
	if (result < 0)
		return -1;
	for (; result == 0 && attached < n; attached++)
		result = destination_relay(d, disk_channel(i, attached, channel), NULL,
					   fds[attached], err);
	for (; attached < n; attached++)
		close(fds[attached]);
	return result;
}

int destination_disk(struct destination *d, const json_t *request, struct error **err)
{
	bool coded = json_is_true(json_object_get(request, "coded"));
	int64_t disk;

	if (json_get_int(request, "disk", 0, (int64_t)d->env.facts->vm->disk_count - 1, &disk,
			 err) < 0 ||
	    (d->carried.disks[disk] ? receive_carried(d, (size_t)disk, err)
				    : receive_mirror(d, (size_t)disk, coded, err)) < 0)
		return -1;
	return fault_point("disk-copy", err);
}

int destination_settle_disks(struct destination *d, struct error **err)
{
	if (disk_set_take(&d->carried, disk_settle, err) < 0 ||
	    (hv_copies_disks(d->env.vm) && hv_export_stop(d->env.vm, err) < 0))
		return -1;
	return vm_store_sync_disks(d->env.facts->vm, err);
}

void destination_close_disks(struct destination *d)
{
	char channel[DISK_CHANNEL];

	for (size_t i = 0; i < d->env.facts->vm->disk_count; i++)
		for (size_t k = 0; k < (d->carried.disks[i] ? DISK_STREAMS_MOST : 1); k++)
			(void)door_close(d->door, disk_channel(i, k, channel), NULL);
}
