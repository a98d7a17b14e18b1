/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU driver's way of a hop, and the way back from every place where it may be interrupted. */
#include "tests/unit/test-qemu-rig.h"

#include <sys/uio.h>

#include "migrate/hypervisor/qemu.h"

static void test_whole_hop(void **unused)
{
	struct hv_memory memory;

	(void)unused;
	go_to_pause();
	assert_state(SOURCE, HV_PAUSED);
	finish_mirrors();
	ok(hv_memory_continue(at(SOURCE), &failure));
	ok(hv_memory_wait_sent(at(SOURCE), in_seconds(20), &failure));
	ok(hv_memory_wait_loaded(at(DESTINATION), in_seconds(20), &failure));
	assert_state(SOURCE, HV_SENT);
	assert_state(DESTINATION, HV_PAUSED);
	ok(hv_memory_progress(at(SOURCE), &memory, &failure));
	assert_int_equal(memory.phase, HV_MEMORY_COMPLETED);
	assert_true(memory.transferred > 0 && memory.total >= def.memory);
	assert_disks_equal();
	ok(hv_export_stop(at(DESTINATION), &failure));
	ok(hv_resume(at(DESTINATION), &failure));
	assert_state(DESTINATION, HV_RUNNING);
	ok(hv_kill(at(DESTINATION), &failure));
	assert_state(DESTINATION, HV_ABSENT);
	end_relays();
}

static void test_revive_running(void **unused)
{
	(void)unused;
	forget_handle();
	revive_and_check();
}

static void test_revive_setup(void **unused)
{
	(void)unused;
	start_destination();
	/* Nobody accepts behind the relay: there is no destination for the memory. */
	ok(hv_kill(at(DESTINATION), &failure));
	start_memory(0);
	forget_handle();
	revive_and_check();
}

static void go_to_active(void)
{
	struct hv_memory memory;

	start_destination();
	start_mirrors();
	start_memory(32 << 10);
	do {
		ok(hv_memory_progress(at(SOURCE), &memory, &failure));
	} while (memory.phase == HV_MEMORY_SETUP);
	assert_int_equal(memory.phase, HV_MEMORY_ACTIVE);
}

static void test_revive_active(void **unused)
{
	(void)unused;
	go_to_active();
	forget_handle();
	revive_and_check();
}

static void stop_relays(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(relays); i++)
		if (relays[i] > 0)
			kill(relays[i], SIGSTOP);
}

/* The WAN is gone and nothing breaks off, until the living worker gives up and closes its ends. */
static void test_revive_active_hangs(void **unused)
{
	(void)unused;
	go_to_active();
	stop_relays();
	end_relays();
	revive_and_check();
}

/* QEMU wants to pause the guest and waits for a mirror's request that nobody answers. */
static void test_revive_pausing_hangs(void **unused)
{
	struct hv_memory_limits limits = {.downtime_ns = NS_PER_SEC};

	(void)unused;
	go_to_active();
	stop_relays();
	ok(hv_memory_set_limits(at(SOURCE), &limits, &failure));
	hv_memory_wait_paused(at(SOURCE), in_seconds(1), NULL);
	end_relays();
	revive_and_check();
}

static void test_revive_paused(void **unused)
{
	(void)unused;
	go_to_pause();
	forget_handle();
	revive_and_check();
}

static void test_revive_paused_one_mirror_finished(void **unused)
{
	(void)unused;
	go_to_pause();
	ok(hv_mirror_finish(at(SOURCE), 0, in_seconds(10), &failure));
	forget_handle();
	revive_and_check();
}

/* The relays go when their worker is killed: everything breaks off. */
static void test_revive_paused_relays_dead(void **unused)
{
	(void)unused;
	go_to_pause();
	end_relays();
	forget_handle();
	revive_and_check();
}

/* Nobody closes anything: QEMU's own end does. */
static void test_revive_paused_relays_hang(void **unused)
{
	(void)unused;
	go_to_pause();
	stop_relays();
	revive_and_check();
}

static void test_revive_last_round_hangs(void **unused)
{
	(void)unused;
	go_to_pause();
	finish_mirrors();
	stop_relays();
	ok(hv_memory_continue(at(SOURCE), &failure));
	assert_int_not_equal(hv_memory_wait_sent(at(SOURCE), in_seconds(1), NULL), 0);
	revive_and_check();
}

