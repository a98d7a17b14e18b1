/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-netswitch-kit.h"

#include <errno.h>
#include <linux/mptcp.h>
#include <signal.h>
#include <sys/wait.h>

#include "common/bytes.h"
#include "netswitch/endpoints.h"
#include "netswitch/mptcp_pm.h"

#define HOP_A "aaaaaaaa-0000-4000-8000-000000000001"
#define HOP_B "bbbbbbbb-0000-4000-8000-000000000002"

static int set_up(void **state)
{
	char root[] = "/tmp/edgehop-test-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(root));
	setenv("EDGEHOP_ROOT", root, 1);
	ns_create();
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", getenv("EDGEHOP_ROOT"));
	return system(command);
}

static bool is_endpoint(const char *text)
{
	struct ip_addr addr = ip(text);

	return mptcp_pm_find(&addr, NULL) > 0;
}

static void assert_limits(unsigned int subflows, unsigned int accepted)
{
	struct mptcp_limits limits;

	assert_ok(mptcp_pm_get_limits(&limits, &err));
	assert_int_equal(limits.subflows, subflows);
	assert_int_equal(limits.add_addr_accepted, accepted);
}

static void test_counted(void **state)
{
	const struct ip_addr both[] = {ip("10.81.1.2"), ip("10.81.2.2/24")};

	(void)state;
	assert_limits(2, 0);
	assert_ok(endpoints_hold(HOP_A, both, 2, ENDPOINT_SIGNAL, &err));
	assert_ok(endpoints_hold(HOP_A, both, 2, ENDPOINT_SIGNAL, &err));
	assert_ok(endpoints_hold(HOP_B, &both[1], 1, ENDPOINT_SIGNAL, &err));
	assert_true(is_endpoint("10.81.1.2") && is_endpoint("10.81.2.2"));
	assert_limits(8, 8);
	assert_ok(endpoints_release(HOP_A, &err));
	assert_ok(endpoints_release(HOP_A, &err));
	/* B's connections may go by A's */
	assert_true(is_endpoint("10.81.1.2") && is_endpoint("10.81.2.2"));
	assert_limits(8, 8);
	assert_ok(endpoints_release(HOP_B, &err));
	assert_false(is_endpoint("10.81.1.2") || is_endpoint("10.81.2.2"));
	assert_limits(2, 0);
}

static void test_limits_alone(void **state)
{
	const struct mptcp_limits others = {5, 5};

	(void)state;
	assert_ok(endpoints_hold(HOP_A, NULL, 0, ENDPOINT_SUBFLOW, &err));
	assert_limits(8, 8);
	/* Somebody else's wish is not undone. */
	assert_ok(mptcp_pm_set_limits(&others, &err));
	assert_ok(endpoints_release(HOP_A, &err));
	assert_limits(5, 5);
}

static void test_others_endpoints_stay(void **state)
{
	const struct ip_addr addr = ip("10.81.1.2");
	const struct mptcp_endpoint theirs = {.address = addr, .flags = MPTCP_PM_ADDR_FLAG_SIGNAL};

	(void)state;
	assert_true(mptcp_pm_add(&theirs, NULL) > 0);
	assert_ok(endpoints_hold(HOP_A, &addr, 1, ENDPOINT_SIGNAL, &err));
	assert_ok(endpoints_release(HOP_A, &err));
	assert_true(is_endpoint("10.81.1.2"));
}

static void test_ours_removed_by_others(void **state)
{
	const struct ip_addr addr = ip("10.81.1.2");

	(void)state;
	assert_ok(endpoints_hold(HOP_A, &addr, 1, ENDPOINT_SIGNAL, &err));
	assert_ok(mptcp_pm_del((uint8_t)mptcp_pm_find(&addr, NULL), &err));
	/* A hold brings it back. */
	assert_ok(endpoints_hold(HOP_B, &addr, 1, ENDPOINT_SIGNAL, &err));
	assert_true(is_endpoint("10.81.1.2"));
	assert_ok(mptcp_pm_del((uint8_t)mptcp_pm_find(&addr, NULL), &err));
	assert_ok(endpoints_release(HOP_A, &err));
	assert_ok(endpoints_release(HOP_B, &err));
	assert_false(is_endpoint("10.81.1.2"));
	assert_limits(2, 0);
}

