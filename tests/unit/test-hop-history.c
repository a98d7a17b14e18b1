/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/places.h"
#include "common/wall.h"
#include "migrate/hop/facts.h"
#include "migrate/hop/history.h"
#include "migrate/hop/hops.h"
#include "migrate/hop/journal.h"
#include "migrate/hop/keeper.h"
#include "migrate/hop/report.h"

#define OLD_S	100000
#define HOUR_MS (3600 * 1000)

static char root[64];

static int set_up(void **test)
{
	(void)test;
	snprintf(root, sizeof(root), "/tmp/edgehop-test-XXXXXX");
	return mkdtemp(root) ? setenv("EDGEHOP_ROOT", root, 1) : -1;
}

static int tear_down(void **test)
{
	char command[80];

	(void)test;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* A hop of the VM from east to west that has just been opened here. */
static void make_hop(char hop[UUID_SIZE], const char *vm, enum hop_side side)
{
	auto_free char *text = NULL;
	auto_json facts = NULL;

	assert_true(asprintf(&text,
			     "name: %s\nuuid: 6c1d8f5e-3b0a-4d6e-9a51-0e6d67656801\naccel: tcg\n"
			     "machine: pc-q35-7.2\ncpu: qemu64\nmemory: 256M\nvcpus: 1\n"
			     "disks:\n  - {name: disk0, file: disk0.img}\n"
			     "nics:\n  - {name: nic0, mac: \"52:54:00:eb:00:01\"}\n"
			     "  - {name: nic1, mac: \"52:54:00:eb:00:02\"}\n"
			     "sites:\n  east: {addresses: [{address: 10.80.1.10/24}]}\n"
			     "  west: {addresses: [{address: 10.80.2.10/24}]}\n",
			     vm) > 0);
	assert_int_equal(uuid_make(hop, NULL), 0);
	facts = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
			  "side", hop_side_name(side), "epoch", 1, "vm", text, "hop", hop, "source",
			  "host-e", "destination", "host-w", "source-site", "east",
			  "destination-site", "west", "source-uuid",
			  "11111111-2222-4333-8444-555555555555", "destination-uuid",
			  "11111111-2222-4333-8444-666666666666", "old-nic", "nic0", "new-nic",
			  "nic1", "first-path", "wan1");
	assert_non_null(facts);
	assert_int_equal(journal_create(hop, facts, NULL), 0);
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* What a worker that died leaves: the journal's truth, and the words of whoever recovered. */
static void a_death_leaves_a_report(void **test)
{
	char hop[UUID_SIZE];
	auto_json report = NULL;
	int64_t started;

	(void)test;
	make_hop(hop, "web", HOP_SOURCE);
	assert_int_equal(journal_advance(hop, HOP_UNDONE, NULL), 1);
	assert_int_equal(history_note(hop, "the hop's worker died; undone", NULL), 0);
	report = history_read(hop, NULL);
	assert_non_null(report);
	assert_string_equal(text_of(report, "hop"), hop);
	assert_string_equal(text_of(report, "vm"), "web");
	assert_string_equal(text_of(report, "side"), "source");
	assert_string_equal(text_of(report, "result"), "undone");
	assert_string_equal(text_of(report, "error"), "the hop's worker died; undone");
	assert_string_equal(text_of(json_object_get(report, "to"), "site"), "west");
	assert_string_equal(text_of(json_object_get(report, "to"), "host"), "host-w");
	assert_true(wall_parse(text_of(report, "started"), &started));
	assert_true(wall_ms() - started < 60000);
}

static void the_destination_has_one_too(void **test)
{
	static const struct {
		enum hop_state to;
		const char *result;
	} steps[] = {{HOP_PREPARED, "unknown"}, {HOP_ACCEPTED, "held"}, {HOP_DONE, "done"}};
	char hop[UUID_SIZE];

	(void)test;
	make_hop(hop, "web", HOP_DESTINATION);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		auto_json report = NULL;

		assert_int_equal(journal_advance(hop, steps[i].to, NULL), 1);
		assert_int_equal(history_note(hop, NULL, NULL), 0);
		report = history_read(hop, NULL);
		assert_string_equal(text_of(report, "side"), "destination");
		assert_string_equal(text_of(report, "result"), steps[i].result);
		assert_null(json_object_get(report, "error"));
	}
}

