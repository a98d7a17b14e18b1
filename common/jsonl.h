/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_JSONL_H
#define COMMON_JSONL_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>

#include "common/error.h"

/*
 * One JSON object a line: control channels, local sockets, guest orders, QMP. The peer is not
 * trusted: a line is bounded, nesting is bounded by jansson, anything but an object is an error.
 */
struct jsonl; /* a reader: the bytes of a stream that have not yet made a line */

/* most: the longest line accepted, bytes. */
struct jsonl *jsonl_create(size_t most);
void jsonl_destroy(struct jsonl *reader); /* takes NULL */

/*
 * The next object from fd, waiting until deadline_ns (clock_ns() time; INT64_MAX: for ever).
 * NULL with code ETIMEDOUT when it passes, ECONNRESET when the stream ends. The caller's to
 * decref. May be used on blocking and non-blocking descriptors.
 */
json_t *jsonl_read(struct jsonl *reader, int fd, int64_t deadline_ns, struct error **err);

/* Bytes that came by another way than a descriptor. jsonl_next: NULL and no error: none whole. */
int jsonl_feed(struct jsonl *reader, const void *data, size_t size, struct error **err);
json_t *jsonl_next(struct jsonl *reader, struct error **err);

/* Writes one line, waiting (poll) on a full non-blocking descriptor until deadline_ns. */
int jsonl_write(int fd, const json_t *object, int64_t deadline_ns, struct error **err);

/* Fields with their errors: "field NAME: found ..., expected a string". Borrowed results. */
const char *json_get_string(const json_t *object, const char *key, struct error **err);
int json_get_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *value,
		 struct error **err);

#endif
