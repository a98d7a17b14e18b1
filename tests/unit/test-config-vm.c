/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "migrate/config/vm_def.h"

static const char good[] = "name: web\n"
			   "uuid: 5D0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\n"
			   "hypervisor: qemu\n"
			   "accel: tcg   # kvm | tcg\n"
			   "machine: pc-q35-7.2\n"
			   "cpu: qemu64\n"
			   "memory: 256M\n"
			   "vcpus: 2\n"
			   "autostart: true\n"
			   "disks:\n"
			   "  - {name: disk0, file: disk0.img, format: raw}\n"
			   "  - {name: data, file: data.img}\n"
			   "nics:\n"
			   "  - {name: nic0, mac: \"52:54:00:EB:00:01\"}\n"
			   "  - {name: nic1, mac: \"52:54:00:eb:00:02\"}\n"
			   "sites:\n"
			   "  east: {addresses: [{address: 10.80.1.10/24, gateway: 10.80.1.1}]}\n"
			   "  west: {addresses: [{address: 10.80.2.10/24, gateway: 10.80.2.1}, "
			   "{address: fd00::1/64}]}\n";

static struct vm_def *parse(const char *text, struct error **err)
{
	return vm_def_parse("v", text, strlen(text), err);
}

static void test_good(void **unused)
{
	auto_vm_def def = parse(good, NULL);
	const struct vm_site *west;
	char text[IP_TEXT], tap[DEVICE_NAME_SIZE];

	(void)unused;
	assert_non_null(def);
	assert_string_equal(def->name, "web");
	assert_string_equal(def->uuid, "5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e");
	assert_int_equal(def->accel, VM_ACCEL_TCG);
	assert_int_equal(def->memory, 256 << 20);
	assert_int_equal(def->vcpus, 2);
	assert_true(def->autostart);
	assert_int_equal(def->disk_count, 2);
	assert_string_equal(def->disks[1].file, "data.img");
	assert_int_equal(def->nics[0].mac[3], 0xeb);
	assert_int_equal(vm_def_nic(def, "nic1", NULL), 1);
	assert_int_equal(vm_def_nic(def, "nic2", NULL), -1);
	west = vm_def_site(def, "west", NULL);
	assert_int_equal(west->address_count, 2);
	assert_string_equal(ip_format(&west->addresses[0].ip.address, text), "10.80.2.10/24");
	assert_string_equal(ip_format_host(&west->addresses[0].ip.gateway, text), "10.80.2.1");
	assert_int_equal(west->addresses[1].ip.gateway.family, 0);
	assert_string_equal(def->text, good);
	assert_int_equal(def->text_size, strlen(good));
	assert_string_equal(vm_def_tap(def, 1, tap), "eh5d0f6c3e-1");
}

static char *dump(const struct vm_def *def)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	vm_def_dump(def, out);
	fclose(out);
	return text;
}

static void test_dump_reads_back(void **unused)
{
	auto_vm_def def = parse(good, NULL);
	auto_free char *once = dump(def);
	auto_vm_def again = parse(once, NULL);
	auto_free char *twice = NULL;

	(void)unused;
	assert_non_null(again);
	twice = dump(again);
	assert_string_equal(once, twice);
}

#define WORDS "1 to 64 characters of A-Z, a-z, 0-9, '.', '_', '+' and '-'"

