/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_HELD_RIG_H
#define FUZZ_HELD_RIG_H

/* Pages that a decoder has offered, the same in each run, whatever key their digests were made
 * with. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "migrate/codec/known_pages.h"
#include "tests/fuzz/rig.h"

#define RIG_HELD 8u

static inline void rig_held_page(uint8_t content[4096], unsigned page)
{
	memset(content, 0, 4096);
	for (unsigned i = 0; i < 4096; i += 16 + page)
		content[i] = (uint8_t)(page + i / 64);
}

/* Offered whole, to `known` too if it is not NULL. */
static inline struct held_pages *rig_hold(struct known_pages *known)
{
	uint8_t content[4096], offer[1024];
	int fd = memfd_create("held", MFD_CLOEXEC);
	struct held_pages *held;
	size_t n, used;

	for (unsigned i = 0; i < RIG_HELD; i++) {
		rig_held_page(content, i);
		rig_check(pwrite(fd, content, sizeof(content), (off_t)i * 4096) == 4096);
	}
	held = held_pages_create(&(struct held_file){fd, 0, RIG_HELD}, 1, RIG_HELD, NULL);
	rig_check(held);
	while ((n = held_pages_offer(held, offer, sizeof(offer))) > 0)
		rig_check(!known || known_pages_feed(known, offer, n, &used, NULL) == 0);
	return held;
}

static inline int rig_take(void *held, uint64_t page, uint8_t *content, struct error **err)
{
	return held_pages_take(held, page, content, err);
}

#endif
