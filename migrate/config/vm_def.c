/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/config/vm_def.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

void vm_def_free(struct vm_def *def)
{
	if (!def)
		return;
	for (size_t i = 0; i < def->site_count; i++)
		free(def->sites[i].addresses);
	free(def->sites);
	free(def->nics);
	free(def->disks);
	free(def->text);
	free(def);
}

bool vm_def_is_xen(const struct vm_def *def)
{
	return strcmp(def->hypervisor, VM_XEN) == 0;
}

size_t vm_def_boot_files(const struct vm_def *def, const char *names[VM_BOOT_FILES])
{
	size_t n = 0;

	if (*def->boot.kernel)
		names[n++] = def->boot.kernel;
	if (*def->boot.initrd)
		names[n++] = def->boot.initrd;
	return n;
}

bool vm_def_disks_shared(const struct vm_def *def)
{
	for (size_t i = 0; i < def->disk_count; i++)
		if (!*def->disks[i].device)
			return false;
	return true;
}

const struct vm_site *vm_def_site(const struct vm_def *def, const char *site, struct error **err)
{
	char names[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < def->site_count; i++) {
		if (strcmp(def->sites[i].name, site) == 0)
			return &def->sites[i];
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 i ? ", " : "", def->sites[i].name);
	}
	error_set(err, ENOENT,
		  "VM %s has no addresses for site \"%s\", its definition has them for %s",
		  def->name, site, names);
	return NULL;
}

const struct vm_disk *vm_def_disk(const struct vm_def *def, const char *disk, struct error **err)
{
	for (size_t i = 0; i < def->disk_count; i++)
		if (strcmp(def->disks[i].name, disk) == 0)
			return &def->disks[i];
	error_set(err, ENOENT, "VM %s has no disk \"%s\", its first of %zu is %s", def->name, disk,
		  def->disk_count, def->disks[0].name);
	return NULL;
}

int vm_def_nic(const struct vm_def *def, const char *nic, struct error **err)
{
	for (size_t i = 0; i < def->nic_count; i++)
		if (strcmp(def->nics[i].name, nic) == 0)
			return (int)i;
	return error_set(err, ENOENT, "VM %s has no vNIC \"%s\", its first of %zu is %s", def->name,
			 nic, def->nic_count, def->nics[0].name);
}

size_t vm_def_networks(const struct vm_def *def, char names[VM_NICS_MOST][NAME_SIZE])
{
	size_t count = 0;

	for (size_t i = 0; i < def->nic_count; i++) {
		size_t j = 0;

		while (j < count && strcmp(names[j], def->nics[i].network) != 0)
			j++;
		if (j == count)
			memcpy(names[count++], def->nics[i].network, NAME_SIZE);
	}
	return count;
}

size_t vm_site_addresses(const struct vm_site *site, const char *network,
			 struct ip_config list[VM_ADDRESSES_MOST])
{
	size_t count = 0;

	for (size_t i = 0; i < site->address_count; i++)
		if (!site->addresses[i].dhcp && strcmp(site->addresses[i].network, network) == 0)
			list[count++] = site->addresses[i].ip;
	return count;
}

bool vm_site_dhcp(const struct vm_site *site, const char *network)
{
	for (size_t i = 0; i < site->address_count; i++)
		if (site->addresses[i].dhcp && strcmp(site->addresses[i].network, network) == 0)
			return true;
	return false;
}

char *vm_def_tap(const struct vm_def *def, size_t nic, char buf[DEVICE_NAME_SIZE])
{
	snprintf(buf, DEVICE_NAME_SIZE, "eh%.8s-%u", def->uuid, (unsigned)nic % VM_NICS_MOST);
	return buf;
}

static void dump_site(const struct vm_site *site, FILE *out)
{
	char text[IP_TEXT];

	fprintf(out, "  %s:\n    addresses:\n", site->name);
	for (size_t i = 0; i < site->address_count; i++) {
		const struct vm_address *address = &site->addresses[i];
		const struct ip_config *config = &address->ip;

		fprintf(out, "      - network: %s\n", address->network);
		if (address->dhcp)
			fprintf(out, "        dhcp: 4\n");
		else
			fprintf(out, "        address: \"%s\"\n",
				ip_format(&config->address, text));
		if (config->gateway.family)
			fprintf(out, "        gateway: \"%s\"\n",
				ip_format_host(&config->gateway, text));
	}
}

static void dump_boot(const struct vm_boot *boot, FILE *out)
{
	if (!*boot->kernel)
		return;
	fprintf(out, "boot:\n  kernel: %s\n", boot->kernel);
	if (*boot->initrd)
		fprintf(out, "  initrd: %s\n", boot->initrd);
	if (*boot->cmdline)
		fprintf(out, "  cmdline: \"%s\"\n", boot->cmdline);
}

static void dump_disk(const struct vm_disk *disk, FILE *out)
{
	if (*disk->device)
		fprintf(out, "  - name: %s\n    device: %s\n", disk->name, disk->device);
	else
		fprintf(out, "  - name: %s\n    file: %s\n", disk->name, disk->file);
	fprintf(out, "    format: raw\n");
}

void vm_def_dump(const struct vm_def *def, FILE *out)
{
	char buf[UNITS_TEXT], mac[MAC_TEXT];

	fprintf(out, "name: %s\nuuid: %s\nhypervisor: %s\n", def->name, def->uuid, def->hypervisor);
	if (!vm_def_is_xen(def))
		fprintf(out, "accel: %s\n", def->accel == VM_ACCEL_KVM ? "kvm" : "tcg");
	fprintf(out, "machine: %s\ncpu: %s\n", def->machine, def->cpu);
	fprintf(out, "memory: %s\n", units_bytes_exact(def->memory, buf));
	if (def->hugepages)
		fprintf(out, "hugepages: %s\n", units_bytes_exact(def->hugepages, buf));
	fprintf(out, "vcpus: %u\n", def->vcpus);
	fprintf(out, "autostart: %s\n", def->autostart ? "true" : "false");
	fprintf(out, "agent: %s\n", def->agent ? "true" : "false");
	dump_boot(&def->boot, out);
	fprintf(out, "disks:\n");
	for (size_t i = 0; i < def->disk_count; i++)
		dump_disk(&def->disks[i], out);
	fprintf(out, "nics:\n");
	for (size_t i = 0; i < def->nic_count; i++)
		fprintf(out, "  - name: %s\n    mac: \"%s\"\n    network: %s\n", def->nics[i].name,
			mac_format(def->nics[i].mac, mac), def->nics[i].network);
	fprintf(out, "sites:\n");
	for (size_t i = 0; i < def->site_count; i++)
		dump_site(&def->sites[i], out);
}
