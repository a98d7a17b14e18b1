/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_CONFIG_YAML_H
#define MIGRATE_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/*
 * YAML as a tree in which every node knows its place, so that every complaint is one line:
 *     FILE:LINE:COLUMN: KEY: found X, expected Y
 * The text may come from another host and is not trusted: its size, depth and number of nodes are
 * bounded, keys are unique scalars, and anchors, aliases, tags and second documents are refused.
 */
enum yaml_kind {
	YAML_SCALAR,
	YAML_LIST,
	YAML_MAP
};

struct yaml;	  /* a document; owns its nodes */
struct yaml_node; /* lives as long as its document */

#define YAML_TEXT_MOST (1 << 20) /* bytes */

/* name: what errors call the text, usually a path. NULL with *err on anything but one document. */
struct yaml *yaml_parse(const char *name, const char *text, size_t size, struct error **err);
void yaml_destroy(struct yaml *doc); /* takes NULL */

const struct yaml_node *yaml_root(const struct yaml *doc);

enum yaml_kind yaml_kind(const struct yaml_node *node);
const char *yaml_text(const struct yaml_node *node); /* of a scalar; "" for other kinds */
const char *yaml_key(const struct yaml_node *node);  /* in a map; "" elsewhere */
const struct yaml_node *yaml_first(const struct yaml_node *node); /* child, or NULL */
const struct yaml_node *yaml_next(const struct yaml_node *node);  /* sibling, or NULL */
size_t yaml_count(const struct yaml_node *node);		  /* children */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* or NULL */

/* "FILE:LINE:COLUMN: KEY: " and the formatted rest. Returns -1. */
int yaml_error(struct error **err, const struct yaml_node *node, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* The same at the node's key, and for a key that the map lacks. Return -1. */
int yaml_key_error(struct error **err, const struct yaml_node *node, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
int yaml_missing(struct error **err, const struct yaml_node *map, const char *key, const char *fmt,
		 ...) PRINTF_LIKE(4, 5);

/* yaml_error saying "found WHAT IS THERE, expected EXPECTED". Returns -1. */
int yaml_unexpected(struct error **err, const struct yaml_node *node, const char *expected);

/*
 * Children that become an array: of a list (YAML_LIST), or of a map of named things (YAML_MAP).
 * There must be 1 to `most` of them. read fills one zeroed item, and may ask for yaml_key(node).
 */
struct yaml_items {
	enum yaml_kind kind;
	size_t most;
	size_t item_size;
	int (*read)(const struct yaml_node *node, void *item, struct error **err);
};

/*
 * One key of a map that becomes a struct. Exactly one of the last three is set:
 *   scalar  answers false when the text is not what `expected` says;
 *   map     reads whatever node stands there, and makes its own errors;
 *   items   an array of its own (a pointer at offset, a size_t at count_offset). Both are set
 *           before the first item is read, so that the struct's owner can free what a failure
 *           leaves half-made.
 */
struct yaml_field {
	const char *key;
	const char *expected; /* ends the sentence "found X, expected ..." */
	bool optional;	      /* when missing, the struct keeps what it has */
	size_t offset;	      /* of the field in the struct */
	size_t count_offset;
	bool (*scalar)(const char *text, void *into);
	int (*map)(const struct yaml_node *node, void *into, struct error **err);
	const struct yaml_items *items;
};

/* Rows of such a table, for member M of struct T. */
#define YAML_VALUE(T, M, KEY, READ, EXPECTED)                                                      \
	{                                                                                          \
		.key = KEY, .expected = EXPECTED, .offset = offsetof(T, M), .scalar = READ         \
	}
#define YAML_OPTIONAL(T, M, KEY, READ, EXPECTED)                                                   \
	{                                                                                          \
		.key = KEY, .expected = EXPECTED, .offset = offsetof(T, M), .scalar = READ,        \
		.optional = true                                                                   \
	}
#define YAML_ITEMS(T, M, COUNT, KEY, ITEMS, EXPECTED)                                              \
	{                                                                                          \
		.key = KEY, .expected = EXPECTED, .offset = offsetof(T, M),                        \
		.count_offset = offsetof(T, COUNT), .items = &ITEMS                                \
	}

/*
 * Reads a map into a struct by its fields. A key that is not among them is an error which names
 * the nearest one that is.
 */
int yaml_read_map(const struct yaml_node *map, const struct yaml_field *fields, size_t count,
		  void *into, struct error **err);

/* Which of the words is nearest to text (edit distance, at most half of it wrong); or NULL. */
const char *yaml_nearest(const char *text, const char *const *words, size_t count);

#endif
