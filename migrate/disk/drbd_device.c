/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "migrate/disk/drbd_helper.h"
#include "migrate/disk/gate.h"
#include "migrate/disk/loop.h"
#include "migrate/vm/vm_store.h"

#define LOG_MODULE  "disk"
#define EVENTS_MOST (256 * 1024) /* all resources of the host */

int drbd_device_init(struct drbd_device *device, const struct vm_def *def, size_t index,
		     unsigned minor, struct error **err)
{
	char meta[NAME_SIZE + 16], doubt[NAME_SIZE + 16];

	*device = (struct drbd_device){
		.vm = def->name, .disk = def->disks[index].name, .minor = minor};
	drbd_resource_name(def->name, device->disk, device->resource);
	snprintf(device->path, sizeof(device->path), "/dev/drbd%u", minor);
	snprintf(meta, sizeof(meta), "drbd-%s.meta", device->disk);
	snprintf(doubt, sizeof(doubt), "drbd-%s.doubt", device->disk);
	return vm_store_path(device->doubt, def->name, doubt, err) < 0 ||
			       vm_store_path(device->data, def->name, def->disks[index].file, err) <
				       0 ||
			       vm_store_path(device->meta, def->name, meta, err) < 0
		       ? -1
		       : 0;
}

/* Whatever it says without an order: it is there. */
static int require_program(const char *name, struct error **err)
{
	struct program p = {0};
	struct error *why = NULL;

	program_add(&p, "%s", name);
	if (program_run(&p, NULL, 0, &why) == 0)
		return 0;
	if (why->code == ENOENT)
		return error_propagate(err, why);
	error_free(why);
	return 0;
}

int drbd_check(struct error **err)
{
	struct program load = {0};

	if (require_program("drbdsetup", err) < 0 || require_program("drbdmeta", err) < 0 ||
	    require_program("dmsetup", err) < 0)
		return -1;
	if (access("/proc/drbd", F_OK) == 0)
		return 0;
	program_add(&load, "modprobe");
	program_add(&load, "--dry-run");
	program_add(&load, "drbd");
	return program_run(&load, NULL, 0, err);
}

int drbd_module(struct error **err)
{
	struct program modprobe = {0};

	if (access("/proc/drbd", F_OK) == 0)
		return 0;
	program_add(&modprobe, "modprobe");
	program_add(&modprobe, "drbd");
	if (program_run(&modprobe, NULL, 0, err) < 0)
		return error_wrap(err, "this host's kernel has no DRBD");
	return 0;
}

int drbd_device_run(const struct drbd_device *device, const struct program *program,
		    struct error **err)
{
	char text[PROGRAM_TEXT];

	if (!device->dry)
		return program_run(program, NULL, 0, err);
	printf("  %s\n", program_text(program, text, sizeof(text)));
	return 0;
}

/* Where somebody has the device open DRBD says so in words only. */
static int run_unless_open(const struct drbd_device *device, const struct program *program,
			   struct error **err)
{
	struct error *why = NULL;

	if (drbd_device_run(device, program, &why) == 0)
		return 0;
	if (strstr(why->message, "held open")) {
		error_free(why);
		return error_set(err, EBUSY, "%s is open (a VM, a mount?)", device->path);
	}
	return error_propagate(err, why);
}

/* Room that was taken can't be missing later, in the middle of a guest's write. */
static int make_room(const char *path, uint64_t bytes, struct error **err)
{
	auto_close fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int code;

	if (fd < 0)
		return error_errno(err, "%s", path);
	code = posix_fallocate(fd, 0, (off_t)bytes);
	if (code != 0)
		return error_set(err, code, "%s: %s", path, strerror(code));
	return fsync(fd) < 0 ? error_errno(err, "%s", path) : sync_parent(path, err);
}

int drbd_device_make_meta(const struct drbd_device *device, uint64_t disk_bytes, struct error **err)
{
	uint64_t bytes = drbd_meta_bytes(disk_bytes);
	char loop[LOOP_DEVICE] = "/dev/loopN";
	struct program create;

	if (device->dry)
		printf("  make %s of %llu bytes\n", device->meta, (unsigned long long)bytes);
	else if (loop_detach(device->meta, err) < 0 || make_room(device->meta, bytes, err) < 0 ||
		 loop_attach(device->meta, loop, err) < 0)
		return -1;
	create = drbd_create_meta(device->minor, loop);
	return drbd_device_run(device, &create, err);
}

static int attach(const struct drbd_device *device, struct error **err)
{
	char data[LOOP_DEVICE] = "/dev/loopN", meta[LOOP_DEVICE] = "/dev/loopM";
	struct program p;

	if (!device->dry &&
	    (loop_attach(device->data, data, err) < 0 || loop_attach(device->meta, meta, err) < 0 ||
	     drbd_helper_install(device, err) < 0))
		return -1;
	p = drbd_apply_log(device->minor, meta);
	if (drbd_device_run(device, &p, err) < 0)
		return -1;
	p = drbd_new_resource(device->resource);
	if (drbd_device_run(device, &p, err) < 0)
		return -1;
	p = drbd_new_minor(device->resource, device->minor);
	if (drbd_device_run(device, &p, err) < 0)
		return -1;
	p = drbd_attach(device->minor, data, meta);
	return drbd_device_run(device, &p, err);
}

