/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "migrate/config/vm_def.h"

static const char good[] =
	"name: web\n"
	"uuid: 5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e\n"
	"hypervisor: xen\n"
	"machine: pvh\n"
	"memory: 256M\n"
	"vcpus: 2\n"
	"boot: {kernel: vmlinuz, initrd: initrd.img, cmdline: \"root=/dev/xvda rw\"}\n"
	"disks:\n"
	"  - {name: disk0, device: web}\n"
	"  - {name: data, file: data.img, format: raw}\n"
	"nics:\n"
	"  - {name: nic0, mac: \"52:54:00:eb:00:01\"}\n"
	"sites:\n"
	"  east: {addresses: [{address: 10.80.1.10/24}]}\n";

static struct vm_def *parse(const char *text, struct error **err)
{
	return vm_def_parse("v", text, strlen(text), err);
}

static void test_good(void **unused)
{
	auto_vm_def def = parse(good, NULL);
	const char *boot[VM_BOOT_FILES];

	(void)unused;
	assert_non_null(def);
	assert_true(vm_def_is_xen(def));
	assert_string_equal(def->machine, "pvh");
	assert_string_equal(def->cpu, "host");
	assert_int_equal(vm_def_boot_files(def, boot), 2);
	assert_string_equal(boot[0], "vmlinuz");
	assert_string_equal(boot[1], "initrd.img");
	assert_string_equal(def->boot.cmdline, "root=/dev/xvda rw");
	assert_string_equal(def->disks[0].device, "web");
	assert_string_equal(def->disks[0].file, "");
	assert_string_equal(def->disks[1].file, "data.img");
	assert_false(vm_def_disks_shared(def));
}

static void test_least(void **unused)
{
	auto_free char *no_boot = with_change(
		good,
		"boot: {kernel: vmlinuz, initrd: initrd.img, cmdline: \"root=/dev/xvda rw\"}\n",
		"");
	auto_free char *text =
		with_change(no_boot, "  - {name: data, file: data.img, format: raw}\n", "");
	auto_vm_def def = parse(text, NULL);
	const char *boot[VM_BOOT_FILES];

	(void)unused;
	assert_non_null(def);
	assert_int_equal(vm_def_boot_files(def, boot), 0);
	assert_true(vm_def_disks_shared(def));
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

static void test_mistakes(void **unused)
{
	static const struct mistake mistakes[] = {
		{"machine: pvh", "machine: pv",
		 "v:4:10: machine: found \"pv\", expected pvh or hvm"},
		{"machine: pvh\n", "machine: pvh\naccel: kvm\n",
		 "v:5:1: accel: found an unknown key, expected one of name, uuid, hypervisor, "
		 "boot, machine, cpu, memory, hugepages, vcpus, autostart, agent, disks, nics, "
		 "sites"},
		{"machine: pvh\n", "machine: pvh\ncpu: qemu64\n",
		 "v:5:6: cpu: found \"qemu64\", expected host"},
		{"memory: 256M\n", "memory: 256M\nhugepages: 2M\n",
		 "v:6:1: hugepages: found this key, expected none: Xen chooses the size of pages"},
		{"kernel: vmlinuz", "kernel: ../vmlinuz",
		 "v:7:16: boot.kernel: found \"../vmlinuz\", expected a plain file name without "
		 "slash"},
		{"kernel: vmlinuz", "kernel: owner.json",
		 "v:7:16: boot.kernel: found \"owner.json\", expected a file that is nothing else "
		 "of the VM's"},
		{"kernel: vmlinuz", "kernel: data.img",
		 "v:7:16: boot.kernel: found \"data.img\", expected a file that is nothing else of "
		 "the VM's"},
		{"initrd: initrd.img", "initrd: vmlinuz",
		 "v:7:33: boot.initrd: found \"vmlinuz\", expected a file that is nothing else of "
		 "the VM's"},
		{"kernel: vmlinuz, ", "",
		 "v:7:7: boot.kernel: found nothing, expected a plain file name without slash"},
		{"xvda rw", "xvda\\nextra=1",
		 "v:7:55: boot.cmdline: found \"root=/dev/xvda?extra=1\", expected at most 1023 "
		 "printable ASCII characters without quotes and backslashes"},
		{"xvda rw", "xvda 'rw'",
		 "v:7:55: boot.cmdline: found \"root=/dev/xvda 'rw'\", expected at most 1023 "
		 "printable ASCII characters without quotes and backslashes"},
		{"device: web", "device: ../sda",
		 "v:9:27: disks[0].device: found \"../sda\", expected the plain name of a device "
		 "in /dev/edgehop"},
		{"file: data.img, format: raw", "device: web",
		 "v:10:26: disks[1].device: found \"web\", expected one that no other entry has"},
		{"device: web", "device: web, file: web.img",
		 "v:9:32: disks[0].file: found an unknown key, expected one of name, device, "
		 "format"},
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

/* What only Xen's definitions have is unknown to QEMU's. */
static void test_other_hypervisor(void **unused)
{
	static const struct mistake mistakes[] = {
		{"hypervisor: xen\nmachine: pvh\n",
		 "hypervisor: qemu\naccel: tcg\nmachine: q35\ncpu: qemu64\n",
		 "v:9:1: boot: found an unknown key, expected perhaps name"},
	};
	auto_free char *text = with_change(good, mistakes[0].from, mistakes[0].to);
	auto_free char *no_boot = NULL;
	auto_error err = NULL;
	auto_error more = NULL;

	(void)unused;
	assert_null(parse(text, &err));
	assert_non_null(strstr(error_text(err), "boot: found an unknown key"));
	no_boot = with_change(
		text,
		"boot: {kernel: vmlinuz, initrd: initrd.img, cmdline: \"root=/dev/xvda rw\"}\n",
		"");
	assert_null(parse(no_boot, &more));
	assert_non_null(strstr(error_text(more), "only Xen's VMs have devices"));
}

static void test_long_command_line(void **unused)
{
	char line[VM_CMDLINE_SIZE + 1], *text;

	(void)unused;
	for (size_t n = VM_CMDLINE_SIZE - 1; n <= VM_CMDLINE_SIZE; n++) {
		auto_vm_def def = NULL;

		memset(line, 'x', n);
		line[n] = '\0';
		text = with_change(good, "root=/dev/xvda rw", line);
		def = parse(text, NULL);
		assert_true((def != NULL) == (n < VM_CMDLINE_SIZE));
		free(text);
	}
}

static void test_damaged_text(void **unused)
{
	char text[sizeof(good)];

	(void)unused;
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
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_dump_reads_back),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_other_hypervisor),
		cmocka_unit_test(test_long_command_line),
		cmocka_unit_test(test_damaged_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
