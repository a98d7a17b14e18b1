/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A backend in the host's kernel waits until a hotplug script has told it, in xenstore, that its
 * device is there. Xen's scripts are shell, one run a device, and after a hop they would all run
 * while the guest is paused. What they do for us is little, and is done here, once libxl has made
 * the domain:
 *
 *     disk   .../backend/vbd/DOMAIN/NUMBER/physical-device = "MAJOR:MINOR"
 *     vNIC   the network device vifDOMAIN.NUMBER gets its name; .../hotplug-status = "connected"
 *
 * An arriving guest's disks are told of only when it is let run: a backend asks the device once
 * whether writes have to be flushed, and before that moment nobody may have it
 * (migrate/disk/gate.h).
 *
 * A disk that is a file gets a loop device, which the kernel takes away when its last user is gone:
 * the backend, which may outlive us.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/cleanup.h"
#include "migrate/disk/disk.h"
#include "migrate/xen/domain_internal.h"

#define LOOP_TRIES 16
#define XVD_MAJOR  202

static int open_loop(int file, char path[PATH_MAX], struct error **err)
{
	auto_close control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {.fd = (uint32_t)file,
				     .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO};

	if (control < 0)
		return error_errno(err, "/dev/loop-control");
	/* Another may take the one that is free: then the next. */
	for (int i = 0; i < LOOP_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

		if (number < 0)
			return error_errno(err, "a loop device");
		snprintf(path, PATH_MAX, "/dev/loop%d", number);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return error_errno(err, "%s", path);
		if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return fd;
		close(fd);
		if (errno != EBUSY)
			return error_errno(err, "%s", path);
	}
	return error_set(err, EBUSY, "no loop device is free");
}

static int loop_path(int loop, char path[PATH_MAX], struct error **err)
{
	struct loop_info64 info;

	if (ioctl(loop, LOOP_GET_STATUS64, &info) < 0)
		return error_errno(err, "a loop device");
	snprintf(path, PATH_MAX, "/dev/loop%u", info.lo_number);
	return 0;
}

int domain_open_disk(struct domain *domain, size_t disk, char path[PATH_MAX], struct error **err)
{
	auto_disk source = disk_open(domain->def, disk, err);
	auto_close fd = -1;
	struct stat st;

	if (!source || disk_guest_path(source, path, err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "%s", path);
	if (S_ISBLK(st.st_mode))
		return 0;
	/* its loop device is there since the domain was built */
	if (domain->loops[disk] >= 0)
		return loop_path(domain->loops[disk], path, err);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s: expected a file or a block device", path);
	domain->loops[disk] = open_loop(fd, path, err);
	return domain->loops[disk] < 0 ? -1 : 0;
}

void domain_close_disks(struct domain *domain)
{
	for (size_t i = 0; i < VM_DISKS_MOST; i++) {
		if (domain->loops[i] >= 0)
			close(domain->loops[i]);
		domain->loops[i] = -1;
	}
}

static void backend_path(char path[128], const struct domain *domain, const char *kind,
			 unsigned device, const char *node)
{
	snprintf(path, 128, "/local/domain/0/backend/%s/%u/%u/%s", kind, domain->id, device, node);
}

static int backend_write(struct domain *domain, const char *kind, unsigned device, const char *node,
			 const char *value, struct error **err)
{
	char path[128];

	backend_path(path, domain, kind, device, node);
	if (!xs_write(domain->xs, XBT_NULL, path, value, (unsigned)strlen(value)))
		return error_errno(err, "%s in xenstore", path);
	return 0;
}

static bool backend_has(struct domain *domain, const char *kind, unsigned device, const char *node)
{
	char path[128];
	unsigned n;

	backend_path(path, domain, kind, device, node);

	auto_free char *value = xs_read(domain->xs, XBT_NULL, path, &n);

	return value && n > 0;
}

static int connect_disk(struct domain *domain, size_t i, struct error **err)
{
	unsigned device = XVD_MAJOR << 8 | (unsigned)i << 4;
	char path[PATH_MAX], value[32];
	struct stat st;

	/* where libxl's own script has done it, or we have */
	if (backend_has(domain, "vbd", device, "physical-device"))
		return 0;
	if (domain_open_disk(domain, i, path, err) < 0)
		return -1;
	if (stat(path, &st) < 0)
		return error_errno(err, "%s", path);
	snprintf(value, sizeof(value), "%x:%x", major(st.st_rdev), minor(st.st_rdev));
	return backend_write(domain, "vbd", device, "physical-device", value, err);
}

static int rename_device(const char *from, const char *to, struct error **err)
{
	auto_close fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	if (fd < 0)
		return error_errno(err, "socket");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", from);
	snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", to);
	return ioctl(fd, SIOCSIFNAME, &request) < 0
		       ? error_errno(err, "network device %s, to be %s", from, to)
		       : 0;
}

static int connect_nic(struct domain *domain, size_t i, struct error **err)
{
	char device[IFNAMSIZ], tap[DEVICE_NAME_SIZE];

	snprintf(device, sizeof(device), "vif%u.%u", domain->id, (unsigned)i % VM_NICS_MOST);
	if (rename_device(device, vm_def_tap(domain->def, i, tap), err) < 0)
		return -1;
	return backend_write(domain, "vif", (unsigned)i, "hotplug-status", "connected", err);
}

int domain_connect_disks(struct domain *domain, struct error **err)
{
	for (size_t i = 0; i < domain->def->disk_count; i++)
		if (connect_disk(domain, i, err) < 0)
			return error_wrap(err, "disk %s", domain->def->disks[i].name);
	return 0;
}

int domain_connect_nics(struct domain *domain, struct error **err)
{
	for (size_t i = 0; i < domain->def->nic_count; i++)
		if (connect_nic(domain, i, err) < 0)
			return error_wrap(err, "vNIC %s", domain->def->nics[i].name);
	return 0;
}
