/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sum over what is kept on a disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/seal.h"

static json_t *sealed(void)
{
	json_t *object = json_pack("{s:s, s:i, s:{s:i}}", "state", "OPEN", "epoch", 10, "facts",
				   "epoch", 10);

	assert_int_equal(seal_add(object, NULL), 0);
	return object;
}

static void test_whole(void **state)
{
	auto_json object = sealed();
	auto_json none = json_pack("{s:s}", "state", "OPEN");
	auto_free char *text = json_dumps(object, JSON_COMPACT);
	auto_json again = json_loads(text, 0, NULL);

	(void)state;
	assert_int_equal(seal_check(object, true, NULL), 0);
	assert_int_equal(seal_check(again, true, NULL), 0);
	assert_int_equal(seal_check(none, false, NULL), 0);
	assert_int_equal(seal_check(none, true, NULL), -1);
}

/* Every single digit and letter of the text that can be changed and still is JSON is noticed. */
static void test_each_byte(void **state)
{
	auto_json object = sealed();
	auto_free char *text = json_dumps(object, JSON_COMPACT);
	unsigned noticed = 0;

	(void)state;
	for (char *c = text; *c; c++) {
		char whole = *c;
		auto_json damaged = NULL;
		auto_error why = NULL;

		*c ^= 1;
		damaged = json_loads(text, 0, NULL);
		if (damaged) {
			assert_int_equal(seal_check(damaged, true, &why), -1);
			assert_int_equal(why->code, EBADMSG);
			assert_non_null(strstr(why->message, "damaged"));
			noticed++;
		}
		*c = whole;
	}
	assert_in_range(noticed, 30, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_each_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