/* The stream breaks in the last round: QEMU calls it failed. */
static void test_revive_last_round_failed(void **unused)
{
	struct hv_memory memory;

	(void)unused;
	go_to_pause();
	finish_mirrors();
	stop_relays();
	ok(hv_memory_continue(at(SOURCE), &failure));
	end_relays();
	assert_int_not_equal(hv_memory_wait_sent(at(SOURCE), in_seconds(20), NULL), 0);
	ok(hv_memory_progress(at(SOURCE), &memory, &failure));
	assert_int_equal(memory.phase, HV_MEMORY_FAILED);
	forget_handle();
	revive_and_check();
}

static void test_revive_sent(void **unused)
{
	(void)unused;
	go_to_pause();
	finish_mirrors();
	ok(hv_memory_continue(at(SOURCE), &failure));
	ok(hv_memory_wait_sent(at(SOURCE), in_seconds(20), &failure));
	assert_state(SOURCE, HV_SENT);
	forget_handle();
	revive_and_check();
}

static void test_mirror_fails_with_reason(void **unused)
{
	struct hv_mirror mirror = {0};
	auto_error err = NULL;

	(void)unused;
	start_destination();
	start_mirrors();
	wait_mirrors();
	end_relays();
	ok(hv_pause(at(SOURCE), &failure));
	/* A ready mirror notices when it flushes, not before. */
	assert_int_not_equal(hv_mirror_finish(at(SOURCE), 0, in_seconds(10), &err), 0);
	assert_non_null(strstr(error_text(err), "disk disk0"));
	assert_int_not_equal(hv_mirror_progress(at(SOURCE), 0, &mirror, NULL), 0);
	revive_and_check();
}

/* One disk's mirror is given up although its connection stalls; the other's is left alone. */
static void test_mirror_abort_hangs(void **unused)
{
	struct hv_mirror mirror;

	(void)unused;
	start_destination();
	start_mirrors();
	wait_mirrors();
	stop_relays();
	ok(hv_mirror_abort(at(SOURCE), 0, &failure));
	ok(hv_mirror_abort(at(SOURCE), 0, &failure));
	assert_int_not_equal(hv_mirror_progress(at(SOURCE), 0, &mirror, NULL), 0);
	ok(hv_mirror_progress(at(SOURCE), 1, &mirror, &failure));
	assert_true(mirror.converged);
	revive_and_check();
}

/* A mirror that fails by itself while it is given up: whichever is first. */
static void test_mirror_abort_races(void **unused)
{
	(void)unused;
	start_destination();
	for (int n = 0; n < 60; n++) {
		struct timespec pause = {0, n % 20 * 50000};

		start_mirrors();
		nanosleep(&pause, NULL);
		end_relays();
		ok(hv_mirror_abort(at(SOURCE), 0, &failure));
		ok(hv_mirror_abort(at(SOURCE), 1, &failure));
	}
	revive_and_check();
}

static void test_loaded_fails_when_stream_breaks(void **unused)
{
	auto_error err = NULL;

	(void)unused;
	start_destination();
	start_memory(1 << 20);
	clock_sleep_ms(100);
	end_relays();
	assert_int_not_equal(hv_memory_wait_loaded(at(DESTINATION), in_seconds(20), &err), 0);
	print_message("%s\n", error_text(err));
	assert_state(DESTINATION, HV_ABSENT);
	revive_and_check();
}

static void test_start_says_why_not(void **unused)
{
	char path[PATH_MAX];
	auto_error err = NULL;

	(void)unused;
	at(DESTINATION);
	assert_int_equal(vm_store_path(path, def.name, disks[0].file, NULL), 0);
	unlink(path);
	assert_int_not_equal(hv_start(vm[DESTINATION], &err), 0);
	print_message("%s\n", error_text(err));
	assert_non_null(strstr(error_text(err), path));
	assert_int_not_equal(hv_start(at(SOURCE), NULL), 0);
}

/* Writes to each page of a stretch of the guest's memory, past the guest, until it is killed. */
static pid_t scribble(uint64_t base, uint64_t bytes)
{
	pid_t qemu = qemu_pid(vm[SOURCE]), child;
	char done;
	int once[2];

	assert_int_equal(pipe(once), 0);
	child = fork();
	for (uint64_t n = 1; child == 0; n++) {
		for (uint64_t at_page = 0; at_page < bytes; at_page += 4096) {
			struct iovec from = {&n, sizeof(n)};
			struct iovec to = {(void *)(uintptr_t)(base + at_page), sizeof(n)};

			if (process_vm_writev(qemu, &from, 1, &to, 1, 0) < 0)
				_exit(1);
			if (at_page % (64 * 4096) == 0)
				clock_sleep_ms(1);
		}
		if (n == 1 && write(once[1], "", 1) != 1)
			_exit(1);
	}
	close(once[1]);
	assert_int_equal(read(once[0], &done, 1), 1);
	close(once[0]);
	return child;
}

