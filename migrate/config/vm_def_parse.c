/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm.yaml into struct vm_def: what each key takes, and what must fit together. */
#include "migrate/config/vm_def.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/units.h"
#include "migrate/config/vm_def_xen.h"
#include "migrate/config/yaml.h"

#define MIB		   (1ULL << 20)
#define MEMORY_LEAST	   (16 * MIB)
#define MEMORY_MOST	   (16ULL << 40)
#define VCPUS_MOST	   512
#define SITES_MOST	   1024
#define DEFAULT_HV	   "qemu"
#define MEMORY_EXPECTED	   "whole MiB from 16M to 16T, such as 256M"
#define VCPUS_EXPECTED	   "a number from 1 to 512"
#define MAP_OF_SITES	   "a map from site to its addresses"
#define FORMAT_EXPECTED	   "raw"
#define DEVICE_EXPECTED	   "the plain name of a device in " VM_DEVICES
#define ACCEL_EXPECTED	   "kvm or tcg"
#define HUGEPAGES_EXPECTED "2M or 1G"
#define DHCP_EXPECTED	   "4"
#define ADDRESSES_EXPECTED "a list of addresses, or dhcp"

static bool value_accel(const char *text, void *into)
{
	bool kvm = strcmp(text, "kvm") == 0;

	if (!kvm && strcmp(text, "tcg") != 0)
		return false;
	*(enum vm_accel *)into = kvm ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	return true;
}

static bool value_memory(const char *text, void *into)
{
	uint64_t bytes;

	if (!units_parse_bytes(text, &bytes) || bytes < MEMORY_LEAST || bytes > MEMORY_MOST ||
	    bytes % MIB != 0)
		return false;
	*(uint64_t *)into = bytes;
	return true;
}

static bool value_vcpus(const char *text, void *into)
{
	uint64_t vcpus;

	if (!units_parse_number(text, 1, VCPUS_MOST, &vcpus))
		return false;
	*(unsigned *)into = (unsigned)vcpus;
	return true;
}

static bool value_hugepages(const char *text, void *into)
{
	bool large = strcmp(text, "1G") == 0;

	if (!large && strcmp(text, "2M") != 0)
		return false;
	*(uint64_t *)into = large ? 1ULL << 30 : 2ULL << 20;
	return true;
}

/* The families that DHCP is asked for: IPv4. */
static bool value_dhcp(const char *text, void *into)
{
	if (strcmp(text, "4") != 0)
		return false;
	*(bool *)into = true;
	return true;
}

/* Only checked: the one format there is needs no place in struct vm_disk. */
static bool value_format(const char *text, void *into)
{
	(void)into;
	return strcmp(text, "raw") == 0;
}

/* Exactly one of file and device; check_disks knows which hypervisor takes the latter. */
static int read_device(const struct yaml_node *node, struct vm_disk *disk, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_disk, name, "name", value_name, NAME_EXPECTED),
		YAML_VALUE(struct vm_disk, device, "device", value_file_name, DEVICE_EXPECTED),
		YAML_OPTIONAL(struct vm_disk, name, "format", value_format, FORMAT_EXPECTED),
	};

	return yaml_read_map(node, fields, ARRAY_SIZE(fields), disk, err);
}

static int read_disk(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_disk, name, "name", value_name, NAME_EXPECTED),
		YAML_VALUE(struct vm_disk, file, "file", value_file_name, FILE_NAME_EXPECTED),
		YAML_OPTIONAL(struct vm_disk, name, "format", value_format, FORMAT_EXPECTED),
	};

	if (yaml_kind(node) == YAML_MAP && yaml_get(node, "device"))
		return read_device(node, item, err);
	return yaml_read_map(node, fields, ARRAY_SIZE(fields), item, err);
}

static int read_nic(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_nic, name, "name", value_name, NAME_EXPECTED),
		YAML_VALUE(struct vm_nic, mac, "mac", value_mac, MAC_EXPECTED),
		YAML_OPTIONAL(struct vm_nic, network, "network", value_name, NAME_EXPECTED),
	};
	struct vm_nic *nic = item;

	strcpy(nic->network, DEFAULT_NETWORK);
	return yaml_read_map(node, fields, ARRAY_SIZE(fields), item, err);
}

