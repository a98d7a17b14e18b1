/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's client against a QEMU that is a table of lines. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/hypervisor/qmp.h"

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[\"oob\"]}}\r\n"
#define PLAIN	 "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n"
#define AGREED	 "{\"return\":{},\"id\":1}\r\n"

/* Says its lines one after another, each after it has heard a line; the first at once. */
struct actor {
	int fd;
	const char *const *lines; /* NULL: end; "": says nothing this time */
	char heard[8][256];
	size_t count;
	pthread_t thread;
};

static void *act(void *argument)
{
	struct actor *actor = argument;
	char byte;

	for (size_t i = 0; actor->lines[i]; i++) {
		size_t used = 0;

		if (*actor->lines[i])
			write_all(actor->fd, actor->lines[i], strlen(actor->lines[i]), NULL);
		while (read(actor->fd, &byte, 1) == 1 && byte != '\n')
			if (used < sizeof(actor->heard[0]) - 1)
				actor->heard[i][used++] = byte;
		actor->count = i + 1;
	}
	close(actor->fd);
	return NULL;
}

static struct qmp *begin(struct actor *actor, const char *const *lines, struct error **err)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*actor = (struct actor){.fd = fds[1], .lines = lines};
	assert_int_equal(pthread_create(&actor->thread, NULL, act, actor), 0);
	return qmp_create(fds[0], clock_ns() + 5 * NS_PER_SEC, err);
}

static void end(struct actor *actor, struct qmp *qmp)
{
	qmp_destroy(qmp);
	pthread_join(actor->thread, NULL);
}

static int64_t soon(void)
{
	return clock_ns() + 200 * NS_PER_MS;
}

static void test_command_and_events(void **unused)
{
	static const char *const lines[] = {
		GREETING, AGREED,
		"{\"event\":\"STOP\",\"data\":{}}\r\n"
		"{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{\"status\":\"ready\"}}\r\n"
		"{\"return\":{\"status\":\"paused\"},\"id\":2}\r\n",
		NULL};
	struct actor actor;
	struct qmp *qmp = begin(&actor, lines, NULL);
	auto_json answer = NULL;
	auto_json event = NULL;
	auto_json first = NULL;
	auto_error err = NULL;

	(void)unused;
	assert_non_null(qmp);
	answer = qmp_command(qmp, "query-status", json_pack("{s:i}", "x", 5), soon(), NULL);
	assert_string_equal(json_string_value(json_object_get(answer, "status")), "paused");
	event = qmp_event(qmp, "JOB_STATUS_CHANGE", soon(), NULL);
	assert_non_null(event);
	first = qmp_event(qmp, NULL, soon(), NULL);
	assert_string_equal(json_string_value(json_object_get(first, "event")), "STOP");
	assert_null(qmp_event(qmp, "STOP", clock_ns(), &err));
	assert_int_equal(err->code, ETIMEDOUT);
	end(&actor, qmp);
	assert_string_equal(actor.heard[0], "{\"execute\":\"qmp_capabilities\",\"id\":1,"
					    "\"arguments\":{\"enable\":[\"oob\"]}}");
	assert_string_equal(actor.heard[1],
			    "{\"execute\":\"query-status\",\"id\":2,\"arguments\":{\"x\":5}}");
}

static void test_refusals(void **unused)
{
	static const char *const lines[] = {
		GREETING, AGREED,
		"{\"error\":{\"class\":\"GenericError\",\"desc\":\"No such disk\"},\"id\":2}\n",
		"{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"?\"},\"id\":3}\n", NULL};
	struct actor actor;
	struct qmp *qmp = begin(&actor, lines, NULL);
	auto_error refused = NULL;
	auto_error unknown = NULL;

	(void)unused;
	assert_null(qmp_command(qmp, "blockdev-del", NULL, soon(), &refused));
	assert_int_equal(refused->code, EREMOTEIO);
	assert_string_equal(error_text(refused), "QEMU refused blockdev-del: No such disk");
	assert_null(qmp_command(qmp, "yank", NULL, soon(), &unknown));
	assert_int_equal(unknown->code, ENOTSUP);
	end(&actor, qmp);
}

/* The answer that came too late is not taken for that of the next command. */
static void test_late_answer(void **unused)
{
	static const char *const lines[] = {
		GREETING, AGREED, "",
		"{\"return\":{\"n\":2},\"id\":2}\n{\"return\":{\"n\":3},\"id\":3}\n", NULL};
	struct actor actor;
	struct qmp *qmp = begin(&actor, lines, NULL);
	auto_error late = NULL;
	auto_json answer = NULL;

	(void)unused;
	assert_null(qmp_command(qmp, "slow", NULL, soon(), &late));
	assert_int_equal(late->code, ETIMEDOUT);
	answer = qmp_command(qmp, "next", NULL, soon(), NULL);
	assert_int_equal(json_integer_value(json_object_get(answer, "n")), 3);
	end(&actor, qmp);
}

static void test_urgent(void **unused)
{
	static const char *const able[] = {GREETING, AGREED, "{\"return\":[],\"id\":2}\n", NULL};
	static const char *const unable[] = {PLAIN, AGREED, NULL};
	struct actor actor;
	struct qmp *qmp = begin(&actor, able, NULL);
	auto_json answer = NULL;
	auto_error err = NULL;

	(void)unused;
	answer = qmp_command_urgent(qmp, "query-yank", NULL, soon(), NULL);
	assert_non_null(answer);
	end(&actor, qmp);
	assert_string_equal(actor.heard[1], "{\"exec-oob\":\"query-yank\",\"id\":2}");

	qmp = begin(&actor, unable, NULL);
	assert_non_null(qmp);
	assert_null(qmp_command_urgent(qmp, "query-yank", NULL, soon(), &err));
	assert_int_equal(err->code, ENOTSUP);
	end(&actor, qmp);
}

static void test_not_qemu(void **unused)
{
	static const char *const lines[][2] = {
		{"220 mail.example.org ESMTP\r\n", NULL}, {"{\"hello\":1}\r\n", NULL}, {NULL}};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_error err = NULL;
		struct actor actor;

		assert_null(begin(&actor, lines[i], &err));
		assert_non_null(err);
		end(&actor, NULL);
	}
}

static void test_many_events(void **unused)
{
	enum {
		MANY = 2 * QMP_EVENTS_MOST
	};
	auto_free char *flood = calloc(MANY + 2, 64);
	const char *const lines[] = {GREETING, AGREED, flood, NULL};
	auto_json answer = NULL;
	auto_json oldest = NULL;
	struct actor actor;
	struct qmp *qmp;
	size_t used = 0;

	(void)unused;
	for (int i = 0; i < MANY; i++)
		used += (size_t)sprintf(flood + used, "{\"event\":\"E\",\"data\":{\"n\":%d}}\n", i);
	sprintf(flood + used, "{\"return\":{},\"id\":2}\n");
	qmp = begin(&actor, lines, NULL);
	answer = qmp_command(qmp, "x", NULL, clock_ns() + 5 * NS_PER_SEC, NULL);
	assert_non_null(answer);
	oldest = qmp_event(qmp, "E", soon(), NULL);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(oldest, "data"), "n")),
			 MANY - QMP_EVENTS_MOST);
	qmp_forget_events(qmp);
	assert_int_equal(qmp_wait_change(qmp, clock_ns() - 1, NULL), -1);
	end(&actor, qmp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_and_events), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_late_answer),	   cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_not_qemu),	   cmocka_unit_test(test_many_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
