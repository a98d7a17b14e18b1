/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "migrate/hop/preflight.h"

#define MIB ((uint64_t)1 << 20)

static struct vm_def vm;
static struct vm_disk disks[2];
static struct host_survey here, there;
static struct preflight preflight;

static char *machines[] = {"pc-q35-7.2", "q35", NULL};
static char *cpus[] = {"qemu64", "host", NULL};

/* All is well; each test spoils something. */
static int set_up(void **unused)
{
	(void)unused;
	memset(disks, 0, sizeof(disks));
	vm = (struct vm_def){.name = "web",
			     .disks = disks,
			     .uuid = "6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801",
			     .hypervisor = "qemu",
			     .accel = VM_ACCEL_KVM,
			     .machine = "pc-q35-7.2",
			     .cpu = "qemu64",
			     .memory = 256 * MIB};
	here = (struct host_survey){
		.host = "east", .version = "0.1", .wire = 1, .mptcp = true, .hypervisor = "7.2.22"};
	there = (struct host_survey){.host = "west",
				     .version = "0.1",
				     .wire = 1,
				     .mptcp = true,
				     .memory_available = 4096 * MIB,
				     .disk_available = 4096 * MIB,
				     .bridge = true,
				     .hypervisor = "7.2.22",
				     .machines = machines,
				     .cpus = cpus};
	preflight = (struct preflight){.vm = &vm,
				       .epoch = 3,
				       .disk_size = 400 * MIB,
				       .disk_allocated = 100 * MIB,
				       .here = &here,
				       .there = &there};
	return 0;
}

/* The judgement as a whole is `level`, and `what` is why; nothing else is that bad. */
static void judged(enum finding_level level, const char *what)
{
	struct findings findings = {0};
	auto_error why = NULL;
	size_t blamed = 0;

	preflight_judge(&preflight, &findings);
	assert_int_equal(findings_worst(&findings), level);
	for (size_t i = 0; level != FINDING_OK && i < findings.count; i++)
		if (findings.list[i].level == level) {
			assert_string_equal(findings.list[i].what, what);
			blamed++;
		}
	assert_int_equal(blamed, level == FINDING_OK ? 0 : 1);
	assert_int_equal(findings_check(&findings, &why), level == FINDING_REFUSE ? -1 : 0);
	if (level == FINDING_REFUSE) {
		assert_non_null(strstr(why->message, what));
		assert_null(strchr(why->message, '\n'));
	}
}

static void test_all_well(void **unused)
{
	(void)unused;
	judged(FINDING_OK, NULL);
	preflight.here = NULL; /* as `migrate` asks */
	judged(FINDING_OK, NULL);
}

static void test_memory(void **unused)
{
	(void)unused;
	there.memory_available = 255 * MIB;
	judged(FINDING_REFUSE, "memory");
	there.memory_available = 300 * MIB;
	judged(FINDING_WARN, "memory");
}

static void test_disk(void **unused)
{
	(void)unused;
	there.disk_available = 99 * MIB;
	judged(FINDING_REFUSE, "disk");
	there.disk_available = 101 * MIB;
	judged(FINDING_WARN, "disk");
}

/* Xen copies no disks: they are on DRBD, or devices of both hosts. */
static void test_uncopied_disks(void **unused)
{
	static char *pvh[] = {"pvh", NULL};

	(void)unused;
	strcpy(vm.hypervisor, "xen");
	strcpy(vm.machine, "pvh");
	there.machines = pvh;
	vm.disk_count = 2;
	strcpy(vm.disks[0].name, "disk0");
	strcpy(vm.disks[0].file, "disk0.img");
	strcpy(vm.disks[1].name, "disk1");
	strcpy(vm.disks[1].device, "web");
	judged(FINDING_REFUSE, "disk");
	preflight.on_drbd[0] = true;
	judged(FINDING_OK, NULL);
	strcpy(there.no_drbd, "this host's kernel has no DRBD");
	judged(FINDING_REFUSE, "disk");
	there.no_drbd[0] = '\0';
	there.disk_available = 99 * MIB;
	judged(FINDING_REFUSE, "disk");
	/* no file of it goes to the other host */
	strcpy(vm.disks[0].device, "root");
	vm.disks[0].file[0] = '\0';
	preflight.on_drbd[0] = false;
	preflight.disk_size = preflight.disk_allocated = 0;
	judged(FINDING_OK, NULL);
}

/* A hypervisor that mirrors disks would copy past DRBD. */
static void test_mirrored_on_drbd(void **unused)
{
	(void)unused;
	vm.disk_count = 1;
	strcpy(vm.disks[0].file, "disk0.img");
	preflight.on_drbd[0] = true;
	judged(FINDING_REFUSE, "disk");
}

static void test_hypervisor(void **unused)
{
	(void)unused;
	strcpy(there.hypervisor, "7.1.9");
	judged(FINDING_WARN, "hypervisor");
	strcpy(there.hypervisor, "10.0.1");
	judged(FINDING_OK, NULL);
	strcpy(there.hypervisor, "");
	strcpy(there.no_hypervisor, "QEMU with accel kvm: Could not access KVM kernel module");
	judged(FINDING_REFUSE, "hypervisor");
}

