/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/cutter.h"

#include <string.h>

static int pass_on(struct cutter *c, const struct cutter_calls *calls, void *arg,
		   const uint8_t *bytes, size_t *n, struct error **err)
{
	if (c->pass != UINT64_MAX) {
		if (*n > c->pass)
			*n = (size_t)c->pass;
		c->pass -= *n;
	}
	c->offset += *n;
	return calls->pass(arg, bytes, *n, err);
}

/* The item's bytes are complete. */
static int take_item(struct cutter *c, const struct cutter_calls *calls, void *arg,
		     const uint8_t *bytes, struct error **err)
{
	size_t n = c->need;
	int taken = calls->item(arg, bytes, err);

	if (taken < 0)
		return -1;
	c->held = 0;
	c->offset += n;
	return taken ? 0 : calls->pass(arg, bytes, n, err);
}

/* What of the n bytes the present item takes: *n. */
static int take_some(struct cutter *c, const struct cutter_calls *calls, void *arg,
		     const uint8_t *bytes, size_t *n, struct error **err)
{
	if (c->pass > 0)
		return pass_on(c, calls, arg, bytes, n, err);
	if (c->held == 0 && *n >= c->need) {
		*n = c->need;
		return take_item(c, calls, arg, bytes, err);
	}
	if (*n > c->need - c->held)
		*n = c->need - c->held;
	memcpy(c->hold + c->held, bytes, *n);
	c->held += *n;
	return c->held == c->need ? take_item(c, calls, arg, c->hold, err) : 0;
}

int cutter_feed(struct cutter *c, const struct cutter_calls *calls, void *arg, const uint8_t *bytes,
		size_t n, struct error **err)
{
	while (n) {
		size_t took = n;

		if (take_some(c, calls, arg, bytes, &took, err) < 0) {
			c->failed = true;
			return -1;
		}
		bytes += took;
		n -= took;
	}
	return 0;
}