/* A recovery knows better than a report that was written before it, and drops nothing of it. */
static void a_recovery_corrects_the_result(void **test)
{
	char hop[UUID_SIZE];
	auto_json full = NULL;
	auto_json report = NULL;

	(void)test;
	make_hop(hop, "web", HOP_SOURCE);
	full = json_pack("{s:s, s:s, s:s, s:s, s:f}", "hop", hop, "vm", "web", "result", "unknown",
			 "error", "no answer", "downtime_ms", 12.5);
	assert_int_equal(report_write(full, NULL), 0);
	assert_int_equal(journal_advance(hop, HOP_RELEASED, NULL), 1);
	assert_int_equal(journal_advance(hop, HOP_GONE, NULL), 1);
	assert_int_equal(journal_advance(hop, HOP_DONE, NULL), 1);
	assert_int_equal(history_note(hop, NULL, NULL), 0);
	report = history_read(hop, NULL);
	assert_string_equal(text_of(report, "result"), "done");
	assert_string_equal(text_of(report, "error"), "no answer");
	assert_true(json_real_value(json_object_get(report, "downtime_ms")) == 12.5);
}

static void write_report(const char *vm, const char *started, char hop[UUID_SIZE])
{
	auto_json report = NULL;

	assert_int_equal(uuid_make(hop, NULL), 0);
	report = json_pack("{s:s, s:s, s:s*}", "hop", hop, "vm", vm, "started", started);
	assert_int_equal(report_write(report, NULL), 0);
}

