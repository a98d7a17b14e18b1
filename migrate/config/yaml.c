/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * libfyaml's parser gives events; each becomes at most one node, attached below the innermost open
 * list or map. The tree belongs to one list of all nodes, so it is freed without recursion and a
 * half-built one like a whole one. Reading the tree into structs is yaml_read.c.
 */
#include "migrate/config/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libfyaml.h>

#include "common/cleanup.h"

#define DEPTH_MOST 16
#define NODES_MOST 10000

/* From 1; line 0: not known. */
struct place {
	int line, column;
};

struct yaml_node {
	const struct yaml *doc;
	struct yaml_node *parent, *first, *last, *next;
	struct yaml_node *older; /* the list of all */
	enum yaml_kind kind;
	struct place place, key_place;
	size_t index; /* among its siblings */
	size_t children;
	char *key, *text;
};

struct yaml {
	char *name;
	struct yaml_node *root, *newest;
	size_t nodes;
};

/* What is known between two events. */
struct builder {
	struct yaml *doc;
	struct yaml_node *open; /* the innermost list or map that has not ended */
	char *key;		/* of the map that is open; waits for its value */
	struct place key_place;
	int depth;
	bool ended; /* a document was read to its end */
};

static struct place place_of(const struct fy_mark *at)
{
	return at ? (struct place){at->line + 1, at->column + 1} : (struct place){0};
}

static int refuse(struct error **err, const struct yaml *doc, const struct fy_mark *at,
		  const char *why)
{
	return error_set(err, EINVAL, "%s:%d:%d: %s", doc->name, at ? at->line + 1 : 1,
			 at ? at->column + 1 : 1, why);
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, const struct fy_mark *at,
				  struct error **err)
{
	struct yaml_node *node, *parent = b->open;

	if (b->doc->nodes >= NODES_MOST) {
		refuse(err, b->doc, at, "too many values");
		return NULL;
	}
	node = calloc(1, sizeof(*node));
	if (!node) {
		error_set(err, ENOMEM, "%s: out of memory", b->doc->name);
		return NULL;
	}
	node->doc = b->doc;
	node->kind = kind;
	/* A value that is left out has no place: its key's is the nearest. */
	node->place = at ? place_of(at) : b->key_place;
	node->older = b->doc->newest;
	b->doc->newest = node;
	b->doc->nodes++;

	node->key_place = b->key_place;
	node->key = steal_ptr(b->key);
	node->parent = parent;
	if (!parent) {
		b->doc->root = node;
		return node;
	}
	node->index = parent->children++;
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	return node;
}

static int take_key(struct builder *b, char *text, const struct fy_mark *at, struct error **err)
{
	if (yaml_get(b->open, text)) {
		char why[128];

		snprintf(why, sizeof(why), "%.64s: this key is there twice", text);
		free(text);
		return refuse(err, b->doc, at, why);
	}
	b->key = text;
	b->key_place = place_of(at);
	return 0;
}

static int take_scalar(struct builder *b, struct fy_event *event, const struct fy_mark *at,
		       struct error **err)
{
	size_t size = 0;
	const char *data = fy_token_get_text(event->scalar.value, &size);
	struct yaml_node *node;
	char *text;

	if (data && memchr(data, '\0', size))
		return refuse(err, b->doc, at, "a NUL character");
	text = strndup(data ? data : "", size);
	if (!text)
		return error_set(err, ENOMEM, "%s: out of memory", b->doc->name);
	if (b->open && b->open->kind == YAML_MAP && !b->key)
		return take_key(b, text, at, err);
	node = new_node(b, YAML_SCALAR, at, err);
	if (!node) {
		free(text);
		return -1;
	}
	node->text = text;
	return 0;
}

static int open_node(struct builder *b, enum yaml_kind kind, const struct fy_mark *at,
		     struct error **err)
{
	if (b->open && b->open->kind == YAML_MAP && !b->key)
		return refuse(err, b->doc, at, "a list or map as a key, expected a word");
	if (++b->depth > DEPTH_MOST)
		return refuse(err, b->doc, at, "lists and maps in one another more than 16 deep");
	b->open = new_node(b, kind, at, err);
	return b->open ? 0 : -1;
}

static int take_event(struct builder *b, struct fy_event *event, struct error **err)
{
	const struct fy_mark *at = fy_event_start_mark(event);

	switch (event->type) {
	case FYET_DOCUMENT_START:
		return b->ended ? refuse(err, b->doc, at, "a second document, expected one") : 0;
	case FYET_DOCUMENT_END:
		b->ended = true;
		return 0;
	case FYET_SCALAR:
		if (event->scalar.anchor || event->scalar.tag)
			return refuse(err, b->doc, at, "anchors and tags are not taken");
		return take_scalar(b, event, at, err);
	case FYET_MAPPING_START:
	case FYET_SEQUENCE_START:
		/* The two structs begin with the same members. */
		if (event->mapping_start.anchor || event->mapping_start.tag)
			return refuse(err, b->doc, at, "anchors and tags are not taken");
		return open_node(b, event->type == FYET_MAPPING_START ? YAML_MAP : YAML_LIST, at,
				 err);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		if (!b->open)
			return refuse(err, b->doc, at,
				      "the end of a list or map that did not begin");
		b->open = b->open->parent;
		b->depth--;
		return 0;
	case FYET_ALIAS:
		return refuse(err, b->doc, at, "aliases are not taken");
	default:
		return 0;
	}
}

