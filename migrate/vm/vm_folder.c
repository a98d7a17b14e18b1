/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A VM's folder is made in two ways, both of which leave no moment at which a crash lets a VM run
 * that must not. A defined VM is put together in a folder beside, which is renamed when all of it
 * is durable. An arriving VM is made in place, owner.json first (it names the other host, so the
 * VM can't be started here); removal goes the other way round, owner.json last.
 */
#include "migrate/vm/vm_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"
#include "migrate/vm/copy_image.h"

/* Removes a folder and the plain files in it, the file `last` (may be NULL) after the others. */
static int remove_folder(const char *folder, const char *last, struct error **err)
{
	auto_close fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(err, "%s", folder);
	dir = fdopendir(dup(fd));
	if (!dir)
		return error_errno(err, "%s", folder);
	while ((entry = readdir(dir)))
		if (!last || strcmp(entry->d_name, last) != 0)
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
	if (last && (fsync(fd) < 0 || (unlinkat(fd, last, 0) < 0 && errno != ENOENT)))
		return error_errno(err, "%s/%s", folder, last);
	if (rmdir(folder) < 0)
		return error_errno(err, "%s", folder);
	return sync_parent(folder, err);
}

/* Devices that hold the files would go on with what nobody sees any more. */
static int require_no_devices(const char *vm, struct error **err)
{
	char path[PATH_MAX];

	if (vm_store_path(path, vm, "drbd.json", err) < 0)
		return -1;
	if (access(path, F_OK) == 0)
		return error_set(
			err, EBUSY,
			"VM %s: disks of it are on DRBD here (`edgehop disk release %s`); its "
			"folder is kept",
			vm, vm);
	return 0;
}

/* A UUID that can't be read, or an owner.json that can't, is no leave to remove a disk. */
static int require_foreign(const char *vm, struct error **err)
{
	char self[UUID_SIZE];
	auto_error why = NULL;
	struct owner owner;

	if (uuid_of_host(self, err) < 0)
		return -1;
	if (owner_read(vm, &owner, &why) < 0) {
		char path[PATH_MAX];

		/* Without an owner.json: nothing there, or the end of a removal. */
		if (why->code == ENOENT && vm_store_path(path, vm, "vm.yaml", err) == 0 &&
		    access(path, F_OK) < 0)
			return 0;
		return error_set(err, EPERM,
				 "VM %s: who owns it can't be told (%s); its folder is kept", vm,
				 error_text(why));
	}
	if (strcmp(owner.host, self) == 0)
		return error_set(err, EPERM, "VM %s belongs to this host; its folder is kept", vm);
	return 0;
}

int vm_store_remove(const char *vm, struct error **err)
{
	char folder[PATH_MAX];

	if (require_foreign(vm, err) < 0 || require_no_devices(vm, err) < 0 ||
	    vm_store_path(folder, vm, NULL, err) < 0)
		return -1;
	return remove_folder(folder, "owner.json", err);
}

static int write_definition(const char *folder, const struct vm_def *def, struct error **err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/vm.yaml", folder) >= (int)sizeof(path))
		return error_set(err, ENAMETOOLONG, "%s: path too long", folder);
	return write_file_durably(path, def->text, def->text_size, err);
}

static int copy_into(const char *folder, const char *file, const char *from,
		     int (*copy)(const char *from, const char *to, struct error **err),
		     struct error **err)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", folder, file) >= (int)sizeof(path))
		return error_set(err, ENAMETOOLONG, "%s: path too long", folder);
	return copy(from, path, err);
}

static int fill_folder(const char *folder, const struct vm_def *def, const char *const *images,
		       struct error **err)
{
	const char *boot[VM_BOOT_FILES];
	size_t boot_count = vm_def_boot_files(def, boot);

	for (size_t i = 0; i < def->disk_count; i++)
		if (*def->disks[i].file &&
		    copy_into(folder, def->disks[i].file, images[i], copy_image, err) < 0)
			return error_wrap(err, "disk %s", def->disks[i].name);
	for (size_t i = 0; i < boot_count; i++)
		if (copy_into(folder, boot[i], images[def->disk_count + i], copy_boot_file, err) <
		    0)
			return error_wrap(err, "boot");
	return write_definition(folder, def, err);
}

int vm_store_define(const struct vm_def *def, const char *const *images, const char *site,
		    struct error **err)
{
	char parent[PATH_MAX], draft[PATH_MAX], folder[PATH_MAX];
	struct owner owner = {.epoch = 1};