static int read_gi(const struct drbd_device *device, const struct program *get, struct drbd_gi *gi,
		   char text[DRBD_GI_TEXT], struct error **err)
{
	char said[DRBD_GI_TEXT];

	if (program_run(get, said, sizeof(said), err) < 0)
		return -1;
	said[strcspn(said, "\n")] = '\0';
	if (!drbd_gi_parse(said, gi))
		return error_set(err, EPROTO,
				 "%s: found \"%.64s\", expected generation identifiers",
				 device->path, said);
	if (text)
		memcpy(text, said, sizeof(said));
	return 0;
}

bool drbd_device_doubted(const struct drbd_device *device)
{
	return access(device->doubt, F_OK) == 0;
}

int drbd_device_settle_doubt(const struct drbd_device *device, struct error **err)
{
	if (unlink(device->doubt) < 0)
		return errno == ENOENT ? 0 : error_errno(err, "%s", device->doubt);
	return sync_parent(device->doubt, err);
}

/*
 * DRBD 8.4 has a copied block acknowledged, and the source forgets it, before it is flushed; only
 * what a guest writes is flushed first. The metadata, not yet attached, say how it ended here.
 */
static int notice_doubt(const struct drbd_device *device, struct error **err)
{
	char meta[LOOP_DEVICE];
	struct program get;
	struct drbd_gi gi;

	if (loop_attach(device->meta, meta, err) < 0)
		return -1;
	get = drbd_get_gi_at_rest(device->minor, meta);
	if (read_gi(device, &get, &gi, NULL, err) < 0)
		return -1;
	if (gi.consistent && (!gi.connected || gi.primary))
		return 0;
	return write_file_durably(device->doubt, "", 0, err);
}

static int make_gate(const struct drbd_device *device, struct error **err)
{
	struct drbd_view view;

	if (drbd_device_look(device, &view, err) < 0)
		return -1;
	return gate_make(device->resource, view.size, err);
}

int drbd_device_up(const struct drbd_device *device, struct error **err)
{
	struct drbd_view view = {0};

	if (device->dry)
		return attach(device, err);
	if (drbd_module(err) < 0 || drbd_device_look(device, &view, err) < 0)
		return -1;
	if (view.device && view.data > DRBD_DISKLESS)
		return gate_make(device->resource, view.size, err);
	/* Half of it is there: an attempt that was interrupted. */
	if (view.resource && drbd_device_down(device, err) < 0)
		return -1;
	if (notice_doubt(device, err) == 0 && attach(device, err) == 0 &&
	    make_gate(device, err) == 0)
		return 0;
	drbd_device_down(device, NULL);
	return -1;
}

int drbd_device_down(const struct drbd_device *device, struct error **err)
{
	struct program down = drbd_down(device->resource);
	struct drbd_view view = {0};

	if (device->dry)
		return drbd_device_run(device, &down, err);
	if (drbd_device_look(device, &view, err) < 0)
		return -1;
	if (gate_remove(device->resource, err) < 0 ||
	    (view.resource && run_unless_open(device, &down, err) < 0))
		return -1;
	drbd_helper_remove(device);
	return loop_detach(device->meta, err) < 0 || loop_detach(device->data, err) < 0 ? -1 : 0;
}

int drbd_device_look(const struct drbd_device *device, struct drbd_view *view, struct error **err)
{
	struct program look = drbd_look();
	auto_free char *text = malloc(EVENTS_MOST);

	*view = (struct drbd_view){0};
	if (access("/proc/drbd", F_OK) < 0)
		return 0; /* no module, no device */
	if (!text)
		return error_set(err, ENOMEM, "no memory for DRBD's events");
	if (program_run(&look, text, EVENTS_MOST, err) < 0)
		return -1;
	return drbd_events_read(view, device->resource, text, strlen(text), err);
}

int drbd_device_gi(const struct drbd_device *device, struct drbd_gi *gi, char text[DRBD_GI_TEXT],
		   struct error **err)
{
	struct program get = drbd_get_gi(device->minor);

	return read_gi(device, &get, gi, text, err);
}

static int become_primary(const struct drbd_device *device, const struct drbd_view *view,
			  struct error **err)
{
	struct program primary = drbd_primary(device->minor, false);

	/* DRBD would read the missing half from a peer, but not after that is gone. */
	if (view->data != DRBD_UP_TO_DATE)
		return error_set(
			err, EUCLEAN,
			"%s: found its data %s, expected UpToDate: nothing is started on a "
			"disk that is not whole, or known to be old",
			device->path, drbd_data_name(view->data));
	if (view->peer_role == DRBD_PRIMARY)
		return error_set(err, EBUSY, "%s: the other side is Primary still", device->path);
	return drbd_device_run(device, &primary, err);
}

int drbd_device_own(const struct drbd_device *device, struct error **err)
{
	struct drbd_view view;

	if (drbd_device_look(device, &view, err) < 0)
		return -1;
	if ((view.role != DRBD_PRIMARY || view.data != DRBD_UP_TO_DATE) &&
	    become_primary(device, &view, err) < 0)
		return -1;
	if (drbd_device_settle_doubt(device, err) < 0)
		return -1;
	return gate_open(device->resource, view.size, device->path, err);
}

int drbd_device_disown(const struct drbd_device *device, struct error **err)
{
	struct program secondary = drbd_secondary(device->minor);
	struct drbd_view view;

	if (drbd_device_look(device, &view, err) < 0 ||
	    gate_close(device->resource, view.size, err) < 0)
		return -1;
	return run_unless_open(device, &secondary, err);
}

static int sync_file(const char *path, struct error **err)
{
	auto_close fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? error_errno(err, "%s", path) : 0;
}

int drbd_device_sync(const struct drbd_device *device, struct error **err)
{
	return sync_file(device->data, err) < 0 || sync_file(device->meta, err) < 0 ? -1 : 0;
}
