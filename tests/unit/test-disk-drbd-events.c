/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "migrate/disk/drbd_events.h"

#define NAME "edgehop-web-disk0"
#define ENDS "local:ipv4:127.83.3.232:7879 peer:ipv4:127.83.3.232:7880"

static const char copying[] =
	"exists resource name:other role:Secondary suspended:no\n"
	"exists resource name:" NAME " role:Primary suspended:no write-ordering:flush\n"
	"exists connection name:" NAME " " ENDS
	" connection:Connected role:Secondary congested:no\n"
	"exists device name:" NAME " volume:0 minor:1000 disk:UpToDate size:65536 read:4 written:8 "
	"al-writes:1 bm-writes:0 upper-pending:0 lower-pending:2 al-suspended:no blocked:no\n"
	"exists peer-device name:" NAME " " ENDS
	" volume:0 replication:SyncSource peer-disk:Inconsistent resync-suspended:no received:3 "
	"sent:2048 out-of-sync:61440 pending:5 unacked:6\n"
	"exists device name:other volume:0 minor:3 disk:Diskless size:1\n"
	"exists -\n";

static int feed(struct drbd_view *view, const char *text)
{
	return drbd_events_read(view, NAME, text, strlen(text), NULL);
}

static void test_copying(void **unused)
{
	struct drbd_view view = {0};

	(void)unused;
	assert_int_equal(feed(&view, copying), 0);
	assert_true(view.resource && view.device && view.connection && view.peer && view.complete);
	assert_int_equal(view.role, DRBD_PRIMARY);
	assert_int_equal(view.peer_role, DRBD_SECONDARY);
	assert_int_equal(view.link, DRBD_CONNECTED);
	assert_int_equal(view.data, DRBD_UP_TO_DATE);
	assert_int_equal(view.peer_data, DRBD_INCONSISTENT);
	assert_int_equal(view.replication, DRBD_SYNC_SOURCE);
	assert_int_equal(view.size, 64 << 20);
	assert_int_equal(view.out_of_sync, 60 << 20);
	assert_int_equal(view.sent, 2 << 20);
	assert_int_equal(view.received, 3 << 10);
	assert_int_equal(view.pending, 5);
	assert_int_equal(view.unacked, 6);
	assert_int_equal(view.lower_pending, 2);
}

/* Events after the first look change what they name, and nothing else. */
static void test_changes(void **unused)
{
	struct drbd_view view = {0};

	(void)unused;
	assert_int_equal(feed(&view, copying), 0);
	assert_int_equal(feed(&view, "change peer-device name:" NAME " " ENDS
				     " volume:0 replication:Established peer-disk:UpToDate\n"
				     "change resource name:" NAME " role:Secondary\n"),
			 0);
	assert_int_equal(view.replication, DRBD_ESTABLISHED);
	assert_int_equal(view.peer_data, DRBD_UP_TO_DATE);
	assert_int_equal(view.role, DRBD_SECONDARY);
	assert_int_equal(view.link, DRBD_CONNECTED);
	assert_int_equal(feed(&view, "destroy peer-device name:" NAME " " ENDS " volume:0\n"
				     "destroy connection name:" NAME " " ENDS "\n"),
			 0);
	assert_false(view.connection || view.peer);
	assert_int_equal(view.link, DRBD_LINK_UNKNOWN);
	assert_int_equal(view.out_of_sync, 0);
	assert_true(view.device);
}

/* Nothing that is not known, or not ours, ever looks good. */
static void test_unknown(void **unused)
{
	static const char strange[] =
		"exists resource name:" NAME " role:King\n"
		"exists connection name:" NAME " connection:Married role:Queen\n"
		"exists device name:" NAME " disk:Golden size:99999999999999999999999999\n"
		"exists peer-device name:" NAME " replication:Teleport peer-disk:UpToDate2 "
		"out-of-sync:-1 sent:18446744073709551615 pending:1x\n"
		"exists device name:" NAME "2 disk:UpToDate\n"
		"exists device disk:UpToDate name:" NAME "\n"
		"exists\n\n   \nboom device name:" NAME " disk:UpToDate\n"
		"call helper name:" NAME " helper:fence-peer\n"
		"exists device name: disk:UpToDate\n: : :\nexists device :\n";
	struct drbd_view view = {0};

	(void)unused;
	assert_int_equal(feed(&view, strange), 0);
	assert_int_equal(view.role, DRBD_ROLE_UNKNOWN);
	assert_int_equal(view.link, DRBD_LINK_UNKNOWN);
	assert_int_equal(view.data, DRBD_DATA_UNKNOWN);
	assert_int_equal(view.peer_data, DRBD_DATA_UNKNOWN);
	assert_int_equal(view.replication, DRBD_REPLICATION_OTHER);
	assert_int_equal(view.size, 0);
	assert_int_equal(view.out_of_sync, 0);
	assert_int_equal(view.sent, 0);
	assert_int_equal(view.pending, 0);
	assert_false(view.complete);
}

static void test_bounds(void **unused)
{
	size_t size = sizeof(copying) - 1;
	char line[DRBD_EVENTS_LINE + 3];
	struct drbd_view view = {0};

	(void)unused;
	/* cut anywhere: an error, unless at the end of a line */
	for (size_t n = 0; n < size; n++) {
		char *cut = malloc(n + 1); /* so that a byte too far is found */

		assert_non_null(cut);
		memcpy(cut, copying, n);
		assert_int_equal(drbd_events_read(&view, NAME, cut, n, NULL),
				 n == 0 || copying[n - 1] == '\n' ? 0 : -1);
		free(cut);
	}
	memset(line, 'a', sizeof(line));
	line[DRBD_EVENTS_LINE] = '\n';
	assert_int_equal(drbd_events_read(&view, NAME, line, DRBD_EVENTS_LINE + 1, NULL), 0);
	line[DRBD_EVENTS_LINE] = 'a';
	line[DRBD_EVENTS_LINE + 1] = '\n';
	assert_int_equal(drbd_events_read(&view, NAME, line, DRBD_EVENTS_LINE + 2, NULL), -1);
	assert_int_equal(drbd_events_read(&view, NAME, "\0\0\n", 3, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copying),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
