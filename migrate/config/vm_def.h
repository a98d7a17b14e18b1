/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CONFIG_VM_DEF_H
#define MIGRATE_CONFIG_VM_DEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/uuid.h"
#include "migrate/config/values.h"
#include "netswitch/ip.h"

/*
 * What a VM is (vm.yaml). The text travels with the VM, so it is read as something hostile:
 * everything is bounded, and no value can bring options of its own to a hypervisor. Plain data
 * that nobody changes after vm_def_load.
 */
#define VM_TEXT_MOST	  65536
#define VM_DISKS_MOST	  8
#define VM_NICS_MOST	  8
#define VM_ADDRESSES_MOST 8 /* of a site, over all its networks */

enum vm_accel {
	VM_ACCEL_KVM,
	VM_ACCEL_TCG
};

/*
 * A file in the VM's folder, which travels with the VM; or (Xen) a block device that the operator
 * of each host has put into VM_DEVICES by that name: shared storage, or replicated. So a definition
 * reaches no device that the host's operator has not given to VMs.
 */
#define VM_DEVICES "/dev/edgehop"

struct vm_disk {
	char name[NAME_SIZE];
	char file[FILE_NAME_SIZE];   /* "": it is a device */
	char device[FILE_NAME_SIZE]; /* "": it is a file */
};

/* `boot`, of Xen only: files in the VM's folder. Without a kernel the VM boots from its disk. */
#define VM_CMDLINE_SIZE	  1024
#define VM_BOOT_FILES	  2
#define VM_BOOT_FILE_MOST (256ULL << 20) /* bytes */

struct vm_boot {
	char kernel[FILE_NAME_SIZE];
	char initrd[FILE_NAME_SIZE];
	char cmdline[VM_CMDLINE_SIZE]; /* printable ASCII without quotes and backslashes */
};

/*
 * Of a network with two vNICs one is active, and the other takes over at the next hop. A network
 * with a single vNIC keeps it, with the same addresses at every site (or none).
 */
struct vm_nic {
	char name[NAME_SIZE];
	uint8_t mac[MAC_SIZE];
	char network[NAME_SIZE]; /* key `network`, default DEFAULT_NETWORK */
};

/*
 * An entry of a site's `addresses`: {address: A/N, gateway: G} or {dhcp: 4}, either with an
 * optional `network`. `addresses: dhcp` is short for [{dhcp: 4}].
 */
struct vm_address {
	struct ip_config ip; /* address.family 0: DHCP gives it */
	bool dhcp;	     /* the guest asks the network's DHCP server (IPv4) */
	char network[NAME_SIZE];
};

struct vm_site {
	char name[NAME_SIZE];
	struct vm_address *addresses;
	size_t address_count;
};

struct vm_def {
	char name[NAME_SIZE];
	char uuid[UUID_SIZE];
	char hypervisor[NAME_SIZE]; /* which of hypervisor.h's; known to exist only when opened */
	enum vm_accel accel;
	char machine[WORD_SIZE];
	char cpu[WORD_SIZE];
	uint64_t memory;    /* bytes, a multiple of 1 MiB */
	uint64_t hugepages; /* bytes of a page, 2 MiB or 1 GiB (`hugepages: 2M`); 0: usual pages */
	unsigned vcpus;
	struct vm_boot boot;
	bool autostart;
	bool agent; /* default true; false: nobody in the VM takes orders, hops are tunnel only */
	struct vm_disk *disks;
	size_t disk_count;
	struct vm_nic *nics;
	size_t nic_count;
	struct vm_site *sites;
	size_t site_count;
	char *text; /* what was read, to be sent on or copied; NUL-terminated */
	size_t text_size;
};

/* The caller frees it with vm_def_free. name: what errors call the text. */
struct vm_def *vm_def_load(const char *path, struct error **err);
struct vm_def *vm_def_parse(const char *name, const char *text, size_t size, struct error **err);
void vm_def_free(struct vm_def *def); /* takes NULL */

/* Xen takes other keys than QEMU: `boot`, disks' `device`; no `accel`, and `cpu` at will. */
#define VM_XEN "xen"
bool vm_def_is_xen(const struct vm_def *def);

/* The files that `boot` names: how many, of VM_BOOT_FILES; names are borrowed. */
size_t vm_def_boot_files(const struct vm_def *def, const char *names[VM_BOOT_FILES]);

/* Whether every disk is a device that other hosts have, too: then a hop copies none. */
bool vm_def_disks_shared(const struct vm_def *def);

/* By name; borrowed. site, disk: the error says what there is. nic: index, or -1 with *err. */
const struct vm_site *vm_def_site(const struct vm_def *def, const char *site, struct error **err);
const struct vm_disk *vm_def_disk(const struct vm_def *def, const char *disk, struct error **err);
int vm_def_nic(const struct vm_def *def, const char *nic, struct error **err);

/* The networks that the VM has vNICs on, in the order of the vNICs. Returns how many. */
size_t vm_def_networks(const struct vm_def *def, char names[VM_NICS_MOST][NAME_SIZE]);

/* A site's addresses on one network that are known; how many. */
size_t vm_site_addresses(const struct vm_site *site, const char *network,
			 struct ip_config list[VM_ADDRESSES_MOST]);

/* Whether there DHCP gives (further) addresses on that network. */
bool vm_site_dhcp(const struct vm_site *site, const char *network);

/* The name of a vNIC's tap on whatever host the VM runs: "eh", 8 digits of the UUID, "-", index. */
char *vm_def_tap(const struct vm_def *def, size_t nic, char buf[DEVICE_NAME_SIZE]);

/* What is in force, defaults included, as YAML that vm_def_parse reads back. */
void vm_def_dump(const struct vm_def *def, FILE *out);

static inline void vm_def_cleanup(struct vm_def **def)
{
	vm_def_free(*def);
}
#define auto_vm_def __attribute__((cleanup(vm_def_cleanup))) struct vm_def *

#endif
