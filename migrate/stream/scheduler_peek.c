/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/*
 * Pages that were written again while they were held.
 *
 * The hypervisor cleared a page's dirty bit before it read what it emitted. So what differs from
 * that now was written since, is dirty, and will be emitted again: the version in hand is worth
 * nothing. What is the same may have been written too, with what was there; then it comes again, no
 * harm done.
 */
static bool may_peek(const struct scheduler *s, uint64_t page)
{
	return s->peek_block < s->blocks && page >= s->first_page[s->peek_block] &&
	       page < s->first_page[s->peek_block + 1];
}

static bool peek(const struct scheduler *s, uint64_t page, uint8_t content[QEMU_PAGE])
{
	return s->options.peek(s->options.peek_arg, page - s->first_page[s->peek_block], content);
}

bool scheduler_is_stale(struct scheduler *s, uint64_t page, const uint8_t *content)
{
	uint8_t now[QEMU_PAGE];

	if (!may_peek(s, page) || s->stage != STAGE_ROUNDS || !peek(s, page, now) ||
	    memcmp(now, content, QEMU_PAGE) == 0)
		return false;
	s->owed[page / 64] |= 1ull << page % 64;
	s->owed_count++;
	s->stats.pages_stale++;
	return true;
}

bool scheduler_settle(struct scheduler *s, uint64_t page)
{
	uint64_t bit = 1ull << page % 64;

	if (!(s->owed[page / 64] & bit))
		return false;
	s->owed[page / 64] &= ~bit;
	s->owed_count--;
	return true;
}

int scheduler_fetch_owed(struct scheduler *s, struct error **err)
{
	uint64_t words = s->first_page[s->blocks] / 64 + 1;
	uint8_t content[QEMU_PAGE];

	for (uint64_t word = 0; word < words && s->owed_count > 0; word++)
		while (s->owed[word]) {
			uint64_t page = word * 64 + (uint64_t)__builtin_ctzll(s->owed[word]);

			if (!peek(s, page, content))
				return error_set(err, EIO,
						 "page %" PRIu64 " of the guest's memory was left "
						 "out, did not come again and can't be read",
						 page);
			scheduler_settle(s, page);
			s->stats.pages_fetched++;
			if (scheduler_hold(s, page, content, QUEUE_COLD, err) < 0)
				return -1;
		}
	return 0;
}
