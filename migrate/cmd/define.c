/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/cmd/cmd.h"
#include "migrate/config/fleet.h"
#include "migrate/hypervisor/hypervisor.h"
#include "migrate/vm/vm_store.h"

static const char help[] =
	"usage: edgehop define FILE [--disk NAME=IMAGE]...\n"
	"Takes a VM in: its definition, FILE, and its disks are copied. A disk is taken from "
	"IMAGE,\n"
	"else from the file of the disk's name beside FILE. From then on this host owns the VM.\n";

/* Where each disk's image is taken from. */
struct images {
	char *path[VM_DISKS_MOST + VM_BOOT_FILES]; /* by the disk's index; boot files after them */
};

static void images_cleanup(struct images *images)
{
	for (size_t i = 0; i < VM_DISKS_MOST + VM_BOOT_FILES; i++)
		free(images->path[i]);
}

/* "NAME=IMAGE". */
static int take_disk_option(const struct vm_def *def, const char *option, struct images *images,
			    struct error **err)
{
	const char *equals = strchr(option, '=');
	const struct vm_disk *disk;
	char name[NAME_SIZE];
	size_t i;

	if (!equals || !equals[1] || (size_t)(equals - option) >= sizeof(name))
		return error_set(err, EINVAL, "--disk: found \"%s\", expected NAME=IMAGE", option);
	memcpy(name, option, (size_t)(equals - option));
	name[equals - option] = '\0';
	disk = vm_def_disk(def, name, err);
	if (!disk)
		return error_wrap(err, "--disk");
	if (*disk->device)
		return error_set(err, EINVAL, "--disk: disk %s is device %s, which is not copied",
				 disk->name, disk->device);
	i = (size_t)(disk - def->disks);
	free(images->path[i]);
	images->path[i] = strdup(equals + 1);
	return images->path[i] ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* Disks that no option names are beside the definition, as kernel and initrd are. */
static int take_rest(const struct vm_def *def, const char *file, struct images *images,
		     struct error **err)
{
	auto_free char *copy = strdup(file);
	const char *boot[VM_BOOT_FILES];
	size_t boot_count = vm_def_boot_files(def, boot);
	const char *folder;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	folder = dirname(copy);
	for (size_t i = 0; i < def->disk_count; i++)
		if (*def->disks[i].file && !images->path[i] &&
		    asprintf(&images->path[i], "%s/%s", folder, def->disks[i].file) < 0)
			return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < boot_count; i++)
		if (asprintf(&images->path[def->disk_count + i], "%s/%s", folder, boot[i]) < 0)
			return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static int define_vm(const struct vm_def *def, const struct images *images, struct error **err)
{
	auto_fleet fleet = fleet_load(NULL, err);
	const struct fleet_host *self = fleet ? fleet_self(fleet, err) : NULL;
	auto_hv vm = NULL;

	if (!self || !vm_def_site(def, self->site, err))
		return -1;
	/* A hypervisor that nobody here drives is refused now, not at the start. */
	vm = hv_open(def, err);
	if (!vm)
		return -1;
	return vm_store_define(def, (const char *const *)images->path, self->site, err);
}

int cmd_define(int argc, char **argv)
{
	static const struct option known[] = {
		{"disk", required_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {0}};
	__attribute__((cleanup(images_cleanup))) struct images images = {0};
	auto_free const char **wanted = calloc((size_t)argc, sizeof(*wanted));
	auto_vm_def def = NULL;
	auto_error err = NULL;
	size_t count = 0;
	int option;

	while (wanted && (option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (option == 'h')
			return fputs(help, stdout) < 0 ? CMD_FAILED : CMD_DONE;
		if (option != 'd')
			return CMD_USAGE;
		wanted[count++] = optarg;
	}
	if (argc - optind != 1) {
		cmd_complain("found %d arguments, expected FILE (see --help)", argc - optind);
		return CMD_USAGE;
	}
	def = vm_def_load(argv[optind], &err);
	if (!def)
		return cmd_fail(err);
	for (size_t i = 0; i < count; i++)
		if (take_disk_option(def, wanted[i], &images, &err) < 0)
			return cmd_fail(err);
	if (take_rest(def, argv[optind], &images, &err) < 0 || define_vm(def, &images, &err) < 0)
		return cmd_fail(err);
	printf("VM %s is defined, owned by this host\n", def->name);
	return CMD_DONE;
}
