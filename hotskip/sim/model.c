/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/units.h"
#include "common/random.h"
#include "hotskip/sim/replay.h"
#include "hotskip/words.h"

#define PAGE	  4096
#define SETS_MOST 255
#define PHASES	  8

struct model {
	uint64_t memory, units, scale, seed;
	struct model_link link;
	struct random random;
	uint8_t *class_of; /* of each unit; 0: never written */
	uint64_t *active;
	unsigned sets; /* classes 1 .. sets */
	uint64_t size[SETS_MOST + 1];
	double rate[SETS_MOST + 1]; /* writes/s of a unit */
	double phase;		    /* s; 0: no phases */
	struct replay *replay;
};

uint64_t model_units(const struct model *model)
{
	return model->units;
}

uint64_t model_memory(const struct model *model)
{
	return model->memory;
}

double model_unit_bytes(const struct model *model)
{
	return (double)model->memory / (double)model->units;
}

const uint64_t *model_active(const struct model *model)
{
	return model->active;
}

void model_rewind(struct model *model)
{
	random_seed(&model->random, model->seed);
}

void model_destroy(struct model *model)
{
	if (!model)
		return;
	replay_destroy(model->replay);
	free(model->class_of);
	free(model->active);
	free(model);
}

/* ---- Specifications ---- */

static bool read_number(const char **at, char end, double *value)
{
	char *stop;

	*value = strtod(*at, &stop);
	if (stop == *at || *stop != end || !(*value >= 0) || !isfinite(*value))
		return false;
	*at = end ? stop + 1 : stop;
	return true;
}

static bool add_set(struct model *model, uint64_t units, double rate)
{
	if (model->sets == SETS_MOST || units == 0)
		return false;
	model->sets++;
	model->size[model->sets] = units;
	model->rate[model->sets] = rate;
	return true;
}

bool model_parse_size(const char *text, const struct model_link *link, uint64_t *bytes)
{
	double times;

	if (!read_number(&text, 't', &times))
		return units_parse_bytes(text, bytes);
	if (*text || !(times * link->target < 0x1p60))
		return false;
	*bytes = (uint64_t)(times * link->target);
	return true;
}

/* A rate of writes to each page, or "l": of the set's bytes as a part of the link's. */
static bool parse_rate(const char *text, const struct model_link *link, uint64_t bytes,
		       double *rate)
{
	const char *at = text;

	if (read_number(&at, 'l', rate) && !*at && bytes > 0) {
		*rate *= link->rate / (double)bytes;
		return true;
	}
	at = text;
	return read_number(&at, '\0', rate);
}

/* SIZE@RATE up to a comma or the end. */
static bool read_set(struct model *model, const char **at)
{
	const char *sign = strchr(*at, '@');
	const char *end = sign ? sign + strcspn(sign, ",") : NULL;
	char text[32], rate_text[32];
	uint64_t bytes;
	double rate;

	if (!sign || sign - *at >= (int)sizeof(text) || end - sign > (int)sizeof(rate_text))
		return false;
	memcpy(text, *at, (size_t)(sign - *at));
	text[sign - *at] = '\0';
	memcpy(rate_text, sign + 1, (size_t)(end - sign - 1));
	rate_text[end - sign - 1] = '\0';
	if (!model_parse_size(text, &model->link, &bytes) ||
	    !parse_rate(rate_text, &model->link, bytes, &rate))
		return false;
	*at = *end ? end + 1 : end;
	return add_set(model, (bytes / PAGE + model->scale - 1) / model->scale, rate);
}

static bool read_sets(struct model *model, const char *at)
{
	while (*at)
		if (!read_set(model, &at))
			return false;
	return model->sets > 0;
}

static bool read_uniform(struct model *model, const char *at)
{
	double writes;

	return read_number(&at, '\0', &writes) &&
	       add_set(model, model->units, writes / (double)(model->units * model->scale));
}

/* Ranks are put together, the more the colder they are: sets 1 : 1.08 of the ranks so far. */
static bool read_zipf(struct model *model, const char *at)
{
	double writes, exponent, sum = 0;
	uint64_t pages = model->units * model->scale, first = 0;

	if (!read_number(&at, ':', &writes) || !read_number(&at, '\0', &exponent))
		return false;
	for (uint64_t k = 0; k < model->units; k++)
		sum += pow((double)k * (double)model->scale + 1, -exponent) * (double)model->scale;
	while (first < model->units) {
		uint64_t n = 1 + first * 8 / 100;
		double part = 0;

		if (model->sets == SETS_MOST - 1 || n > model->units - first)
			n = model->units - first;
		for (uint64_t k = first; k < first + n; k++)
			part += pow((double)k * (double)model->scale + 1, -exponent);
		if (!add_set(model, n, writes * part / sum / (double)n))
			return false;
		first += n;
	}
	return pages > 0;
}

