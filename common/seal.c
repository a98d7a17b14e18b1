/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/seal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"

#define SUM_SIZE 17

/* FNV-1a over the object without its sum, in one order of its keys. */
static int sum_of(const json_t *object, char sum[SUM_SIZE], struct error **err)
{
	auto_json copy = json_copy((json_t *)(uintptr_t)object);
	auto_free char *text = NULL;
	uint64_t hash = 0xcbf29ce484222325ULL;

	json_object_del(copy, "sum");
	text = copy ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!text)
		return error_set(err, ENOMEM, "no memory for a sum");
	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
	snprintf(sum, SUM_SIZE, "%016" PRIx64, hash);
	return 0;
}

int seal_add(json_t *object, struct error **err)
{
	char sum[SUM_SIZE];

	if (sum_of(object, sum, err) < 0)
		return -1;
	return json_object_set_new(object, "sum", json_string(sum)) < 0
		       ? error_set(err, ENOMEM, "no memory for a sum")
		       : 0;
}

int seal_check(const json_t *object, bool required, struct error **err)
{
	const json_t *stored = json_object_get(object, "sum");
	char sum[SUM_SIZE];

	if (!stored)
		return required ? error_set(err, EBADMSG, "found no sum: the file is damaged") : 0;
	if (sum_of(object, sum, err) < 0)
		return -1;
	if (!json_is_string(stored) || strcmp(json_string_value(stored), sum) != 0)
		return error_set(err, EBADMSG,
				 "found sum \"%.20s\", expected %s: the file is damaged",
				 json_is_string(stored) ? json_string_value(stored) : "", sum);
	return 0;
}
