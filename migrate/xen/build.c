/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From vm.yaml to libxl's configuration. The definition came from another host, perhaps: what goes
 * in here was bounded by vm_def_parse, and all of it are plain values of libxl's structures, never
 * text that anything would parse.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "migrate/vm/vm_store.h"
#include "migrate/xen/domain_internal.h"

/* Debian's grub-xen-host: boots what the VM's own disk says. */
#define GRUB_PVH "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"

/* libxl insists on hotplug scripts, and waits for them: this is the quickest. See devices.c. */
#define NO_SCRIPT "/bin/true"

static bool is_hvm(const struct vm_def *def)
{
	return strcmp(def->machine, "hvm") == 0;
}

static char *copy(const char *text, struct error **err)
{
	char *text_copy = strdup(text);

	if (!text_copy)
		error_set(err, ENOMEM, "out of memory");
	return text_copy;
}

static int boot_file(const struct vm_def *def, const char *file, char **into, struct error **err)
{
	char path[PATH_MAX];

	if (vm_store_path(path, def->name, file, err) < 0)
		return -1;
	*into = copy(path, err);
	return *into ? 0 : -1;
}

static int make_boot(const struct vm_def *def, libxl_domain_build_info *build, struct error **err)
{
	if (!*def->boot.kernel) {
		if (is_hvm(def))
			return 0; /* its firmware boots its disk */
		if (access(GRUB_PVH, R_OK) < 0)
			return error_set(err, ENOENT,
					 "VM %s names no kernel, and this host has no %s: install "
					 "grub-xen-host, or name one under `boot`",
					 def->name, GRUB_PVH);
		build->kernel = copy(GRUB_PVH, err);
		return build->kernel ? 0 : -1;
	}
	if (boot_file(def, def->boot.kernel, &build->kernel, err) < 0 ||
	    (*def->boot.initrd && boot_file(def, def->boot.initrd, &build->ramdisk, err) < 0))
		return -1;
	build->cmdline = copy(def->boot.cmdline, err);
	return build->cmdline ? 0 : -1;
}

static int make_machine(struct domain *domain, struct error **err)
{
	const struct vm_def *def = domain->def;
	libxl_domain_create_info *create = &domain->config.c_info;
	libxl_domain_build_info *build = &domain->config.b_info;

	create->type = is_hvm(def) ? LIBXL_DOMAIN_TYPE_HVM : LIBXL_DOMAIN_TYPE_PVH;
	create->name = copy(def->name, err);
	if (!create->name)
		return -1;
	if (libxl_uuid_from_string(&create->uuid, def->uuid) < 0)
		return error_set(err, EINVAL, "uuid: found \"%s\"", def->uuid);
	libxl_domain_build_info_init_type(build, create->type);
	build->max_vcpus = (int)def->vcpus;
	if (libxl_cpu_bitmap_alloc(domain->libxl, &build->avail_vcpus, (int)def->vcpus) < 0)
		return error_set(err, ENOMEM, "out of memory");
	libxl_bitmap_set_none(&build->avail_vcpus);
	for (unsigned i = 0; i < def->vcpus; i++)
		libxl_bitmap_set(&build->avail_vcpus, (int)i);
	build->max_memkb = build->target_memkb = def->memory / 1024;
	/* A guest within a guest can't be moved: Xen has no state of the inner one to send. */
	libxl_defbool_set(&build->nested_hvm, false);
	return make_boot(def, build, err);
}

static int make_disk(struct domain *domain, size_t i, libxl_device_disk *disk, struct error **err)
{
	char path[PATH_MAX], name[8];

	libxl_device_disk_init(disk);
	if (domain_open_disk(domain, i, path, err) < 0)
		return error_wrap(err, "disk %s", domain->def->disks[i].name);
	snprintf(name, sizeof(name), "xvd%c", (char)('a' + i));
	disk->pdev_path = copy(path, err);
	disk->vdev = copy(name, err);
	disk->backend = LIBXL_DISK_BACKEND_PHY;
	disk->format = LIBXL_DISK_FORMAT_RAW;
	disk->readwrite = 1;
	/* An HVM guest's device model reads its disk, too, and wants what the real script writes.
	 */
	if (!is_hvm(domain->def))
		disk->script = copy(NO_SCRIPT, err);
	return disk->pdev_path && disk->vdev && (disk->script || is_hvm(domain->def)) ? 0 : -1;
}

static int make_disks(struct domain *domain, struct error **err)
{
	libxl_domain_config *config = &domain->config;

	config->disks = calloc(domain->def->disk_count, sizeof(*config->disks));
	if (!config->disks)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < domain->def->disk_count; i++) {
		config->num_disks = (int)i + 1;
		if (make_disk(domain, i, &config->disks[i], err) < 0)
			return -1;
	}
	return 0;
}

/* The host's end is named as every hypervisor's tap, so that bridges and tunnels find it. */
static int make_nics(struct domain *domain, struct error **err)
{
	libxl_domain_config *config = &domain->config;
	char tap[DEVICE_NAME_SIZE];

	config->nics = calloc(domain->def->nic_count, sizeof(*config->nics));
	if (!config->nics)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < domain->def->nic_count; i++) {
		libxl_device_nic *nic = &config->nics[i];

		libxl_device_nic_init(nic);
		config->num_nics = (int)i + 1;
		nic->devid = (int)i;
		nic->nictype = LIBXL_NIC_TYPE_VIF;
		memcpy(nic->mac, domain->def->nics[i].mac, MAC_SIZE);
		nic->ifname = copy(vm_def_tap(domain->def, i, tap), err);
		nic->script = copy(NO_SCRIPT, err);
		if (!nic->ifname || !nic->script)
			return -1;
	}
	return 0;
}

int domain_make_config(struct domain *domain, struct error **err)
{
	domain_drop_config(domain);
	libxl_domain_config_init(&domain->config);
	domain->has_config = true;
	if (make_machine(domain, err) < 0 || make_disks(domain, err) < 0 ||
	    make_nics(domain, err) < 0) {
		domain_drop_config(domain);
		return -1;
	}
	return 0;
}

void domain_drop_config(struct domain *domain)
{
	if (domain->has_config)
		libxl_domain_config_dispose(&domain->config);
	domain->has_config = false;
}