	if (place(parent, err, PLACE_STATE "/vms") < 0 ||
	    place(draft, err, PLACE_STATE "/vms/.%s.%d", def->name, (int)getpid()) < 0 ||
	    vm_store_path(folder, def->name, NULL, err) < 0 || make_dirs(parent, err) < 0 ||
	    uuid_of_host(owner.host, err) < 0)
		return -1;
	if (access(folder, F_OK) == 0)
		return error_set(err, EEXIST,
				 "VM %s is defined already, in %s; nothing was changed", def->name,
				 folder);
	strcpy(owner.vm, def->uuid);
	for (size_t i = 0; i < def->nic_count; i++)
		if (!owner_nic(&owner, def->nics[i].network))
			owner_set_nic(&owner, def->nics[i].network, def->nics[i].name);
	if (!value_name(site, owner.site))
		return error_set(err, EINVAL, "site \"%.64s\": expected " NAME_EXPECTED, site);
	if (mkdir(draft, 0700) < 0)
		return error_errno(err, "%s", draft);
	if (fill_folder(draft, def, images, err) < 0 || owner_write_in(draft, &owner, err) < 0) {
		remove_folder(draft, NULL, NULL);
		return error_wrap(err, "VM %s was not defined", def->name);
	}
	/* A folder that appeared meanwhile is not empty, so this can't replace it. */
	if (rename(draft, folder) < 0) {
		error_errno(err, "VM %s was not defined: %s", def->name, folder);
		remove_folder(draft, NULL, NULL);
		return -1;
	}
	return sync_parent(folder, err);
}

int vm_store_disk_path(char path[PATH_MAX], const struct vm_def *def, size_t disk,
		       struct error **err)
{
	if (*def->disks[disk].device)
		return place(path, err, VM_DEVICES "/%s", def->disks[disk].device);
	return vm_store_path(path, def->name, def->disks[disk].file, err);
}

static int device_size(const struct vm_disk *disk, const char *path, uint64_t *bytes,
		       struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return error_set(err, ENODEV,
				 "disk %s: this host has no %s, expected a block device that its "
				 "operator gives to VMs",
				 disk->name, path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "disk %s: %s", disk->name, path);
	if (!S_ISBLK(st.st_mode) || ioctl(fd, BLKGETSIZE64, bytes) < 0)
		return error_set(err, ENODEV, "disk %s: %s is not a block device", disk->name,
				 path);
	return 0;
}

int vm_store_disk_size(const struct vm_def *def, size_t disk, uint64_t *bytes, struct error **err)
{
	char path[PATH_MAX];
	struct stat st;

	if (vm_store_disk_path(path, def, disk, err) < 0)
		return -1;
	if (*def->disks[disk].device)
		return device_size(&def->disks[disk], path, bytes, err);
	if (stat(path, &st) < 0)
		return error_errno(err, "disk %s: %s", def->disks[disk].name, path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "disk %s: %s is not a plain file",
				 def->disks[disk].name, path);
	*bytes = (uint64_t)st.st_size;
	return 0;
}

/* A device is not made; the other host's must be the same, or its equal. */
static int require_device(const struct vm_def *def, size_t disk, uint64_t bytes, struct error **err)
{
	uint64_t have;

	if (vm_store_disk_size(def, disk, &have, err) < 0)
		return -1;
	if (have != bytes)
		return error_set(err, EINVAL,
				 "disk %s: device %s has %llu bytes here, expected %llu as at the "
				 "source",
				 def->disks[disk].name, def->disks[disk].device,
				 (unsigned long long)have, (unsigned long long)bytes);
	return 0;
}

static int make_disk(const struct vm_def *def, size_t disk, uint64_t bytes, struct error **err)
{
	char path[PATH_MAX];

	if (bytes == 0 || bytes > INT64_MAX || bytes % 512 != 0)
		return error_set(err, EINVAL,
				 "disk %s: size %llu, expected a multiple of 512 bytes",
				 def->disks[disk].name, (unsigned long long)bytes);
	if (*def->disks[disk].device)
		return require_device(def, disk, bytes, err);
	if (vm_store_disk_path(path, def, disk, err) < 0)
		return -1;

	auto_close fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0)
		return error_errno(err, "disk %s: %s", def->disks[disk].name, path);
	return 0;
}