static bool read_phases(struct model *model, const char *at)
{
	if (!read_number(&at, ':', &model->phase) || model->phase <= 0 || !read_set(model, &at) ||
	    *at)
		return false;
	for (unsigned i = 1; i < PHASES; i++)
		add_set(model, model->size[1], model->rate[1]);
	return true;
}

static const struct {
	const char *prefix;
	bool (*read)(struct model *model, const char *at);
} kinds[] = {
	{"uniform:", read_uniform},
	{"zipf:", read_zipf},
	{"sets:", read_sets},
	{"phases:", read_phases},
};

static int read_spec(struct model *model, const char *spec, struct error **err)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strncmp(spec, kinds[i].prefix, strlen(kinds[i].prefix)) == 0 &&
		    kinds[i].read(model, spec + strlen(kinds[i].prefix)))
			return 0;
	return error_set(err, EINVAL,
			 "model: found \"%s\", expected uniform:WRITES, zipf:WRITES:EXPONENT, "
			 "sets:SIZE@RATE,..., phases:SECONDS:SIZE@RATE or trace:FILE",
			 spec);
}

/* ---- Which unit is of which class ---- */

static int place_sets(struct model *model, struct error **err)
{
	uint64_t at = 0;

	for (unsigned s = 1; s <= model->sets; s++) {
		if (model->size[s] > model->units - at)
			return error_set(err, EINVAL, "model: its sets are larger than the memory");
		memset(model->class_of + at, (int)s, model->size[s]);
		at += model->size[s];
	}
	for (uint64_t i = model->units - 1; i > 0; i--) {
		uint64_t other = random_below(&model->random, i + 1);
		uint8_t kept = model->class_of[i];

		model->class_of[i] = model->class_of[other];
		model->class_of[other] = kept;
	}
	for (uint64_t i = 0; i < model->units; i++)
		if (model->rate[model->class_of[i]] > 0)
			bit_set(model->active, i);
	return 0;
}

static int create_parts(struct model *model, const char *spec, struct error **err)
{
	bool trace = strncmp(spec, "trace:", 6) == 0;

	if (trace) {
		model->replay = replay_create(spec + 6, model->seed, err);
		if (!model->replay)
			return -1;
		model->units = replay_pages(model->replay);
		model->memory = model->units * replay_page_size(model->replay);
	} else if (model->units == 0) {
		return error_set(err, EINVAL, "model: found no memory, expected a guest's size");
	} else if (read_spec(model, spec, err) < 0) {
		return -1;
	}
	model->class_of = calloc(model->units, 1);
	model->active = calloc(words_of(model->units), sizeof(*model->active));
	if (!model->class_of || !model->active)
		return error_set(err, ENOMEM, "model: no memory for %llu units",
				 (unsigned long long)model->units);
	if (!trace)
		return place_sets(model, err);
	replay_active(model->replay, model->active);
	return 0;
}

struct model *model_create(const char *spec, uint64_t memory, const struct model_link *link,
			   uint64_t units_most, uint64_t seed, struct error **err)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model) {
		error_set(err, ENOMEM, "model: no memory");
		return NULL;
	}
	model->seed = seed;
	model->link = *link;
	model->scale = 1;
	while (memory / PAGE / model->scale > units_most)
		model->scale *= 2;
	model->units = memory / PAGE / model->scale;
	model->memory = model->units * model->scale * PAGE;
	random_seed(&model->random, seed);
	if (create_parts(model, spec, err) < 0) {
		model_destroy(model);
		return NULL;
	}
	model_rewind(model);
	return model;
}

/* ---- Writes ---- */

/* The part of [from, to) in which phase `which` of PHASES is on. */
static double time_in_phase(double phase, unsigned which, double from, double to)
{
	double cycle = phase * PHASES, sum = 0;
	uint64_t first = (uint64_t)(from / cycle), last = (uint64_t)(to / cycle);

	for (uint64_t turn = first; turn <= last; turn++) {
		double start = (double)turn * cycle + phase * which;
		double begin = start > from ? start : from;
		double end = start + phase < to ? start + phase : to;

		if (end > begin)
			sum += end - begin;
	}
	return sum;
}

bool model_written(struct model *model, uint64_t unit, double from, double to)
{
	unsigned class = model->class_of[unit];
	double time = to - from;

	if (!(time > 0))
		return false;
	if (model->replay)
		return replay_written(model->replay, unit, from, to);
	if (model->phase > 0)
		time = time_in_phase(model->phase, class - 1, from, to);
	return random_unit(&model->random) < -expm1(-model->rate[class] * time);
}
