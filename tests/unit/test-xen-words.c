/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the Xen driver and edgehop-xen say to each other: bounds, and what is no order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/cleanup.h"
#include "migrate/hypervisor/xen_words.h"

static json_t *load(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	return json;
}

static void test_requests_read_back(void **unused)
{
	(void)unused;
	for (int order = 0; order < XEN_ORDERS; order++) {
		struct xen_request request = {.id = 7, .order = (enum xen_order)order};
		struct xen_request again;
		auto_json json = NULL;

		if (order == XEN_SEND || order == XEN_LISTEN || order == XEN_DIGEST)
			strcpy(request.path, "/run/edgehop/hops/x/memory.sock");
		if (order == XEN_SEND || order == XEN_LIMIT)
			request.bounds = (struct xen_bounds){300000000, 1 << 20, HV_UNMET_ABORT};
		if (order == XEN_WAIT) {
			request.serial = 12;
			request.wait_ms = XEN_WAIT_MOST;
		}
		json = xen_request_make(&request);
		assert_int_equal(xen_request_parse(json, &again, NULL), 0);
		assert_memory_equal(&request, &again, sizeof(request));
	}
}

static void test_refused_requests(void **unused)
{
	static const struct {
		const char *text, *message;
		int64_t id;
	} cases[] = {
		{"{\"do\":\"status\"}", "field id", 0},
		{"{\"id\":0,\"do\":\"status\"}", "field id", 0},
		{"{\"id\":-1,\"do\":\"status\"}", "field id", 0},
		{"{\"id\":\"1\",\"do\":\"status\"}", "field id", 0},
		{"{\"id\":3}", "field do", 3},
		{"{\"id\":3,\"do\":7}", "field do", 3},
		{"{\"id\":3,\"do\":\"format\"}", "field do: found \"format\", expected an order",
		 3},
		{"{\"id\":3,\"do\":\"send\"}", "field path", 3},
		{"{\"id\":3,\"do\":\"send\",\"path\":\"\"}", "field path", 3},
		{"{\"id\":3,\"do\":\"send\",\"path\":\"memory.sock\"}",
		 "field path: found 11 characters, expected an absolute path", 3},
		{"{\"id\":3,\"do\":\"listen\",\"path\":\"/a\\nb\"}",
		 "field path: found a control character", 3},
		{"{\"id\":3,\"do\":\"send\",\"path\":\"/a\"}", "field downtime_ns", 3},
		{"{\"id\":3,\"do\":\"limit\",\"downtime_ns\":0}", "field downtime_ns", 3},
		{"{\"id\":3,\"do\":\"limit\",\"downtime_ns\":1,\"rate\":-1}", "field rate", 3},
		{"{\"id\":3,\"do\":\"limit\",\"downtime_ns\":1,\"rate\":0,\"unmet\":3}",
		 "field unmet", 3},
		{"{\"id\":3,\"do\":\"wait\"}", "field serial", 3},
		{"{\"id\":3,\"do\":\"wait\",\"serial\":-1,\"ms\":1}", "field serial", 3},
		{"{\"id\":3,\"do\":\"wait\",\"serial\":1,\"ms\":60001}", "field ms", 3},
		{"{\"id\":3,\"do\":\"wait\",\"serial\":1,\"ms\":-1}", "field ms", 3},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json json = load(cases[i].text);
		struct xen_request request;
		auto_error err = NULL;

		assert_int_equal(xen_request_parse(json, &request, &err), -1);
		assert_int_equal(err->code, EPROTO);
		assert_non_null(strstr(error_text(err), cases[i].message));
		assert_int_equal(request.id, cases[i].id);
	}
}

static void test_longest_path(void **unused)
{
	char path[XEN_PATH_MOST + 2];

	(void)unused;
	for (size_t n = XEN_PATH_MOST; n <= XEN_PATH_MOST + 1; n++) {
		auto_json json = NULL;
		struct xen_request request;

		memset(path, 'a', n);
		path[0] = '/';
		path[n] = '\0';
		json = json_pack("{s:i, s:s, s:s}", "id", 1, "do", "listen", "path", path);
		assert_int_equal(xen_request_parse(json, &request, NULL),
				 n <= XEN_PATH_MOST ? 0 : -1);
	}
}

static struct xen_status some_status(void)
{
	struct xen_status status = {.serial = 13,
				    .state = HV_PAUSED,
				    .loaded = true,
				    .busy = true,
				    .why = "libxl said no",
				    .memory = {.phase = HV_MEMORY_ACTIVE,
					       .total = 1 << 28,
					       .remaining = 4096,
					       .transferred = 1 << 20,
					       .dirty_rate = 5,
					       .rate = 100000000,
					       .rounds = 3,
					       .downtime_ns = 12345678}};

	return status;
}

static void test_status_reads_back(void **unused)
{
	struct xen_status status = some_status(), again;
	auto_json json = xen_status_make(9, &status);
	auto_error err = NULL;

	(void)unused;
	assert_int_equal(xen_status_parse(json, 9, &again, NULL), 0);
	assert_memory_equal(&status, &again, sizeof(status));
	/* Another request's answer is none. */
	assert_int_equal(xen_status_parse(json, 10, &again, &err), -1);
	assert_int_equal(err->code, EPROTO);
}

/* libxl's words may hold the guest's: nothing that breaks JSON or a terminal gets on. */
static void test_foreign_words(void **unused)
{
	struct xen_status status = some_status(), again;
	auto_json json = NULL;

	(void)unused;
	strcpy(status.why, "a\x1b[2J\xff\"\\");
	json = xen_status_make(1, &status);
	assert_non_null(json);
	assert_int_equal(xen_status_parse(json, 1, &again, NULL), 0);
	assert_string_equal(again.why, "a?[2J?\"\\");
}

static void test_refusal(void **unused)
{
	struct error why = {.code = EBUSY, .message = (char *)"it is busy"};
	auto_json json = xen_refusal_make(4, &why);
	struct xen_status status;
	auto_error err = NULL;

	(void)unused;
	assert_int_equal(xen_status_parse(json, 4, &status, &err), -1);
	assert_int_equal(err->code, EBUSY);
	assert_string_equal(error_text(err), "it is busy");
}

static void test_damaged_status(void **unused)
{
	static const char *const keys[] = {"serial",	  "state",	"why",	  "failure",
					   "phase",	  "total",	"rate",	  "remaining",
					   "transferred", "dirty_rate", "rounds", "downtime_ns"};
	struct xen_status status = some_status(), again;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_json json = xen_status_make(1, &status);
		auto_error err = NULL;

		json_object_set_new(json, keys[i], json_array());
		assert_int_equal(xen_status_parse(json, 1, &again, &err), -1);
		assert_non_null(strstr(error_text(err), keys[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_read_back), cmocka_unit_test(test_refused_requests),
		cmocka_unit_test(test_longest_path),	   cmocka_unit_test(test_status_reads_back),
		cmocka_unit_test(test_foreign_words),	   cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_damaged_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