static void newest_come_first(void **test)
{
	char path[PATH_MAX], hops[4][UUID_SIZE];
	auto_json all = NULL;
	auto_json two = NULL;
	auto_json of_db = NULL;

	(void)test;
	write_report("web", "2026-03-01T10:00:00.000Z", hops[2]);
	write_report("db", "2026-03-02T10:00:00.000Z", hops[0]);
	write_report("web", "2026-03-01T10:00:00.500Z", hops[1]);
	assert_int_equal(place(path, NULL, PLACE_STATE "/history/%s.json", hops[0]), 0);
	path[strlen(path) - 6] ^= 1; /* another hop's file, which is no JSON */
	assert_int_equal(write_file_durably(path, "{", 1, NULL), 0);
	all = history_list(NULL, 0, NULL);
	assert_int_equal(json_array_size(all), 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(text_of(json_array_get(all, i), "hop"), hops[i]);
	two = history_list(NULL, 2, NULL);
	assert_int_equal(json_array_size(two), 2);
	of_db = history_list("db", 0, NULL);
	assert_int_equal(json_array_size(of_db), 1);
	/* One without its start: the time of its file stands in. */
	write_report("old", NULL, hops[3]);
	json_decref(of_db);
	of_db = history_list("old", 0, NULL);
	assert_non_null(text_of(json_array_get(of_db, 0), "started"));
}

static void make_old(const char *folder, const char *hop, const char *suffix)
{
	struct timespec then[2] = {{.tv_sec = time(NULL) - OLD_S}, {.tv_sec = time(NULL) - OLD_S}};
	char path[PATH_MAX];

	assert_int_equal(place(path, NULL, "%s/%s%s", folder, hop, suffix), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static bool is_there(const char *folder, const char *hop, const char *suffix)
{
	char path[PATH_MAX];

	assert_int_equal(place(path, NULL, "%s/%s%s", folder, hop, suffix), 0);
	return access(path, F_OK) == 0;
}

/* A hop with all that is kept of one, last written long ago. */
static void make_old_hop(char hop[UUID_SIZE], bool over)
{
	auto_json end = json_pack("{s:s}", "event", "end");
	char path[PATH_MAX];

	make_hop(hop, "web", HOP_SOURCE);
	if (over)
		assert_int_equal(journal_advance(hop, HOP_UNDONE, NULL), 1);
	assert_int_equal(history_note(hop, NULL, NULL), 0);
	assert_int_equal(place(path, NULL, PLACE_RUN "/hops/%s", hop), 0);
	assert_int_equal(make_dirs(path, NULL), 0);
	keeper_write_end(hop, end);
	make_old(PLACE_RUN "/hops", hop, "");
	make_old(PLACE_STATE "/history", hop, ".json");
	make_old(PLACE_STATE "/journal", hop, ".jsonl");
}

static bool all_there(const char *hop)
{
	return is_there(PLACE_RUN "/hops", hop, "") &&
	       is_there(PLACE_STATE "/history", hop, ".json") &&
	       is_there(PLACE_STATE "/journal", hop, ".jsonl");
}

static void only_old_hops_that_are_over_go(void **test)
{
	char over[UUID_SIZE], open_hop[UUID_SIZE], fresh[UUID_SIZE], damaged[UUID_SIZE];
	char path[PATH_MAX];
	size_t count = 99;

	(void)test;
	make_old_hop(over, true);
	make_old_hop(open_hop, false);
	make_old_hop(damaged, true);
	make_hop(fresh, "web", HOP_SOURCE);
	assert_int_equal(journal_advance(fresh, HOP_UNDONE, NULL), 1);
	assert_int_equal(place(path, NULL, PLACE_STATE "/journal/%s.jsonl", damaged), 0);
	assert_int_equal(write_file_durably(path, "?\n", 2, NULL), 0);
	make_old(PLACE_STATE "/journal", damaged, ".jsonl");
	assert_int_equal(history_prune(HOUR_MS, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_false(is_there(PLACE_RUN "/hops", over, ""));
	assert_false(is_there(PLACE_STATE "/history", over, ".json"));
	assert_false(is_there(PLACE_STATE "/journal", over, ".jsonl"));
	assert_true(all_there(open_hop));
	assert_true(all_there(damaged));
	assert_true(is_there(PLACE_STATE "/journal", fresh, ".jsonl"));
	assert_int_equal(history_prune(HOUR_MS, &count, NULL), 0);
	assert_int_equal(count, 0);
}

/* A worker holds its lock for as long as it lives. */
static void a_hop_that_lives_stays(void **test)
{
	char hop[UUID_SIZE], path[PATH_MAX];
	size_t count = 99;
	int fd;

	(void)test;
	make_old_hop(hop, true);
	assert_int_equal(place(path, NULL, PLACE_RUN "/hops/%s/worker", hop), 0);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_false(keeper_lives(hop));
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	make_old(PLACE_RUN "/hops", hop, "");
	assert_true(keeper_lives(hop));
	assert_int_equal(history_prune(HOUR_MS, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_true(all_there(hop));
	close(fd);
	assert_int_equal(history_prune(HOUR_MS, &count, NULL), 0);
	assert_int_equal(count, 1);
}

static void hops_by_their_names(void **test)
{
	char web[UUID_SIZE], db[UUID_SIZE], second[UUID_SIZE], over[UUID_SIZE], found[UUID_SIZE];
	char prefix[UUID_SIZE] = "", *why_text;
	auto_error why = NULL;
	auto_error none = NULL;

	(void)test;
	make_hop(web, "web", HOP_SOURCE);
	make_hop(db, "db", HOP_DESTINATION);
	make_hop(over, "web", HOP_SOURCE);
	assert_int_equal(journal_advance(over, HOP_UNDONE, NULL), 1);
	assert_int_equal(hops_find_open("web", found, NULL), 0);
	assert_string_equal(found, web);
	memcpy(prefix, db, 9);
	assert_int_equal(hops_find_open(prefix, found, NULL), 0);
	assert_string_equal(found, db);
	prefix[3] = '\0';
	assert_int_equal(hops_find_open(prefix, found, &none), -1);
	assert_int_equal(none->code, ENOENT);
	assert_int_equal(hops_find_open(over, found, NULL), -1);
	assert_int_equal(hops_find(over, found, NULL), 0);
	memcpy(prefix, over, 13);
	prefix[13] = '\0';
	assert_int_equal(hops_find(prefix, found, NULL), 0);
	assert_string_equal(found, over);
	make_hop(second, "web", HOP_DESTINATION);
	assert_int_equal(hops_find_open("web", found, &why), -1);
	assert_int_equal(why->code, ENOTUNIQ);
	why_text = why->message;
	assert_non_null(strstr(why_text, web));
	assert_non_null(strstr(why_text, second));
	assert_null(strstr(why_text, db));
}

static void times_of_the_wall(void **test)
{
	char text[WALL_TEXT];
	int64_t ms = -1;

	(void)test;
	assert_string_equal(wall_text(1773500966535, text), "2026-03-14T15:09:26.535Z");
	assert_true(wall_parse(text, &ms));
	assert_int_equal(ms, 1773500966535);
	assert_true(wall_parse("2026-03-14T15:09:26Z", &ms));
	assert_int_equal(ms, 1773500966000);
	assert_false(wall_parse("2026-03-14", &ms));
	assert_false(wall_parse("2026-03-14T15:09:26.5+01:00", &ms));
	assert_int_equal(ms, 1773500966000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_death_leaves_a_report, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_destination_has_one_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_recovery_corrects_the_result, set_up, tear_down),
		cmocka_unit_test_setup_teardown(newest_come_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_old_hops_that_are_over_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_hop_that_lives_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hops_by_their_names, set_up, tear_down),
		cmocka_unit_test(times_of_the_wall),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
