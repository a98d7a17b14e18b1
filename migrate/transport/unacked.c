/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/unacked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAST ((size_t)64 << 10)

void unacked_clear(struct unacked *u)
{
	free(u->bytes);
	*u = (struct unacked){0};
}

/* Where byte `at` stands, and how many stand there without a turn. */
static size_t place_of(const struct unacked *u, uint64_t at, size_t *straight)
{
	size_t place = (size_t)(at & (u->size - 1));

	*straight = u->size - place;
	return place;
}

void unacked_get(const struct unacked *u, uint64_t at, uint8_t *out, size_t n)
{
	size_t straight, place;

	if (!n)
		return;
	place = place_of(u, at, &straight);
	if (straight > n)
		straight = n;
	memcpy(out, u->bytes + place, straight);
	memcpy(out + straight, u->bytes, n - straight);
}

static int grow(struct unacked *u, size_t needed, struct error **err)
{
	struct unacked larger = {.size = u->size ? u->size : LEAST, .start = u->start};
	uint64_t at = u->start;

	while (larger.size < needed)
		larger.size *= 2;
	larger.bytes = malloc(larger.size);
	if (!larger.bytes)
		return error_set(err, ENOMEM, "no memory for %zu bytes on their way", needed);
	while (at < u->end) {
		size_t straight, place = place_of(&larger, at, &straight);
		size_t n = (size_t)(u->end - at);

		n = n < straight ? n : straight;
		unacked_get(u, at, larger.bytes + place, n);
		at += n;
	}
	larger.end = u->end;
	free(u->bytes);
	*u = larger;
	return 0;
}

int unacked_put(struct unacked *u, const uint8_t *bytes, size_t n, struct error **err)
{
	size_t straight, place, kept = (size_t)(u->end - u->start);

	if (kept + n > u->size && grow(u, kept + n, err) < 0)
		return -1;
	place = place_of(u, u->end, &straight);
	if (straight > n)
		straight = n;
	memcpy(u->bytes + place, bytes, straight);
	memcpy(u->bytes, bytes + straight, n - straight);
	u->end += n;
	return 0;
}

void unacked_drop(struct unacked *u, uint64_t upto)
{
	u->start = upto;
}
