/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_BYTE_QUEUE_H
#define STREAM_BYTE_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Bytes in order of arrival, in one piece. Begins as {0}. */
struct byte_queue {
	uint8_t *data;
	size_t start, end, size;
};

static inline size_t byte_queue_length(const struct byte_queue *q)
{
	return q->end - q->start;
}

/* Room for n bytes at the end, to be filled and then counted by q->end; NULL: no memory. */
static inline uint8_t *byte_queue_reserve(struct byte_queue *q, size_t n)
{
	if (q->size - q->end >= n)
		return q->data + q->end;
	if (q->start > 0) {
		memmove(q->data, q->data + q->start, byte_queue_length(q));
		q->end -= q->start;
		q->start = 0;
	}
	if (q->size - q->end < n) {
		size_t size = 2 * q->size > q->end + n ? 2 * q->size : q->end + n;
		uint8_t *data = realloc(q->data, size);

		if (!data)
			return NULL;
		q->data = data;
		q->size = size;
	}
	return q->data + q->end;
}

static inline void byte_queue_consume(struct byte_queue *q, size_t n)
{
	q->start += n;
	if (q->start == q->end)
		q->start = q->end = 0;
}

static inline void byte_queue_clear(struct byte_queue *q)
{
	free(q->data);
	*q = (struct byte_queue){0};
}

#endif
