/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree of YAML nodes into structs, by tables of fields. */
#include "migrate/config/yaml.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"

#define FIELDS_MOST 32 /* of one map, that a message names */
#define WORD_MOST   64 /* longer ones are not compared */

/* The edit distance of Levenshtein, one row at a time. */
static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MOST + 1], width = strlen(b), corner;

	for (size_t i = 0; i <= width; i++)
		row[i] = i;
	for (size_t j = 1; *a; a++, j++) {
		corner = row[0];
		row[0] = j;
		for (size_t i = 1; i <= width; i++) {
			size_t best = corner + (*a != b[i - 1]);

			corner = row[i];
			if (row[i] + 1 < best)
				best = row[i] + 1;
			if (row[i - 1] + 1 < best)
				best = row[i - 1] + 1;
			row[i] = best;
		}
	}
	return row[width];
}

const char *yaml_nearest(const char *text, const char *const *words, size_t count)
{
	const char *best = NULL;
	size_t least = SIZE_MAX, length = strlen(text);

	if (length > WORD_MOST)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t longest = strlen(words[i]), d;

		if (longest > WORD_MOST)
			continue;
		/* Of two that are equally near, the one that begins alike: the end gets lost. */
		d = 2 * distance(text, words[i]) + (words[i][0] != text[0]);
		if (longest < length)
			longest = length;
		if (d < least && d <= longest) {
			least = d;
			best = words[i];
		}
	}
	return best;
}

/* Text of the other side for a message: short, and nothing that a terminal would obey. */
static void quote(const char *text, char *buf, size_t size)
{
	size_t i = 0;

	for (; text[i] && i + 1 < size; i++)
		buf[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	buf[i] = '\0';
}

int yaml_unexpected(struct error **err, const struct yaml_node *node, const char *expected)
{
	char text[WORD_MOST + 1];

	switch (yaml_kind(node)) {
	case YAML_LIST:
		return yaml_error(err, node, "found a list, expected %s", expected);
	case YAML_MAP:
		return yaml_error(err, node, "found a map, expected %s", expected);
	default:
		quote(yaml_text(node), text, sizeof(text));
		return yaml_error(err, node, "found %s%s%s, expected %s", *text ? "\"" : "",
				  *text ? text : "nothing", *text ? "\"" : "", expected);
	}
}

static int unknown_key(const struct yaml_node *node, const struct yaml_field *fields, size_t count,
		       struct error **err)
{
	const char *keys[FIELDS_MOST] = {0};
	const char *nearest;
	char text[256] = "";
	size_t used = 0;

	if (count > FIELDS_MOST)
		count = FIELDS_MOST;
	for (size_t i = 0; i < count; i++)
		keys[i] = fields[i].key;
	nearest = yaml_nearest(yaml_key(node), keys, count);
	if (nearest)
		return yaml_key_error(err, node, "found an unknown key, expected perhaps %s",
				      nearest);
	for (size_t i = 0; i < count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? ", " : "",
					 keys[i]);
	return yaml_key_error(err, node, "found an unknown key, expected one of %s", text);
}

static int read_items(const struct yaml_node *node, const struct yaml_field *field, void *into,
		      struct error **err)
{
	const struct yaml_items *items = field->items;
	size_t count = yaml_count(node), i = 0;
	void *array;

	if (yaml_kind(node) != items->kind)
		return yaml_unexpected(err, node, field->expected);
	if (count == 0 || count > items->most)
		return yaml_error(err, node, "found %zu entries, expected 1 to %zu", count,
				  items->most);
	array = calloc(count, items->item_size);
	if (!array)
		return error_set(err, ENOMEM, "no memory for %zu entries", count);
	memcpy((char *)into + field->offset, &array, sizeof(array));
	memcpy((char *)into + field->count_offset, &count, sizeof(count));
	for (node = yaml_first(node); node; node = yaml_next(node), i++)
		if (items->read(node, (char *)array + i * items->item_size, err) < 0)
			return -1;
	return 0;
}

static int read_field(const struct yaml_node *node, const struct yaml_field *field, void *into,
		      struct error **err)
{
	void *place = (char *)into + field->offset;

	if (field->items)
		return read_items(node, field, into, err);
	if (field->map)
		return field->map(node, place, err);
	if (yaml_kind(node) != YAML_SCALAR || !field->scalar(yaml_text(node), place))
		return yaml_unexpected(err, node, field->expected);
	return 0;
}

int yaml_read_map(const struct yaml_node *map, const struct yaml_field *fields, size_t count,
		  void *into, struct error **err)
{
	if (yaml_kind(map) != YAML_MAP)
		return yaml_unexpected(err, map, "a map");
	for (const struct yaml_node *node = yaml_first(map); node; node = yaml_next(node)) {
		size_t i = 0;

		while (i < count && strcmp(fields[i].key, yaml_key(node)) != 0)
			i++;
		if (i == count)
			return unknown_key(node, fields, count, err);
	}
	for (size_t i = 0; i < count; i++) {
		const struct yaml_node *node = yaml_get(map, fields[i].key);

		if (!node && !fields[i].optional)
			return yaml_missing(err, map, fields[i].key, "found nothing, expected %s",
					    fields[i].expected);
		if (node && read_field(node, &fields[i], into, err) < 0)
			return -1;
	}
	return 0;
}
