/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test-config.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/units.h"

static void test_bytes(void **unused)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"4096", 4096},
		    {"64K", 65536},
		    {"256M", 256 << 20},
		    {"1.5G", 3ULL << 29},
		    {"2T", 2ULL << 40},
		    {"18446744073709551615", UINT64_MAX}};
	static const char *const bad[] = {"",
					  "M",
					  "1k",
					  "1.",
					  ".5M",
					  "-1",
					  "+1",
					  " 1",
					  "1 M",
					  "1MB",
					  "1.2",
					  "1..5M",
					  "18446744073709551616",
					  "16777216T"};
	char buf[UNITS_TEXT];
	uint64_t bytes;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(units_parse_bytes(good[i].text, &bytes));
		assert_int_equal(bytes, good[i].bytes);
		assert_true(units_parse_bytes(units_bytes_exact(bytes, buf), &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(units_parse_bytes(bad[i], &bytes));
}

static void test_rates_and_durations(void **unused)
{
	char buf[UNITS_TEXT];
	uint64_t rate;
	int64_t ns;

	(void)unused;
	assert_true(units_parse_rate("100M", &rate));
	assert_int_equal(rate, 100000000);
	assert_string_equal(units_rate_exact(rate, buf), "100M");
	assert_true(units_parse_rate("64k", &rate));
	assert_string_equal(units_rate_exact(rate, buf), "64k");
	assert_true(units_parse_duration("20ms", &ns));
	assert_int_equal(ns, 20 * NS_PER_MS);
	assert_string_equal(units_duration_exact(ns, buf), "20ms");
	assert_true(units_parse_duration("1.5s", &ns));
	assert_string_equal(units_duration_exact(ns, buf), "1500ms");
	assert_true(units_parse_duration("2m", &ns));
	assert_int_equal(ns, 120 * NS_PER_SEC);
	assert_false(units_parse_duration("20", &ns));
	assert_false(units_parse_duration("20 ms", &ns));
	assert_false(units_parse_duration("10000000h", &ns));
	assert_string_equal(units_duration_exact(0, buf), "0ns");
}

static void test_for_people(void **unused)
{
	char buf[UNITS_TEXT];

	(void)unused;
	assert_string_equal(units_bytes_text(0, buf), "0 bytes");
	assert_string_equal(units_bytes_text(999, buf), "999 bytes");
	assert_string_equal(units_bytes_text(171900000, buf), "171.9 MB");
	assert_string_equal(units_bytes_text(999960, buf), "1.0 MB");
	assert_string_equal(units_rate_text(183.2e6, buf), "183.2 Mbit/s");
	assert_string_equal(units_duration_text(12300 * NS_PER_MS, buf), "12.3 s");
	assert_string_equal(units_duration_text(145 * NS_PER_MS, buf), "145 ms");
	assert_string_equal(units_duration_text(1500000, buf), "1.5 ms");
	assert_string_equal(units_duration_text(185 * NS_PER_SEC, buf), "3 min 05 s");
}

static void test_numbers(void **unused)
{
	uint64_t number;

	(void)unused;
	assert_true(units_parse_number("512", 1, 512, &number));
	assert_int_equal(number, 512);
	assert_false(units_parse_number("513", 1, 512, &number));
	assert_false(units_parse_number("0", 1, 512, &number));
	assert_false(units_parse_number("0x10", 1, 512, &number));
	assert_false(units_parse_number("", 0, 512, &number));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_rates_and_durations),
		cmocka_unit_test(test_for_people),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
