/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/disk/drbd_gi.h"

#include <assert.h>
#include <stddef.h>

#include "common/cleanup.h"

#define JUST_CREATED 4 /* as drbdmeta makes it: never had data */

static const char *const copy_names[] = {
	[DRBD_COPY_NONE] = "nothing",
	[DRBD_COPY_CHANGES] = "changes only",
	[DRBD_COPY_FULL] = "everything",
	[DRBD_COPY_NO_DATA] = "no data here",
	[DRBD_COPY_BACKWARDS] = "the other side is newer",
	[DRBD_COPY_SPLIT] = "split brain",
	[DRBD_COPY_STRANGERS] = "unrelated data",
};
static_assert(ARRAY_SIZE(copy_names) == DRBD_COPIES, "each outcome has a name");

const char *drbd_copy_name(enum drbd_copy copy)
{
	return copy_names[copy];
}

/* 1 to 16 hexadecimal digits and the colon after them. */
static bool take_hex(const char **text, uint64_t *value)
{
	int digits = 0;

	for (*value = 0;; digits++, (*text)++) {
		char c = **text;
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'A' && c <= 'F')
			digit = (unsigned)(c - 'A' + 10);
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a' + 10);
		else
			break;
		if (digits == 16)
			return false;
		*value = *value << 4 | digit;
	}
	return digits > 0 && *(*text)++ == ':';
}

/* Later versions may add flags; these are not ours to know. */
static bool take_flag(const char **text, bool last, bool *flag)
{
	char c = *(*text)++;
	char end;

	if (c != '0' && c != '1')
		return false;
	*flag = c == '1';
	end = **text;
	if (last)
		return end == '\0' || end == '\n' || end == ':';
	(*text)++;
	return end == ':';
}

bool drbd_gi_parse(const char *text, struct drbd_gi *gi)
{
	struct drbd_gi g = {0};
	uint64_t *const ids[] = {&g.current, &g.bitmap, &g.history[0], &g.history[1]};
	bool *const flags[] = {&g.consistent, &g.up_to_date,	&g.primary,	   &g.connected,
			       &g.full_sync,  &g.peer_outdated, &g.crashed_primary};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		if (!take_hex(&text, ids[i]))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (!take_flag(&text, i + 1 == ARRAY_SIZE(flags), flags[i]))
			return false;
	*gi = g;
	return true;
}

static uint64_t id(uint64_t with_role)
{
	return with_role & ~(uint64_t)1;
}

static bool same(uint64_t a, uint64_t b)
{
	return id(a) == id(b);
}

static bool has_data(const struct drbd_gi *gi)
{
	return id(gi->current) != 0 && id(gi->current) != JUST_CREATED;
}

static bool in_history(const struct drbd_gi *gi, uint64_t wanted)
{
	return same(gi->history[0], wanted) || same(gi->history[1], wanted);
}

/* Whether something that both once were is in their past. */
static bool common_past(const struct drbd_gi *a, const struct drbd_gi *b)
{
	const uint64_t past_a[] = {a->bitmap, a->history[0], a->history[1]};
	const uint64_t past_b[] = {b->bitmap, b->history[0], b->history[1]};

	for (size_t i = 0; i < ARRAY_SIZE(past_a); i++)
		for (size_t k = 0; k < ARRAY_SIZE(past_b); k++)
			if (same(past_a[i], past_b[k]) && id(past_a[i]) != 0 &&
			    id(past_a[i]) != JUST_CREATED)
				return true;
	return false;
}

/*
 * Both have the same current identifier. Who was Primary when its power went may have written
 * what the other one never got, and has that in its activity log.
 */
static enum drbd_copy judge_equals(const struct drbd_gi *source, const struct drbd_gi *target)
{
	if (target->crashed_primary)
		return source->crashed_primary ? DRBD_COPY_SPLIT : DRBD_COPY_BACKWARDS;
	return source->crashed_primary ? DRBD_COPY_CHANGES : DRBD_COPY_NONE;
}

enum drbd_copy drbd_gi_judge(const struct drbd_gi *source, const struct drbd_gi *target)
{
	if (!has_data(source))
		return DRBD_COPY_NO_DATA;
	if (!has_data(target))
		return DRBD_COPY_FULL;
	if (same(source->current, target->current))
		return judge_equals(source, target);
	if (same(source->current, target->bitmap) || in_history(target, source->current))
		return DRBD_COPY_BACKWARDS;
	if (same(source->bitmap, target->current))
		return DRBD_COPY_CHANGES;
	if (in_history(source, target->current))
		return DRBD_COPY_FULL;
	return common_past(source, target) ? DRBD_COPY_SPLIT : DRBD_COPY_STRANGERS;
}
