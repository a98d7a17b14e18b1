/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"
#include "migrate/hop/ctl.h"
#include "migrate/hop/journal.h"

static char root[] = "/tmp/edgehop-test-XXXXXX";

static int set_up(void **test)
{
	(void)test;
	if (!mkdtemp(root))
		return -1;
	return setenv("EDGEHOP_ROOT", root, 1);
}

static int tear_down(void **test)
{
	char command[64];

	(void)test;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void make_hop(char hop[UUID_SIZE])
{
	auto_json facts = json_pack("{s:s}", "side", "source");

	assert_int_equal(uuid_make(hop, NULL), 0);
	assert_int_equal(journal_create(hop, facts, NULL), 0);
}

static enum hop_state state_of(const char *hop)
{
	enum hop_state state;

	assert_int_equal(journal_read(hop, &state, NULL, NULL), 0);
	return state;
}

static void each_path_is_allowed(void **test)
{
	static const enum hop_state paths[][4] = {
		{HOP_RELEASED, HOP_GONE, HOP_DONE, HOP_DONE},
		{HOP_RELEASED, HOP_RETAKEN, HOP_UNDONE, HOP_UNDONE},
		{HOP_PREPARED, HOP_ACCEPTED, HOP_DONE, HOP_DONE},
		{HOP_PREPARED, HOP_REFUSED, HOP_UNDONE, HOP_UNDONE},
		{HOP_REFUSED, HOP_UNDONE, HOP_UNDONE, HOP_UNDONE},
	};

	(void)test;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char hop[UUID_SIZE];

		make_hop(hop);
		for (size_t j = 0; j < 4; j++) {
			int moved = j == 3 || (i == 4 && j > 1) ? 0 : 1;

			assert_int_equal(journal_advance(hop, paths[i][j], NULL), moved);
			assert_int_equal(state_of(hop), paths[i][j]);
		}
	}
}

/* Every pair of states that the table does not name is refused and changes nothing. */
static void a_decision_is_for_good(void **test)
{
	char hop[UUID_SIZE];
	auto_error why = NULL;

	(void)test;
	make_hop(hop);
	assert_int_equal(journal_advance(hop, HOP_PREPARED, NULL), 1);
	assert_int_equal(journal_advance(hop, HOP_REFUSED, NULL), 1);
	assert_int_equal(journal_advance(hop, HOP_ACCEPTED, &why), -1);
	assert_int_equal(why->code, EPERM);
	assert_int_equal(state_of(hop), HOP_REFUSED);
	assert_int_equal(journal_advance(hop, HOP_RELEASED, NULL), -1);
	assert_int_equal(journal_advance(hop, HOP_GONE, NULL), -1);
	assert_int_equal(state_of(hop), HOP_REFUSED);
}

struct racer {
	const char *hop;
	enum hop_state to;
	int result;
};

static void *race(void *arg)
{
	struct racer *racer = arg;

	racer->result = journal_advance(racer->hop, racer->to, NULL);
	return NULL;
}

static void two_deciders_one_decision(void **test)
{
	(void)test;
	for (int i = 0; i < 50; i++) {
		char hop[UUID_SIZE];
		pthread_t threads[2];
		struct racer racers[2];

		make_hop(hop);
		assert_int_equal(journal_advance(hop, HOP_PREPARED, NULL), 1);
		racers[0] = (struct racer){hop, HOP_ACCEPTED, 0};
		racers[1] = (struct racer){hop, HOP_REFUSED, 0};
		for (int j = 0; j < 2; j++)
			pthread_create(&threads[j], NULL, race, &racers[j]);
		for (int j = 0; j < 2; j++)
			pthread_join(threads[j], NULL);
		assert_int_equal(racers[0].result + racers[1].result, 0); /* 1 and -1 */
		assert_int_equal(state_of(hop), racers[0].result == 1 ? HOP_ACCEPTED : HOP_REFUSED);
	}
}

/* A power cut in the middle of a record: what was never whole was never acted on. */
static void a_torn_line_is_forgotten(void **test)
{
	char hop[UUID_SIZE], path[PATH_MAX];
	int fd;

	(void)test;
	make_hop(hop);
	assert_int_equal(place(path, NULL, PLACE_STATE "/journal/%s.jsonl", hop), 0);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write_all(fd, "{\"state\":\"RELEA", 15, NULL), 0);
	close(fd);
	assert_int_equal(state_of(hop), HOP_OPEN);
	assert_int_equal(journal_advance(hop, HOP_UNDONE, NULL), 1);
	assert_int_equal(state_of(hop), HOP_UNDONE);
}

/* The record was acted on, so it counts although its newline has gone; what comes next is legible.
 */