static int read_fixed_address(const struct yaml_node *node, struct vm_address *address,
			      struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_address, ip.address, "address", value_address_prefix,
			   ADDRESS_PREFIX_EXPECTED),
		YAML_OPTIONAL(struct vm_address, ip.gateway, "gateway", value_address,
			      ADDRESS_EXPECTED),
		YAML_OPTIONAL(struct vm_address, network, "network", value_name, NAME_EXPECTED),
	};
	const struct ip_config *ip = &address->ip;

	if (yaml_read_map(node, fields, ARRAY_SIZE(fields), address, err) < 0)
		return -1;
	/* The kernel makes these by itself, and nobody beyond the link could use them. */
	if (ip_link_local(&ip->address))
		return yaml_unexpected(err, yaml_get(node, "address"),
				       "an address that is not link-local");
	if (ip->gateway.family && ip->gateway.family != ip->address.family)
		return yaml_unexpected(err, yaml_get(node, "gateway"),
				       "a gateway of the address's family");
	return 0;
}

static int read_address(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_address, dhcp, "dhcp", value_dhcp, DHCP_EXPECTED),
		YAML_OPTIONAL(struct vm_address, network, "network", value_name, NAME_EXPECTED),
	};
	struct vm_address *address = item;

	strcpy(address->network, DEFAULT_NETWORK);
	if (yaml_kind(node) == YAML_MAP && yaml_get(node, "dhcp"))
		return yaml_read_map(node, fields, ARRAY_SIZE(fields), address, err);
	return read_fixed_address(node, address, err);
}

/* `addresses: dhcp` */
static int read_only_dhcp(const struct yaml_node *node, void *into, struct error **err)
{
	struct vm_address *address;

	if (strcmp(yaml_text(node), "dhcp") != 0)
		return yaml_unexpected(err, node, ADDRESSES_EXPECTED);
	address = calloc(1, sizeof(*address));
	if (!address)
		return error_set(err, ENOMEM, "no memory for an address");
	address->dhcp = true;
	strcpy(address->network, DEFAULT_NETWORK);
	*(struct vm_address **)into = address;
	return 0;
}

static int read_site(const struct yaml_node *node, void *item, struct error **err)
{
	static const struct yaml_items addresses = {YAML_LIST, VM_ADDRESSES_MOST,
						    sizeof(struct vm_address), read_address};
	static const struct yaml_field fields[] = {
		YAML_ITEMS(struct vm_site, addresses, address_count, "addresses", addresses,
			   ADDRESSES_EXPECTED),
	};
	static const struct yaml_field only_dhcp[] = {
		{.key = "addresses",
		 .offset = offsetof(struct vm_site, addresses),
		 .map = read_only_dhcp},
	};
	const struct yaml_node *list = yaml_get(node, "addresses");
	struct vm_site *site = item;

	if (!value_name(yaml_key(node), site->name))
		return yaml_key_error(err, node, "found this key, expected " NAME_EXPECTED);
	if (!list || yaml_kind(list) != YAML_SCALAR)
		return yaml_read_map(node, fields, ARRAY_SIZE(fields), site, err);
	site->address_count = 1;
	if (yaml_read_map(node, only_dhcp, ARRAY_SIZE(only_dhcp), site, err) == 0)
		return 0;
	site->address_count = site->addresses ? 1 : 0;
	return -1;
}

static bool names_xen(const struct yaml_node *root)
{
	const struct yaml_node *node =
		yaml_kind(root) == YAML_MAP ? yaml_get(root, "hypervisor") : NULL;

	return node && yaml_kind(node) == YAML_SCALAR && strcmp(yaml_text(node), VM_XEN) == 0;
}