/* What an earlier stay left may go; another VM, or a newer ownership than the told one, may not. */
static int check_replaceable(const struct vm_def *def, const struct owner *owner,
			     struct error **err)
{
	auto_error none = NULL;
	char self[UUID_SIZE];
	struct owner stored;

	if (uuid_of_host(self, err) < 0)
		return -1;
	if (strcmp(owner->host, self) == 0)
		return error_set(err, EPERM, "VM %s is said to belong to this host already",
				 def->name);
	if (owner_read(def->name, &stored, &none) < 0)
		return 0; /* vm_store_remove judges that */
	if (strcmp(stored.vm, def->uuid) != 0)
		return error_set(err, EEXIST,
				 "VM %s: the folder here is that of another VM (UUID %s, not %s)",
				 def->name, stored.vm, def->uuid);
	if (stored.epoch > owner->epoch)
		return error_set(
			err, ESTALE,
			"VM %s: ownership of epoch %llu is known here, the source has %llu",
			def->name, (unsigned long long)stored.epoch,
			(unsigned long long)owner->epoch);
	return 0;
}

static int fill_incoming(const struct vm_def *def, const struct owner *owner,
			 const uint64_t *disk_sizes, const char *folder, struct error **err)
{
	if (owner_write_in(folder, owner, err) < 0)
		return -1;
	for (size_t i = 0; i < def->disk_count; i++)
		if (disk_sizes[i] && make_disk(def, i, disk_sizes[i], err) < 0)
			return -1;
	return write_definition(folder, def, err) < 0 ? -1 : sync_parent(folder, err);
}

int vm_store_make_incoming(const struct vm_def *def, const struct owner *owner,
			   const uint64_t *disk_sizes, struct error **err)
{
	char folder[PATH_MAX];

	if (check_replaceable(def, owner, err) < 0 || vm_store_remove(def->name, err) < 0 ||
	    vm_store_path(folder, def->name, NULL, err) < 0 || make_dirs(folder, err) < 0)
		return -1;
	if (fill_incoming(def, owner, disk_sizes, folder, err) < 0) {
		remove_folder(folder, "owner.json", NULL);
		return -1;
	}
	return 0;
}

int vm_store_keep_incoming(const struct vm_def *def, const struct owner *owner,
			   const uint64_t *disk_sizes, struct error **err)
{
	char folder[PATH_MAX];

	if (check_replaceable(def, owner, err) < 0 ||
	    vm_store_path(folder, def->name, NULL, err) < 0)
		return -1;
	if (access(folder, F_OK) == 0 && require_foreign(def->name, err) < 0)
		return -1;
	if (make_dirs(folder, err) < 0)
		return -1;
	return fill_incoming(def, owner, disk_sizes, folder, err);
}

int vm_store_write_boot_file(const struct vm_def *def, size_t file, uint64_t offset,
			     const void *data, size_t size, struct error **err)
{
	const char *names[VM_BOOT_FILES];
	char path[PATH_MAX];

	if (file >= vm_def_boot_files(def, names))
		return error_set(err, EINVAL, "VM %s has no boot file %zu", def->name, file);
	if (offset > VM_BOOT_FILE_MOST || size > VM_BOOT_FILE_MOST - offset)
		return error_set(err, EFBIG, "file %s: expected at most %llu bytes", names[file],
				 VM_BOOT_FILE_MOST);
	if (vm_store_path(path, def->name, names[file], err) < 0)
		return -1;

	auto_close fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (offset ? 0 : O_TRUNC), 0600);

	if (fd < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return error_errno(err, "%s", path);
	return write_all(fd, data, size, err);
}

static int sync_file(const char *path, struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? error_errno(err, "sync of %s", path) : 0;
}

int vm_store_sync_disks(const struct vm_def *def, struct error **err)
{
	const char *boot[VM_BOOT_FILES];
	size_t boot_count = vm_def_boot_files(def, boot);
	char path[PATH_MAX];

	for (size_t i = 0; i < def->disk_count; i++)
		if (vm_store_disk_path(path, def, i, err) < 0 || sync_file(path, err) < 0)
			return error_wrap(err, "disk %s", def->disks[i].name);
	for (size_t i = 0; i < boot_count; i++)
		if (vm_store_path(path, def->name, boot[i], err) < 0 || sync_file(path, err) < 0)
			return error_wrap(err, "boot");
	return boot_count && sync_parent(path, err) < 0 ? -1 : 0;
}
