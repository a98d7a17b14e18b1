/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_helper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/places.h"

/* Where drbdadm finds the configuration of a minor that the kernel names. */
#define REGISTER "/run/drbd"

int drbd_helper_text(const struct drbd_device *device, const char *host,
		     char text[DRBD_HELPER_TEXT], struct error **err)
{
	char address[DRBD_ADDRESS];
	int n;

	drbd_address(device->minor, address);
	n = snprintf(text, DRBD_HELPER_TEXT,
		     "# made by edgehop for the kernel's questions to drbdadm\n"
		     "resource \"%s\" {\n"
		     "\tdevice minor %u;\n"
		     "\tdisk \"%s\";\n"
		     "\tmeta-disk \"%s\";\n"
		     "\ton \"%s\" { address ipv4 %s:%d; }\n"
		     "\ton \"edgehop-peer\" { address ipv4 %s:%d; }\n"
		     "}\n",
		     device->resource, device->minor, device->data, device->meta, host, address,
		     DRBD_PORT_OWN, address, DRBD_PORT_PEER);
	return n < DRBD_HELPER_TEXT ? 0
				    : error_set(err, ENAMETOOLONG, "%s: its paths are too long",
						device->resource);
}

static int file_path(const struct drbd_device *device, char path[PATH_MAX], struct error **err)
{
	return place(path, err, PLACE_RUN "/drbd/%s.res", device->resource);
}

static void link_path(const struct drbd_device *device, char path[64])
{
	snprintf(path, 64, REGISTER "/drbd-minor-%u.conf", device->minor);
}

int drbd_helper_install(const struct drbd_device *device, struct error **err)
{
	char text[DRBD_HELPER_TEXT], folder[PATH_MAX], path[PATH_MAX], link[64];
	struct utsname self;

	if (uname(&self) < 0)
		return error_errno(err, "uname");
	if (drbd_helper_text(device, self.nodename, text, err) < 0 ||
	    place(folder, err, PLACE_RUN "/drbd") < 0 || make_dirs(folder, err) < 0 ||
	    make_dirs(REGISTER, err) < 0 || file_path(device, path, err) < 0 ||
	    write_file_durably(path, text, strlen(text), err) < 0)
		return -1;
	link_path(device, link);
	unlink(link);
	return symlink(path, link) < 0 ? error_errno(err, "%s", link) : 0;
}

void drbd_helper_remove(const struct drbd_device *device)
{
	char path[PATH_MAX], link[64];

	link_path(device, link);
	unlink(link);
	if (file_path(device, path, NULL) == 0)
		unlink(path);
}