static int read_def(const struct yaml_node *root, struct vm_def *def, struct error **err)
{
	static const struct yaml_items disks = {YAML_LIST, VM_DISKS_MOST, sizeof(struct vm_disk),
						read_disk};
	static const struct yaml_items nics = {YAML_LIST, VM_NICS_MOST, sizeof(struct vm_nic),
					       read_nic};
	static const struct yaml_items sites = {YAML_MAP, SITES_MOST, sizeof(struct vm_site),
						read_site};
	static const struct yaml_field fields[] = {
		YAML_VALUE(struct vm_def, name, "name", value_name, NAME_EXPECTED),
		YAML_VALUE(struct vm_def, uuid, "uuid", value_uuid, UUID_EXPECTED),
		YAML_OPTIONAL(struct vm_def, hypervisor, "hypervisor", value_name, NAME_EXPECTED),
		YAML_VALUE(struct vm_def, accel, "accel", value_accel, ACCEL_EXPECTED),
		YAML_VALUE(struct vm_def, machine, "machine", value_word, WORD_EXPECTED),
		YAML_VALUE(struct vm_def, cpu, "cpu", value_word, WORD_EXPECTED),
		YAML_VALUE(struct vm_def, memory, "memory", value_memory, MEMORY_EXPECTED),
		YAML_OPTIONAL(struct vm_def, hugepages, "hugepages", value_hugepages,
			      HUGEPAGES_EXPECTED),
		YAML_VALUE(struct vm_def, vcpus, "vcpus", value_vcpus, VCPUS_EXPECTED),
		YAML_OPTIONAL(struct vm_def, autostart, "autostart", value_bool, BOOL_EXPECTED),
		YAML_OPTIONAL(struct vm_def, agent, "agent", value_bool, BOOL_EXPECTED),
		YAML_ITEMS(struct vm_def, disks, disk_count, "disks", disks, "a list of disks"),
		YAML_ITEMS(struct vm_def, nics, nic_count, "nics", nics, "a list of vNICs"),
		YAML_ITEMS(struct vm_def, sites, site_count, "sites", sites, MAP_OF_SITES),
	};

	struct yaml_field chosen[ARRAY_SIZE(fields)];

	strcpy(def->hypervisor, DEFAULT_HV);
	def->agent = true;
	memcpy(chosen, fields, sizeof(fields));
	if (names_xen(root)) {
		vm_def_xen_fields(chosen, ARRAY_SIZE(chosen));
		strcpy(def->cpu, VM_XEN_CPU);
	}
	return yaml_read_map(root, chosen, ARRAY_SIZE(chosen), def, err);
}

/* A value that stands in two entries of a list; `entry` is the second of them. */
static int twice(const struct yaml_node *entry, const char *key, struct error **err)
{
	return yaml_unexpected(err, yaml_get(entry, key), "one that no other entry has");
}

/* Beside the disks lie the definition and the ownership. */
static bool is_taken(const char *file)
{
	return strcmp(file, "vm.yaml") == 0 || strcmp(file, "owner.json") == 0;
}

static bool same(const char *a, const char *b)
{
	return *a && strcmp(a, b) == 0;
}

static int check_disks(const struct yaml_node *list, const struct vm_def *def, struct error **err)
{
	const struct yaml_node *entry = yaml_first(list);

	for (size_t i = 0; i < def->disk_count; i++, entry = yaml_next(entry)) {
		const struct vm_disk *disk = &def->disks[i];

		if (*disk->device && !vm_def_is_xen(def))
			return yaml_key_error(err, yaml_get(entry, "device"),
					      "found a device, expected a file: only Xen's VMs "
					      "have devices");
		if (is_taken(disk->file))
			return yaml_unexpected(err, yaml_get(entry, "file"),
					       "a name other than vm.yaml and owner.json");
		for (size_t j = 0; j < i; j++) {
			if (strcmp(disk->name, def->disks[j].name) == 0)
				return twice(entry, "name", err);
			if (same(disk->file, def->disks[j].file))
				return twice(entry, "file", err);
			if (same(disk->device, def->disks[j].device))
				return twice(entry, "device", err);
		}
	}
	return 0;
}

static int check_nics(const struct yaml_node *list, const struct vm_def *def, struct error **err)
{
	const struct yaml_node *entry = yaml_first(list);

	for (size_t i = 0; i < def->nic_count; i++, entry = yaml_next(entry))
		for (size_t j = 0; j < i; j++) {
			if (strcmp(def->nics[i].name, def->nics[j].name) == 0)
				return twice(entry, "name", err);
			if (memcmp(def->nics[i].mac, def->nics[j].mac, MAC_SIZE) == 0)
				return twice(entry, "mac", err);
		}
	return 0;
}

