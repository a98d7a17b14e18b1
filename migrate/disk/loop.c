/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "migrate/disk/program.h"

static bool is_block_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* The first line of what losetup says, which is a device. */
static int take_device(const char *said, char device[LOOP_DEVICE], struct error **err)
{
	size_t n = strcspn(said, " \n");

	if (n >= LOOP_DEVICE || (n > 0 && strncmp(said, "/dev/loop", 9) != 0))
		return error_set(err, EPROTO, "losetup: found \"%.32s\", expected a loop device",
				 said);
	memcpy(device, said, n);
	device[n] = '\0';
	return 0;
}

int loop_find(const char *file, char device[LOOP_DEVICE], struct error **err)
{
	struct program p = {0};
	char said[512];

	device[0] = '\0';
	if (is_block_device(file))
		return 0;
	program_add(&p, "losetup");
	program_add(&p, "--associated");
	program_add(&p, "%s", file);
	program_add(&p, "--noheadings");
	program_add(&p, "--output");
	program_add(&p, "NAME");
	return program_run(&p, said, sizeof(said), err) < 0 ? -1 : take_device(said, device, err);
}

static int attach(const char *file, bool direct, char device[LOOP_DEVICE], struct error **err)
{
	struct program p = {0};
	char said[512];

	program_add(&p, "losetup");
	program_add(&p, "--find");
	program_add(&p, "--show");
	program_add(&p, "--direct-io=%s", direct ? "on" : "off");
	program_add(&p, "%s", file);
	if (program_run(&p, said, sizeof(said), err) < 0 || take_device(said, device, err) < 0)
		return -1;
	return device[0] ? 0 : error_set(err, EIO, "%s: losetup named no device", file);
}

int loop_attach(const char *file, char device[LOOP_DEVICE], struct error **err)
{
	auto_error why = NULL;

	if (is_block_device(file)) {
		if (snprintf(device, LOOP_DEVICE, "%s", file) < LOOP_DEVICE)
			return 0;
		return error_set(err, ENAMETOOLONG, "%s: a device's path of at most %d bytes", file,
				 LOOP_DEVICE - 1);
	}
	if (loop_find(file, device, err) < 0)
		return -1;
	if (device[0] || attach(file, true, device, &why) == 0)
		return 0;
	return attach(file, false, device, err);
}

int loop_detach(const char *file, struct error **err)
{
	struct program p = {0};
	char device[LOOP_DEVICE];

	if (loop_find(file, device, err) < 0)
		return -1;
	if (!device[0])
		return 0;
	program_add(&p, "losetup");
	program_add(&p, "--detach");
	program_add(&p, "%s", device);
	return program_run(&p, NULL, 0, err);
}
