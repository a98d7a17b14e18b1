/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/destination_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#define LOG_MODULE "destination"
#include "common/log.h"
#include "migrate/hop/host_survey.h"
#include "migrate/hop/memory_channel.h"
#include "migrate/vm/checkpoint.h"
#include "migrate/vm/vm_store.h"

/*
 * What of the VM is here already, and is offered to a source that codes: what it left at its last
 * stay, which is its own and no other VM's, and the base images that this host's operator has
 * named, which are everybody's. Whatever can't be had costs bytes, not the hop.
 */

/* ---- The disks of the last stay ---- */

void destination_no_old_disks(struct destination *d)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++)
		d->old_disks[i] = -1;
}

void destination_drop_old_disks(struct destination *d)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++)
		cleanup_close(&d->old_disks[i]);
}

static int open_image(const char *path, struct error **err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		error_errno(err, "%s", path);
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		error_set(err, EINVAL, "%s is no file and no block device", path);
	} else {
		return fd;
	}
	cleanup_close(&fd);
	return -1;
}

/* They take room until the hop is over: so much is needed beside them. */
static bool room_beside(const struct vm_def *vm, const uint64_t *sizes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < vm->disk_count; i++)
		sum += sizes[i];
	return host_disk_available() >= sum;
}

void destination_keep_old_disks(struct destination *d, const uint64_t *sizes)
{
	const struct vm_def *vm = d->env.facts->vm;
	char path[PATH_MAX];

	if (d->env.fleet->checkpoints.size == 0 || !room_beside(vm, sizes))
		return;
	for (size_t i = 0; i < vm->disk_count; i++)
		if (!*vm->disks[i].device && !d->carried.disks[i] &&
		    vm_store_path(path, vm->name, vm->disks[i].file, NULL) == 0)
			d->old_disks[i] = open_image(path, NULL);
}

/* ---- Both ---- */

static_assert(1 + FLEET_IMAGES_MOST <= HELD_FILES_MOST, "a checkpoint or a disk, and all images");

static void add(struct door_decoding *decoding, int fd, uint64_t offset, uint32_t pages)
{
	decoding->held[decoding->held_count++] = (struct held_file){fd, offset, pages};
}

static void add_base_images(const struct destination *d, struct door_decoding *decoding)
{
	const struct fleet *fleet = d->env.fleet;

	for (size_t i = 0; i < fleet->base_image_count; i++) {
		auto_error why = NULL;
		int fd = open_image(fleet->base_images[i], &why);

		if (fd < 0)
			log_warn("a base image is not of use: %s", error_text(why));
		else
			add(decoding, fd, 0, 0);
	}
}

static void add_checkpoint(const struct destination *d, struct door_decoding *decoding)
{
	auto_error why = NULL;
	uint32_t pages;
	int fd = checkpoint_open(d->env.facts->vm->uuid, &d->env.fleet->checkpoints, &pages, &why);

	if (fd >= 0) {
		log_info("%u pages of the VM's last stay are offered", pages);
		add(decoding, fd, CHECKPOINT_HEADER_SIZE, pages);
	} else if (why->code == ENOENT) {
		log_info("nothing of an earlier stay is here: %s", error_text(why));
	} else {
		log_warn("nothing of an earlier stay is of use: %s", error_text(why));
	}
}

void destination_know_memory(const struct destination *d, struct door_decoding *decoding)
{
	decoding->guest_pages = memory_channel_pages(d->env.facts->vm);
	decoding->offer_most = offer_most(decoding->guest_pages);
	add_checkpoint(d, decoding);
	add_base_images(d, decoding);
}

void destination_know_disk(struct destination *d, size_t disk, struct door_decoding *decoding)
{
	uint64_t bytes;

	decoding->disk = true;
	if (vm_store_disk_size(d->env.facts->vm, disk, &bytes, NULL) < 0)
		return;
	decoding->offer_most = offer_most(bytes / OFFER_PAGE);
	if (d->old_disks[disk] >= 0)
		add(decoding, steal_fd(&d->old_disks[disk]), 0, 0);
	add_base_images(d, decoding);
}