/* The parser's own complaint, in our form. */
static int syntax_error(struct fy_diag *diag, const struct yaml *doc, struct error **err)
{
	void *iterator = NULL;
	const struct fy_diag_error *why = fy_diag_errors_iterate(diag, &iterator);

	if (!why)
		return error_set(err, EINVAL, "%s:1:1: not YAML", doc->name);
	return error_set(err, EINVAL, "%s:%d:%d: not YAML: %s", doc->name, why->line, why->column,
			 why->msg);
}

static int build(struct yaml *doc, struct fy_parser *parser, struct fy_diag *diag,
		 struct error **err)
{
	struct builder b = {.doc = doc};
	struct fy_event *event;
	int status = 0;

	while (status == 0 && (event = fy_parser_parse(parser))) {
		status = take_event(&b, event, err);
		fy_parser_event_free(parser, event);
	}
	free(b.key);
	if (status < 0)
		return -1;
	if (fy_diag_got_error(diag) || fy_parser_get_stream_error(parser))
		return syntax_error(diag, doc, err);
	if (!doc->root || !b.ended)
		return error_set(err, EINVAL, "%s:1:1: found nothing, expected a map", doc->name);
	return 0;
}

struct yaml *yaml_parse(const char *name, const char *text, size_t size, struct error **err)
{
	struct fy_diag_cfg diag_cfg;
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE};
	struct fy_parser *parser = NULL;
	struct yaml *doc;
	int status = -1;

	if (size > YAML_TEXT_MOST) {
		error_set(err, EFBIG, "%s: %zu bytes, expected at most %d", name, size,
			  YAML_TEXT_MOST);
		return NULL;
	}
	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.level = FYET_ERROR;
	cfg.diag = fy_diag_create(&diag_cfg);
	doc = calloc(1, sizeof(*doc));
	if (doc)
		doc->name = strdup(name);
	if (cfg.diag) {
		fy_diag_set_collect_errors(cfg.diag, true);
		parser = fy_parser_create(&cfg);
	}
	if (!doc || !doc->name || !parser)
		error_set(err, ENOMEM, "%s: out of memory", name);
	else if (fy_parser_set_string(parser, text, size) < 0)
		error_set(err, EINVAL, "%s: can't be parsed", name);
	else
		status = build(doc, parser, cfg.diag, err);
	fy_parser_destroy(parser);
	fy_diag_destroy(cfg.diag);
	if (status == 0)
		return doc;
	yaml_destroy(doc);
	return NULL;
}

void yaml_destroy(struct yaml *doc)
{
	if (!doc)
		return;
	while (doc->newest) {
		struct yaml_node *node = doc->newest;

		doc->newest = node->older;
		free(node->key);
		free(node->text);
		free(node);
	}
	free(doc->name);
	free(doc);
}

const struct yaml_node *yaml_root(const struct yaml *doc)
{
	return doc->root;
}

enum yaml_kind yaml_kind(const struct yaml_node *node)
{
	return node->kind;
}

const char *yaml_text(const struct yaml_node *node)
{
	return node->text ? node->text : "";
}

const char *yaml_key(const struct yaml_node *node)
{
	return node->key ? node->key : "";
}

const struct yaml_node *yaml_first(const struct yaml_node *node)
{
	return node->first;
}

const struct yaml_node *yaml_next(const struct yaml_node *node)
{
	return node->next;
}

size_t yaml_count(const struct yaml_node *node)
{
	return node->children;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	for (const struct yaml_node *child = map->first; child; child = child->next)
		if (child->key && strcmp(child->key, key) == 0)
			return child;
	return NULL;
}

/* "hosts.east.addresses" or "disks[0].format": the way from the root. Cut off when too long. */
static void write_way(const struct yaml_node *node, char *buf, size_t size)
{
	const struct yaml_node *way[DEPTH_MOST + 1];
	size_t depth = 0, used = 0;

	buf[0] = '\0';
	for (; node->parent && depth < ARRAY_SIZE(way); node = node->parent)
		way[depth++] = node;
	while (depth-- > 0 && used < size) {
		node = way[depth];
		if (node->key)
			used += (size_t)snprintf(buf + used, size - used, "%s%.64s",
						 used ? "." : "", node->key);
		else
			used += (size_t)snprintf(buf + used, size - used, "[%zu]", node->index);
	}
}

static int complain(struct error **err, const struct yaml_node *node, struct place place,
		    const char *key, const char *fmt, va_list ap)
{
	char way[256], what[512];

	write_way(node, way, sizeof(way));
	vsnprintf(what, sizeof(what), fmt, ap);
	return error_set(err, EINVAL, "%s:%d:%d: %s%s%s%s%s", node->doc->name,
			 place.line ? place.line : 1, place.column ? place.column : 1, way,
			 *way && *key ? "." : "", key, *way || *key ? ": " : "", what);
}

int yaml_error(struct error **err, const struct yaml_node *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(err, node, node->place, "", fmt, ap);
	va_end(ap);
	return -1;
}

int yaml_key_error(struct error **err, const struct yaml_node *node, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(err, node, node->key_place, "", fmt, ap);
	va_end(ap);
	return -1;
}

int yaml_missing(struct error **err, const struct yaml_node *map, const char *key, const char *fmt,
		 ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(err, map, map->place, key, fmt, ap);
	va_end(ap);
	return -1;
}