/* Of a guest that rests: its firmware has done what it does, however slow the host is. */
static void survey_at_rest(struct hv_survey *survey)
{
	int64_t deadline = in_seconds(30);

	do
		ok(hv_survey(at(SOURCE), 400 * NS_PER_MS, survey, &failure));
	while (survey->dirty[1].bytes > 64 << 10 && clock_ns() < deadline);
	print_message("at rest: %llu bytes are not zero, %llu dirty\n",
		      (unsigned long long)survey->nonzero,
		      (unsigned long long)survey->dirty[1].bytes);
}

static void test_survey(void **unused)
{
	const uint64_t stretch = 8 << 20;
	struct hv_survey before, after;
	unsigned long long base = 0;
	json_t *answer;
	pid_t child;

	(void)unused;
	survey_at_rest(&before);
	assert_int_equal(before.memory, def.memory);
	assert_true(before.nonzero < before.memory / 2);
	assert_int_equal(before.dirty_count, 2);
	assert_true(before.dirty[1].bytes < 1 << 20);
	assert_true(before.disks[0].size > 0 && before.disks[0].allocated > 0);
	assert_int_equal(before.disk_count, 2);

	/* 8 MiB in the middle of its memory, which nobody uses. */
	answer = qemu_ask(at(SOURCE), "human-monitor-command",
			  json_pack("{s:s}", "command-line", "gpa2hva 0x1000000"), &failure);
	assert_int_equal(sscanf(strstr(json_string_value(answer), " is "), " is %llx", &base), 1);
	json_decref(answer);
	assert_true(base > 0);
	qemu_drop_monitor(vm[SOURCE]); /* the child would keep it busy */
	child = scribble(base, stretch);
	ok(hv_survey(at(SOURCE), 400 * NS_PER_MS, &after, &failure));
	assert_true(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	print_message("8 MiB scribbled: %llu more are not zero, %llu dirty\n",
		      (unsigned long long)(after.nonzero - before.nonzero),
		      (unsigned long long)after.dirty[1].bytes);
	assert_in_range(after.nonzero - before.nonzero, stretch * 3 / 4, stretch * 5 / 4);
	assert_in_range(after.dirty[1].bytes, stretch / 4, stretch * 5 / 4);
	assert_state(SOURCE, HV_RUNNING);
}

static bool has_name(char *const *list, const char *name)
{
	for (size_t i = 0; list[i]; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static void test_capabilities(void **unused)
{
	struct hv_capabilities *can = hv_capabilities("qemu", VM_ACCEL_TCG, &failure);
	auto_error err = NULL;

	(void)unused;
	assert_non_null(can);
	assert_in_range(can->version[0], '1', '9');
	assert_true(has_name(can->machines, "q35") && has_name(can->machines, def.machine));
	assert_true(has_name(can->cpus, "qemu64") && !has_name(can->cpus, "host"));
	hv_capabilities_free(can);
	assert_null(hv_capabilities("xen", VM_ACCEL_TCG, &err));
	assert_non_null(strstr(error_text(err), "xen"));

	/* The hypervisor's own words, whatever is wrong with it. */
	error_free(steal_ptr(err));
	setenv("EDGEHOP_QEMU", "no-such-qemu", 1);
	assert_null(hv_capabilities("qemu", VM_ACCEL_TCG, &err));
	unsetenv("EDGEHOP_QEMU");
	assert_non_null(strstr(error_text(err), "no-such-qemu: No such file"));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole_hop),
		TEST(test_revive_running),
		TEST(test_revive_setup),
		TEST(test_revive_active),
		TEST(test_revive_active_hangs),
		TEST(test_revive_pausing_hangs),
		TEST(test_revive_paused),
		TEST(test_revive_paused_one_mirror_finished),
		TEST(test_revive_paused_relays_dead),
		TEST(test_revive_paused_relays_hang),
		TEST(test_revive_last_round_hangs),
		TEST(test_revive_last_round_failed),
		TEST(test_revive_sent),
		TEST(test_mirror_fails_with_reason),
		TEST(test_mirror_abort_hangs),
		TEST(test_mirror_abort_races),
		TEST(test_loaded_fails_when_stream_breaks),
		TEST(test_start_says_why_not),
		TEST(test_survey),
		cmocka_unit_test(test_capabilities),
	};

	if (system("qemu-system-x86_64 --version >/dev/null 2>&1") != 0)
		return SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