/* Holds in another process, which is dead afterwards. */
static void hold_and_die(const char *hop, const char *address)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct ip_addr addr;

		ip_parse(address, &addr, NULL);
		_exit(endpoints_hold(hop, &addr, 1, ENDPOINT_SIGNAL, NULL) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool knows_a(const char *hop, void *context)
{
	(*(int *)context)++;
	return strcmp(hop, HOP_A) == 0;
}

static void test_dead_holders_purged(void **state)
{
	const struct ip_addr addr = ip("10.81.9.9");
	int asked = 0;

	(void)state;
	hold_and_die(HOP_A, "10.81.1.2");
	hold_and_die(HOP_B, "10.81.2.2");
	assert_ok(endpoints_hold("cccccccc-0000-4000-8000-000000000003", &addr, 1, ENDPOINT_SIGNAL,
				 &err));
	assert_true(is_endpoint("10.81.1.2") && is_endpoint("10.81.2.2"));
	assert_ok(endpoints_purge(knows_a, &asked, &err));
	assert_int_equal(asked, 2);
	assert_ok(endpoints_release(HOP_A, &err)); /* as its recovery does */
	assert_ok(endpoints_purge(NULL, NULL, &err));
	assert_true(is_endpoint("10.81.9.9")); /* its holder lives: this process */
	assert_limits(8, 8);
	assert_ok(endpoints_release("cccccccc-0000-4000-8000-000000000003", &err));
	assert_false(is_endpoint("10.81.1.2") || is_endpoint("10.81.2.2") ||
		     is_endpoint("10.81.9.9"));
	assert_limits(2, 0);
	hold_and_die(HOP_A, "10.81.1.2");
	assert_ok(endpoints_purge(knows_a, &asked, &err));
	assert_true(is_endpoint("10.81.1.2")); /* it waits for its recovery */
	assert_ok(endpoints_purge(NULL, NULL, &err));
	assert_false(is_endpoint("10.81.1.2"));
	assert_limits(2, 0);
}

static void test_failure_holds_nothing(void **state)
{
	struct ip_addr many[10];

	(void)state;
	for (int i = 0; i < 10; i++) {
		many[i] = ip("10.81.7.0");
		many[i].bytes[3] = (uint8_t)(i + 1);
	}
	assert_ok(endpoints_hold(HOP_A, many, 1, ENDPOINT_SIGNAL, &err));
	/* The kernel takes 8. */
	assert_true(endpoints_hold(HOP_B, many, 10, ENDPOINT_SIGNAL, NULL) < 0);
	assert_true(is_endpoint("10.81.7.1"));
	assert_false(is_endpoint("10.81.7.2"));
	assert_false(is_endpoint("10.81.7.8"));
	assert_ok(endpoints_release(HOP_A, &err));
	assert_false(is_endpoint("10.81.7.1"));
	assert_limits(2, 0);
}

static void test_mptcp_off_is_said(void **state)
{
	struct error *err = NULL;

	(void)state;
	assert_int_equal(sysctl_set(0, NULL, "net/mptcp/enabled"), 0);
	assert_true(endpoints_hold(HOP_A, NULL, 0, ENDPOINT_SIGNAL, &err) < 0);
	assert_string_equal(err->message, "MPTCP is switched off (net.mptcp.enabled=0)");
	error_free(err);
}

static void test_damaged_state_is_refused(void **state)
{
	const struct ip_addr addr = ip("10.81.1.2");
	char path[128];

	(void)state;
	assert_ok(endpoints_hold(HOP_A, &addr, 1, ENDPOINT_SIGNAL, &err));
	snprintf(path, sizeof(path), "%s/run/edgehop/endpoints.json", getenv("EDGEHOP_ROOT"));
	assert_ok(write_file_durably(path, "{\"edgehop\": 1,", 14, &err));
	assert_error(endpoints_release(HOP_A, &err), EPROTO);
	assert_ok(write_file_durably(path, "{\"edgehop\": 1, \"holders\": [7], \"ours\": [{}]}", 45,
				     &err));
	assert_ok(endpoints_release(HOP_A, &err));
}

/* Many processes at once: the file and the kernel agree in the end. */
static void test_processes_in_parallel(void **state)
{
	pid_t pids[8];

	(void)state;
	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			char hop[64];
			struct ip_addr addr;
			int bad = 0;

			snprintf(hop, sizeof(hop), "dddddddd-0000-4000-8000-00000000000%d", i);
			ip_parse(i % 2 ? "10.81.1.2" : "10.81.2.2", &addr, NULL);
			for (int round = 0; round < 10; round++) {
				bad |= endpoints_hold(hop, &addr, 1, ENDPOINT_SIGNAL, NULL) < 0;
				bad |= mptcp_pm_find(&addr, NULL) <= 0;
				bad |= endpoints_release(hop, NULL) < 0;
			}
			_exit(bad);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_false(is_endpoint("10.81.1.2") || is_endpoint("10.81.2.2"));
	assert_limits(2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_others_endpoints_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ours_removed_by_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dead_holders_purged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failure_holds_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mptcp_off_is_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_state_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_processes_in_parallel, set_up, tear_down),
	};

	if (!may_make_namespaces())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