static void a_lost_newline_loses_no_decision(void **test)
{
	const char bytes[] = {'\0', 0x0b, ' '};

	(void)test;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		char hop[UUID_SIZE], path[PATH_MAX];
		int fd;

		make_hop(hop);
		assert_int_equal(journal_advance(hop, HOP_PREPARED, NULL), 1);
		assert_int_equal(journal_advance(hop, HOP_ACCEPTED, NULL), 1);
		assert_int_equal(place(path, NULL, PLACE_STATE "/journal/%s.jsonl", hop), 0);
		fd = open(path, O_RDWR);
		assert_int_equal(pwrite(fd, &bytes[i], 1, lseek(fd, -1, SEEK_END)), 1);
		close(fd);
		assert_int_equal(state_of(hop), HOP_ACCEPTED);
		assert_int_equal(journal_advance(hop, HOP_REFUSED, NULL), -1);
		assert_int_equal(journal_advance(hop, HOP_DONE, NULL), 1);
		assert_int_equal(state_of(hop), HOP_DONE);
	}
}

static void a_zero_byte_is_damage(void **test)
{
	char hop[UUID_SIZE], path[PATH_MAX];
	enum hop_state state;
	int fd;

	(void)test;
	make_hop(hop);
	assert_int_equal(journal_advance(hop, HOP_PREPARED, NULL), 1);
	assert_int_equal(place(path, NULL, PLACE_STATE "/journal/%s.jsonl", hop), 0);
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, "", 1, 20), 1);
	close(fd);
	assert_int_equal(journal_read(hop, &state, NULL, NULL), -1);
	unlink(path);
}

static void damage_is_an_error(void **test)
{
	static const char *const contents[] = {
		"",
		"\n",
		"not json\n",
		"{\"state\":\"OPEN\"}\n",
		"{\"state\":\"NEVER\"}\n",
		"{\"journal\":\"edgehop\",\"compatible\":9,\"state\":\"OPEN\",\"facts\":{}}\n",
	};

	(void)test;
	for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
		char hop[UUID_SIZE], path[PATH_MAX];
		enum hop_state state;
		auto_error why = NULL;

		make_hop(hop);
		assert_int_equal(place(path, NULL, PLACE_STATE "/journal/%s.jsonl", hop), 0);
		assert_int_equal(write_file_durably(path, contents[i], strlen(contents[i]), NULL),
				 0);
		assert_int_equal(journal_read(hop, &state, NULL, &why), -1);
		assert_non_null(strstr(error_text(why), path));
		assert_int_equal(journal_advance(hop, HOP_UNDONE, NULL), -1);
		unlink(path);
	}
}

static int count(const char *hop, enum hop_state state, const json_t *facts, void *context,
		 struct error **err)
{
	(void)hop;
	(void)err;
	assert_false(hop_state_final(state));
	assert_non_null(facts);
	++*(int *)context;
	return 0;
}

static void open_hops_are_found(void **test)
{
	char hop[UUID_SIZE];
	int before = 0, after = 0;

	(void)test;
	assert_int_equal(journal_each_open(count, &before, NULL), 0);
	make_hop(hop);
	assert_int_equal(journal_each_open(count, &after, NULL), 0);
	assert_int_equal(after, before + 1);
	journal_advance(hop, HOP_UNDONE, NULL);
	after = 0;
	assert_int_equal(journal_each_open(count, &after, NULL), 0);
	assert_int_equal(after, before);
}

static void the_control_socket(void **test)
{
	char hop[UUID_SIZE], path[PATH_MAX];
	int64_t soon = clock_ns() + 5 * NS_PER_SEC;
	struct ctl *ctl;
	json_t *answer;

	(void)test;
	make_hop(hop);
	assert_int_equal(place(path, NULL, PLACE_RUN "/hops/%s", hop), 0);
	assert_int_equal(make_dirs(path, NULL), 0);
	ctl = ctl_start(hop, NULL);
	assert_non_null(ctl);
	ctl_publish(ctl, json_pack("{s:s}", "stage", "disk"));
	answer = ctl_ask(hop, "status", soon, NULL);
	assert_string_equal(json_string_value(json_object_get(answer, "stage")), "disk");
	json_decref(answer);
	answer = ctl_ask(hop, "nonsense", soon, NULL);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	json_decref(answer);
	assert_false(ctl_abort_wanted(ctl));
	json_decref(ctl_ask(hop, "abort", soon, NULL));
	assert_true(ctl_abort_wanted(ctl));
	ctl_decided(ctl, "ACCEPTED"); /* asked after it stands */
	answer = ctl_ask(hop, "decide", soon, NULL);
	assert_string_equal(json_string_value(json_object_get(answer, "decision")), "ACCEPTED");
	json_decref(answer);
	assert_true(ctl_decision_wanted(ctl));
	ctl_stop(ctl);
	assert_null(ctl_ask(hop, "status", soon, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_path_is_allowed),
		cmocka_unit_test(a_decision_is_for_good),
		cmocka_unit_test(two_deciders_one_decision),
		cmocka_unit_test(a_torn_line_is_forgotten),
		cmocka_unit_test(a_lost_newline_loses_no_decision),
		cmocka_unit_test(a_zero_byte_is_damage),
		cmocka_unit_test(damage_is_an_error),
		cmocka_unit_test(open_hops_are_found),
		cmocka_unit_test(the_control_socket),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
