/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/cleanup.h"
#include "migrate/disk/drbd_gi.h"

#define X  0xA87A9A2B11112222
#define Y  0xB87A9A2B11112222
#define Z  0xC87A9A2B11112222
#define S  0xD87A9A2B11112222
#define H1 0x1111111111111110
#define H2 0x2222222222222220
#define P  1 /* Primary */

static void test_parse(void **unused)
{
	struct drbd_gi gi;

	(void)unused;
	assert_true(drbd_gi_parse("A87A9A2B11112223:0000000000000004:0:1a:1:1:1:0:0:0:0\n", &gi));
	assert_int_equal(gi.current, X | P);
	assert_int_equal(gi.bitmap, 4);
	assert_int_equal(gi.history[0], 0);
	assert_int_equal(gi.history[1], 0x1a);
	assert_true(gi.consistent && gi.up_to_date && gi.primary);
	assert_false(gi.connected || gi.full_sync || gi.peer_outdated || gi.crashed_primary);
	assert_true(drbd_gi_parse("1:2:3:4:0:0:0:1:1:1:1", &gi));
	assert_true(gi.connected && gi.full_sync && gi.peer_outdated && gi.crashed_primary);
	/* a later version's flags behind ours */
	assert_true(drbd_gi_parse("1:2:3:4:0:0:0:1:1:1:1:0:1", &gi));
}

static void test_parse_refuses(void **unused)
{
	static const char *const bad[] = {
		"",
		":",
		"1:2:3:4",
		"1:2:3:4:0:0:0:0:0:0",
		"1:2:3:4:0:0:0:0:0:0:",
		"1:2:3:4:0:0:0:0:0:0:2",
		"1:2:3:4:0:0:0:0:0:0:1x",
		"1:2:3:4:0:0:00:0:0:0:1",
		"1::3:4:0:0:0:0:0:0:1",
		"12345678901234567:2:3:4:0:0:0:0:0:0:1",
		"0x1:2:3:4:0:0:0:0:0:0:1",
		"-1:2:3:4:0:0:0:0:0:0:1",
		" 1:2:3:4:0:0:0:0:0:0:1",
		"minor 1000: no such device",
	};
	struct drbd_gi gi = {.current = 7};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(drbd_gi_parse(bad[i], &gi));
	assert_int_equal(gi.current, 7);
}

static void test_judge(void **unused)
{
	static const struct {
		const char *what;
		struct drbd_gi source, target;
		enum drbd_copy verdict;
	} cases[] = {
		{"first hop", {.current = X | P, .bitmap = 4}, {.current = 4}, DRBD_COPY_FULL},
		{"metadata of zeroes", {.current = X}, {0}, DRBD_COPY_FULL},
		{"source never prepared", {.current = 4}, {.current = X}, DRBD_COPY_NO_DATA},
		{"both new", {.current = 4}, {.current = 4}, DRBD_COPY_NO_DATA},
		{"copy cut off",
		 {.current = X | P, .bitmap = S},
		 {.current = S},
		 DRBD_COPY_CHANGES},
		{"way home", {.current = Y | P, .bitmap = X}, {.current = X}, DRBD_COPY_CHANGES},
		{"nothing written", {.current = X | P}, {.current = X}, DRBD_COPY_NONE},
		{"power of the source was cut",
		 {.current = X | P, .crashed_primary = true},
		 {.current = X},
		 DRBD_COPY_CHANGES},
		{"power of a target that was Primary was cut",
		 {.current = X | P},
		 {.current = X, .crashed_primary = true},
		 DRBD_COPY_BACKWARDS},
		{"both were Primary when power was cut",
		 {.current = X, .crashed_primary = true},
		 {.current = X, .crashed_primary = true},
		 DRBD_COPY_SPLIT},
		{"home by way of a third site",
		 {.current = Z | P, .bitmap = Y, .history = {X}},
		 {.current = X},
		 DRBD_COPY_FULL},
		{"the same, longer ago",
		 {.current = Z | P, .bitmap = Y, .history = {H1, X}},
		 {.current = X},
		 DRBD_COPY_FULL},
		{"the target went on from what the source has",
		 {.current = X | P},
		 {.current = Y, .bitmap = X},
		 DRBD_COPY_BACKWARDS},
		{"the same, longer ago",
		 {.current = X | P},
		 {.current = Y, .history = {H1, X}},
		 DRBD_COPY_BACKWARDS},
		{"both went on",
		 {.current = Y | P, .bitmap = X},
		 {.current = Z, .bitmap = X},
		 DRBD_COPY_SPLIT},
		{"both went on, one was elsewhere since",
		 {.current = Y | P, .history = {H1, X}},
		 {.current = Z, .bitmap = X},
		 DRBD_COPY_SPLIT},
		{"not of one origin",
		 {.current = Y | P, .bitmap = H1},
		 {.current = Z, .bitmap = H2},
		 DRBD_COPY_STRANGERS},
		{"not of one origin, both just begun",
		 {.current = Y | P, .bitmap = 4},
		 {.current = Z, .bitmap = 4},
		 DRBD_COPY_STRANGERS},
		{"a role is no difference",
		 {.current = Y | P, .bitmap = X | P},
		 {.current = X},
		 DRBD_COPY_CHANGES},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum drbd_copy verdict = drbd_gi_judge(&cases[i].source, &cases[i].target);

		if (verdict != cases[i].verdict)
			fail_msg("%s: %s, expected %s", cases[i].what, drbd_copy_name(verdict),
				 drbd_copy_name(cases[i].verdict));
	}
}

/* Whatever would overwrite the source is never good, whichever way it is asked. */
static void test_never_both_ways(void **unused)
{
	static const uint64_t ids[] = {0, 4, X, Y, Z};
	const size_t n = ARRAY_SIZE(ids);

	(void)unused;
	for (size_t i = 0; i < n * n * n * n; i++) {
		struct drbd_gi a = {.current = ids[i % n], .bitmap = ids[i / n % n]};
		struct drbd_gi b = {.current = ids[i / n / n % n], .bitmap = ids[i / n / n / n]};
		enum drbd_copy there = drbd_gi_judge(&a, &b), back = drbd_gi_judge(&b, &a);

		if (a.current != a.bitmap && b.current != b.bitmap && drbd_copy_good(there) &&
		    drbd_copy_good(back))
			assert_true(there == DRBD_COPY_NONE && back == DRBD_COPY_NONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_never_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