static bool has_network(const struct vm_def *def, const char *network)
{
	for (size_t i = 0; i < def->nic_count; i++)
		if (strcmp(def->nics[i].network, network) == 0)
			return true;
	return false;
}

/* An address is on a network that the VM has a vNIC on. */
static int check_sites(const struct yaml_node *map, const struct vm_def *def, struct error **err)
{
	for (size_t i = 0; i < def->site_count; i++) {
		const struct vm_site *site = &def->sites[i];
		const struct yaml_node *list = yaml_get(yaml_get(map, site->name), "addresses");
		const struct yaml_node *entry = yaml_first(list);

		for (size_t j = 0; j < site->address_count; j++) {
			const char *network = site->addresses[j].network;

			if (!has_network(def, network))
				return yaml_error(err, entry ? entry : list,
						  "found network \"%s\", expected one that a vNIC "
						  "is on",
						  network);
			entry = entry ? yaml_next(entry) : NULL;
		}
	}
	return 0;
}

static int check_memory(const struct yaml_node *root, const struct vm_def *def, struct error **err)
{
	if (def->hugepages && def->memory % def->hugepages != 0)
		return yaml_unexpected(err, yaml_get(root, "memory"),
				       "a multiple of the size of a page, which hugepages says");
	return 0;
}

/* Kernel, initrd and disks are files of their own. */
static int check_boot(const struct yaml_node *map, const struct vm_def *def, struct error **err)
{
	static const char *const keys[] = {"kernel", "initrd"};
	const char *files[] = {def->boot.kernel, def->boot.initrd};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		bool taken = is_taken(files[i]);

		for (size_t j = 0; j < def->disk_count; j++)
			taken = taken || same(files[i], def->disks[j].file);
		if (taken || (i > 0 && same(files[i], files[0])))
			return yaml_unexpected(err, yaml_get(map, keys[i]),
					       "a file that is nothing else of the VM's");
	}
	return 0;
}

static int check_xen(const struct yaml_node *root, const struct vm_def *def, struct error **err)
{
	if (vm_def_is_xen(def) && def->hugepages)
		return yaml_key_error(
			err, yaml_get(root, "hugepages"),
			"found this key, expected none: Xen chooses the size of pages");
	return check_boot(yaml_get(root, "boot"), def, err);
}

static int check_def(const struct yaml_node *root, const struct vm_def *def, struct error **err)
{
	if (check_memory(root, def, err) < 0 || check_xen(root, def, err) < 0 ||
	    check_disks(yaml_get(root, "disks"), def, err) < 0 ||
	    check_nics(yaml_get(root, "nics"), def, err) < 0)
		return -1;
	return check_sites(yaml_get(root, "sites"), def, err);
}

struct vm_def *vm_def_parse(const char *name, const char *text, size_t size, struct error **err)
{
	struct vm_def *def = NULL;
	struct yaml *doc;
	int status = -1;

	if (size > VM_TEXT_MOST) {
		error_set(err, EFBIG, "%s: %zu bytes, expected at most %d", name, size,
			  VM_TEXT_MOST);
		return NULL;
	}
	doc = yaml_parse(name, text, size, err);
	if (!doc)
		return NULL;
	def = calloc(1, sizeof(*def));
	if (def) {
		def->text = strndup(text, size);
		def->text_size = size;
	}
	if (!def || !def->text)
		error_set(err, ENOMEM, "%s: out of memory", name);
	else if (read_def(yaml_root(doc), def, err) == 0)
		status = check_def(yaml_root(doc), def, err);
	yaml_destroy(doc);
	if (status == 0)
		return def;
	vm_def_free(def);
	return NULL;
}

struct vm_def *vm_def_load(const char *path, struct error **err)
{
	size_t size;
	auto_free char *text = read_file(path, VM_TEXT_MOST, &size, err);

	return text ? vm_def_parse(path, text, size, err) : NULL;
}