static void test_machine(void **unused)
{
	(void)unused;
	strcpy(vm.machine, "q35");
	judged(FINDING_WARN, "machine");
	strcpy(vm.machine, "pc-q35-9.0");
	judged(FINDING_REFUSE, "machine");
}

static void test_cpu(void **unused)
{
	(void)unused;
	strcpy(vm.cpu, "qemu64+aes");
	judged(FINDING_OK, NULL);
	strcpy(vm.cpu, "host");
	judged(FINDING_WARN, "cpu");
	strcpy(vm.cpu, "Skylake-Server");
	judged(FINDING_REFUSE, "cpu");
	there.cpus = NULL;
	judged(FINDING_REFUSE, "cpu");
}

static void test_vm_over_there(void **unused)
{
	(void)unused;
	strcpy(there.vm_uuid, vm.uuid);
	there.vm_epoch = 2; /* an earlier stay */
	judged(FINDING_OK, NULL);
	there.vm_epoch = 4;
	judged(FINDING_REFUSE, "vm");
	there.vm_epoch = 2;
	there.vm_owned = true;
	judged(FINDING_REFUSE, "vm");
	there.vm_owned = false;
	there.vm_runs = true;
	judged(FINDING_REFUSE, "vm");
	there.vm_runs = false;
	there.vm_busy = true;
	judged(FINDING_REFUSE, "vm");
	/* The hop that holds its tunnel there ends when it comes home. */
	preflight.comes_home = true;
	judged(FINDING_OK, NULL);
	preflight.comes_home = false;
	there.vm_busy = false;
	strcpy(there.vm_uuid, "11111111-3b0a-4d6e-9a51-0e6d67656801");
	judged(FINDING_REFUSE, "vm");
}

static void test_versions(void **unused)
{
	(void)unused;
	strcpy(there.version, "0.2");
	judged(FINDING_WARN, "edgehop");
	there.wire = 2;
	judged(FINDING_REFUSE, "edgehop");
}

static void test_network(void **unused)
{
	(void)unused;
	there.mptcp = false;
	judged(FINDING_WARN, "mptcp");
	there.mptcp = true;
	there.bridge = false;
	judged(FINDING_REFUSE, "bridge");
}

/* More findings than there is room for: the worst is not lost. */
static void test_overflow(void **unused)
{
	struct findings findings = {0};

	(void)unused;
	for (int i = 0; i < 2 * FINDINGS_MOST; i++)
		findings_add(&findings, FINDING_OK, "x", "%d", i);
	findings_add(&findings, FINDING_REFUSE, "memory", "none");
	findings_add(&findings, FINDING_WARN, "x", "y");
	assert_int_equal(findings.count, FINDINGS_MOST);
	assert_int_equal(findings_worst(&findings), FINDING_REFUSE);
	assert_string_equal(findings.list[FINDINGS_MOST - 1].what, "memory");
}

/* What a host says of itself reaches the other end as it is; nonsense does not. */
static void test_survey_on_the_wire(void **unused)
{
	auto_json json = NULL;
	auto_host_survey back = NULL;
	auto_error why = NULL;

	(void)unused;
	there.vm_epoch = 7;
	strcpy(there.why_not_mptcp, "off\n\033[31m");
	json = host_survey_to_json(&there);
	assert_non_null(json);
	back = host_survey_from_json(json, NULL);
	assert_non_null(back);
	assert_int_equal(back->memory_available, there.memory_available);
	assert_int_equal(back->vm_epoch, 7);
	assert_string_equal(back->why_not_mptcp, "off??[31m");
	assert_string_equal(back->machines[1], "q35");
	assert_null(back->machines[2]);
	json_object_set_new(json, "memory_available", json_integer(-1));
	assert_null(host_survey_from_json(json, &why));
	assert_non_null(strstr(why->message, "memory_available"));
	json_object_set_new(json, "memory_available", json_integer(1));
	json_object_set_new(json, "cpus", json_string("all"));
	assert_null(host_survey_from_json(json, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_all_well, set_up),
		cmocka_unit_test_setup(test_memory, set_up),
		cmocka_unit_test_setup(test_disk, set_up),
		cmocka_unit_test_setup(test_uncopied_disks, set_up),
		cmocka_unit_test_setup(test_mirrored_on_drbd, set_up),
		cmocka_unit_test_setup(test_hypervisor, set_up),
		cmocka_unit_test_setup(test_machine, set_up),
		cmocka_unit_test_setup(test_cpu, set_up),
		cmocka_unit_test_setup(test_vm_over_there, set_up),
		cmocka_unit_test_setup(test_versions, set_up),
		cmocka_unit_test_setup(test_network, set_up),
		cmocka_unit_test_setup(test_overflow, set_up),
		cmocka_unit_test_setup(test_survey_on_the_wire, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
