/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/forecast.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"

#define FRESH_NS  (600 * NS_PER_SEC)
#define FILE_MOST 65536

static int path_of(char path[PATH_MAX], const char *vm, const char *host, struct error **err)
{
	return place(path, err, PLACE_RUN "/predictions/%s@%s.json", vm, host);
}

int forecast_keep(const char *vm, const char *host, int64_t downtime_ns, const json_t *prediction,
		  struct error **err)
{
	/* Monotonic time: what is under PLACE_RUN does not outlive a boot either. */
	auto_json kept =
		json_pack("{s:I, s:I, s:O}", "made_ns", (json_int_t)clock_ns(), "downtime_ns",
			  (json_int_t)downtime_ns, "prediction", (json_t *)(uintptr_t)prediction);
	auto_free char *text = kept ? json_dumps(kept, JSON_COMPACT) : NULL;
	char path[PATH_MAX];

	if (!text)
		return error_set(err, ENOMEM, "no memory for a prediction");
	if (place(path, err, PLACE_RUN "/predictions") < 0 || make_dirs(path, err) < 0 ||
	    path_of(path, vm, host, err) < 0)
		return -1;
	return write_file_durably(path, text, strlen(text), err);
}

/* What is kept, or NULL. */
static json_t *look(const char *vm, const char *host)
{
	char path[PATH_MAX];
	auto_free char *text = NULL;

	if (path_of(path, vm, host, NULL) < 0)
		return NULL;
	text = read_file(path, FILE_MOST, NULL, NULL);
	return text ? json_loads(text, 0, NULL) : NULL;
}

static void forget(const char *vm, const char *host)
{
	char path[PATH_MAX];

	if (path_of(path, vm, host, NULL) == 0)
		unlink(path);
}

void forecast_settle(const char *vm, const char *host, int64_t downtime_ns)
{
	auto_json kept = look(vm, host);

	if (kept && json_integer_value(json_object_get(kept, "downtime_ns")) != downtime_ns)
		forget(vm, host);
}

json_t *forecast_take(const char *vm, const char *host)
{
	auto_json kept = look(vm, host);
	int64_t age = clock_ns() - json_integer_value(json_object_get(kept, "made_ns"));

	if (!kept)
		return NULL;
	forget(vm, host);
	return age >= 0 && age < FRESH_NS ? json_incref(json_object_get(kept, "prediction")) : NULL;
}

/* Adds how far `real` is off what was predicted under that key. */
static void compare(json_t *errors, const char *name, const json_t *predicted, const json_t *real)
{
	double expected = json_number_value(predicted);

	if (expected > 0 && json_is_number(real))
		json_object_set_new(
			errors, name,
			json_real(100 * (json_number_value(real) - expected) / expected));
}

json_t *forecast_error(const json_t *report)
{
	const json_t *predicted = json_object_get(report, "predicted");
	json_t *errors;

	if (!json_is_true(json_object_get(predicted, "converges")))
		return NULL;
	errors = json_object();
	compare(errors, "seconds", json_object_get(predicted, "seconds"),
		json_object_get(report, "seconds"));
	compare(errors, "downtime", json_object_get(predicted, "downtime_ms"),
		json_object_get(report, "downtime_ms"));
	return errors;
}