static void test_mistakes(void **unused)
{
	static const struct mistake mistakes[] = {
		{"name: web", "name: Web",
		 "v:1:7: name: found \"Web\", expected 1 to 32 characters of a-z, 0-9 and -"},
		{"name: web", "name: -web",
		 "v:1:7: name: found \"-web\", expected 1 to 32 characters of a-z, 0-9 and -"},
		{"name: web", "name: ../web",
		 "v:1:7: name: found \"../web\", expected 1 to 32 characters of a-z, 0-9 and -"},
		{"uuid: 5D", "uuid: 5G",
		 "v:2:7: uuid: found \"5G0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\", expected a UUID "
		 "such "
		 "as 5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"},
		{"accel: tcg", "accel: hvf", "v:4:8: accel: found \"hvf\", expected kvm or tcg"},
		{"pc-q35-7.2", "\"pc,dumpdtb=x\"",
		 "v:5:11: machine: found \"pc,dumpdtb=x\", expected " WORDS},
		{"qemu64", "qemu64,+x", "v:6:6: cpu: found \"qemu64,+x\", expected " WORDS},
		{"cpu: qemu64", "cpu:", "v:6:1: cpu: found nothing, expected " WORDS},
		{"256M", "8M",
		 "v:7:9: memory: found \"8M\", expected whole MiB from 16M to 16T, such as 256M"},
		{"256M", "16777217",
		 "v:7:9: memory: found \"16777217\", expected whole MiB from 16M to 16T, such as "
		 "256M"},
		{"vcpus: 2", "vcpus: 513",
		 "v:8:8: vcpus: found \"513\", expected a number from 1 to 512"},
		{"vcpus: 2", "vcpus: -1",
		 "v:8:8: vcpus: found \"-1\", expected a number from 1 to 512"},
		{"vcpus: 2", "vcpu: 2",
		 "v:8:1: vcpu: found an unknown key, expected perhaps vcpus"},
		{"autostart: true", "autostart: yes",
		 "v:9:12: autostart: found \"yes\", expected true or false"},
		{"autostart: true", "zzzzzzzzz: true",
		 "v:9:1: zzzzzzzzz: found an unknown key, expected one of name, uuid, hypervisor, "
		 "accel, machine, cpu, memory, hugepages, vcpus, autostart, agent, disks, nics, "
		 "sites"},
		{"disk0.img", "a/disk0.img",
		 "v:11:25: disks[0].file: found \"a/disk0.img\", expected a plain file name "
		 "without "
		 "slash"},
		{"disk0.img", "..",
		 "v:11:25: disks[0].file: found \"..\", expected a plain file name without slash"},
		{"disk0.img", "owner.json",
		 "v:11:25: disks[0].file: found \"owner.json\", expected a name other than vm.yaml "
		 "and owner.json"},
		{"data.img", "disk0.img",
		 "v:12:24: disks[1].file: found \"disk0.img\", expected one that no other entry "
		 "has"},
		{"format: raw", "format: qcow2",
		 "v:11:44: disks[0].format: found \"qcow2\", expected raw"},
		{"EB:00:01", "eb:00:02",
		 "v:15:24: nics[1].mac: found \"52:54:00:eb:00:02\", expected one that no other "
		 "entry has"},
		{"52:54:00:EB", "53:54:00:EB",
		 "v:14:24: nics[0].mac: found \"53:54:00:EB:00:01\", expected a unicast MAC "
		 "address "
		 "such as \"52:54:00:eb:00:01\" (in quotes)"},
		{"10.80.1.10/24", "10.80.1.10",
		 "v:17:32: sites.east.addresses[0].address: found \"10.80.1.10\", expected an "
		 "address with its prefix, such as 10.80.1.10/24"},
		{"gateway: 10.80.1.1", "gateway: fd00::1",
		 "v:17:56: sites.east.addresses[0].gateway: found \"fd00::1\", expected a gateway "
		 "of "
		 "the address's family"},
		{"memory: 256M\n", "",
		 "v:1:1: memory: found nothing, expected whole MiB from 16M to 16T, such as 256M"},
		{"name: web\n", "name: web\nname: web\n", "v:2:1: name: this key is there twice"},
		{"name: web\n", "name: \"w\\0b\"\n", "v:1:8: a NUL character"},
		{"name: web\n", "--- x\n--- {}\n", "v:2:1: a second document, expected one"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		auto_free char *text = with_change(good, mistakes[i].from, mistakes[i].to);
		auto_vm_def def = NULL;
		auto_error err = NULL;

		def = parse(text, &err);
		assert_null(def);
		assert_string_equal(error_text(err), mistakes[i].message);
	}
}

static void assert_refused(const char *text, size_t size, const char *message)
{
	auto_error err = NULL;

	assert_null(vm_def_parse("v", text, size, &err));
	assert_string_equal(error_text(err), message);
}

static const char networks[] = "name: web\n"
			       "uuid: 5D0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\n"
			       "accel: kvm\nmachine: q35\ncpu: host\nvcpus: 2\n"
			       "memory: 4G\n"
			       "hugepages: 1G\n"
			       "agent: false\n"
			       "disks: [{name: disk0, file: disk0.img}]\n"
			       "nics:\n"
			       "  - {name: nic0, mac: \"52:54:00:eb:00:01\"}\n"
			       "  - {name: nic1, mac: \"52:54:00:eb:00:02\", network: mgmt}\n"
			       "  - {name: nic2, mac: \"52:54:00:eb:00:03\"}\n"
			       "sites:\n"
			       "  east: {addresses: dhcp}\n"
			       "  west: {addresses: [{dhcp: 4, network: mgmt}, "
			       "{address: 10.80.2.10/24}]}\n";

static void test_networks(void **unused)
{
	auto_vm_def def = parse(networks, NULL);
	auto_vm_def plain = parse(good, NULL);
	auto_free char *once = dump(def);
	auto_vm_def again = parse(once, NULL);
	auto_free char *twice = dump(again);
	struct ip_config list[VM_ADDRESSES_MOST];
	char names[VM_NICS_MOST][NAME_SIZE];
	const struct vm_site *east, *west;

	(void)unused;
	assert_int_equal(def->hugepages, 1 << 30);
	assert_false(def->agent);
	assert_int_equal(vm_def_networks(def, names), 2);
	assert_string_equal(names[0], "site");
	assert_string_equal(names[1], "mgmt");
	east = vm_def_site(def, "east", NULL);
	west = vm_def_site(def, "west", NULL);
	assert_true(vm_site_dhcp(east, "site") && !vm_site_dhcp(east, "mgmt"));
	assert_true(vm_site_dhcp(west, "mgmt") && !vm_site_dhcp(west, "site"));
	assert_int_equal(vm_site_addresses(east, "site", list), 0);
	assert_int_equal(vm_site_addresses(west, "site", list), 1);
	assert_int_equal(vm_site_addresses(west, "mgmt", list), 0);
	assert_string_equal(once, twice);
	/* Without the keys: an agent, usual pages, one network. */
	assert_true(plain->agent && plain->hugepages == 0);
	assert_string_equal(plain->nics[1].network, "site");
}

static void test_mistakes_of_networks(void **unused)
{
	static const struct mistake mistakes[] = {
		{"network: mgmt}\n", "network: x}\n",
		 "v:17:22: sites.west.addresses[0]: found network \"mgmt\", expected one that a "
		 "vNIC "
		 "is on"},
		{"addresses: dhcp", "addresses: dhcpd",
		 "v:16:21: sites.east.addresses: found \"dhcpd\", expected a list of addresses, or "
		 "dhcp"},
		{"dhcp: 4", "dhcp: 6",
		 "v:17:29: sites.west.addresses[0].dhcp: found \"6\", expected 4"},
		{"10.80.2.10/24", "\"fe80::1/64\"",
		 "v:17:59: sites.west.addresses[1].address: found \"fe80::1/64\", expected an "
		 "address "
		 "that is not link-local"},
		{"hugepages: 1G", "hugepages: 4M",
		 "v:8:12: hugepages: found \"4M\", expected 2M or 1G"},
		{"memory: 4G", "memory: 1536M",
		 "v:7:9: memory: found \"1536M\", expected a multiple of the size of a page, which "
		 "hugepages says"},
		{"agent: false", "agent: no", "v:9:8: agent: found \"no\", expected true or false"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		auto_free char *text = with_change(networks, mistakes[i].from, mistakes[i].to);
		auto_vm_def def = NULL;
		auto_error err = NULL;

		def = parse(text, &err);
		assert_null(def);
		assert_string_equal(error_text(err), mistakes[i].message);
	}
}

static void test_bounds(void **unused)
{
	auto_free char *large = calloc(1, VM_TEXT_MOST + 1);

	(void)unused;
	memset(large, '\n', VM_TEXT_MOST + 1);
	assert_refused(large, VM_TEXT_MOST + 1, "v: 65537 bytes, expected at most 65536");
	assert_refused(large, VM_TEXT_MOST, "v:1:1: found nothing, expected a map");
	assert_refused("", 0, "v:1:1: found nothing, expected a map");
	memset(large, '[', VM_TEXT_MOST);
	assert_refused(large, VM_TEXT_MOST,
		       "v:1:17: lists and maps in one another more than 16 deep");
	memset(large, ',', VM_TEXT_MOST);
	for (size_t i = 1; i + 1 < VM_TEXT_MOST; i += 2)
		large[i] = 'a';
	large[0] = '[';
	assert_refused(large, VM_TEXT_MOST, "v:1:20000: too many values");
}

static void test_damaged_text(void **unused)
{
	char text[sizeof(good)];

	(void)unused;
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		auto_error err = NULL;

		vm_def_free(vm_def_parse("v", good, i, &err));
	}
	for (size_t i = 0; i < 4 * (sizeof(good) - 1); i++) {
		auto_error err = NULL;

		memcpy(text, good, sizeof(good));
		text[i / 4] = "{\n*\xff"[i % 4];
		vm_def_free(vm_def_parse("v", text, sizeof(good) - 1, &err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	     cmocka_unit_test(test_dump_reads_back),
		cmocka_unit_test(test_networks),     cmocka_unit_test(test_mistakes_of_networks),
		cmocka_unit_test(test_mistakes),     cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_damaged_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
