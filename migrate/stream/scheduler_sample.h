/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_SCHEDULER_SAMPLE_H
#define STREAM_SCHEDULER_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/random.h"

/*
 * A sample, each page as likely as the other, of a set that grows: the pages that the guest was
 * seen to write (reservoir sampling: Vitter, "Random sampling with a reservoir", algorithm R).
 * What share of the set has a property is then known to a standard error of at most
 * 0.5 / sqrt(SAMPLE_PAGES), whatever the guest's size. A bit for each guest page.
 */
#define SAMPLE_PAGES 512

struct page_sample {
	uint64_t pages[SAMPLE_PAGES];
	unsigned size;	/* of pages[] */
	uint64_t known; /* pages in the set */
	uint64_t *in;	/* a bit for each: it is in the set */
	struct random random;

	/* the caller's: what it found last */
	double share;
	int64_t looked_ns;
};

int page_sample_start(struct page_sample *sample, uint64_t pages, struct error **err);
void page_sample_clear(struct page_sample *sample);

/* Returns whether the page is new to the set. */
bool page_sample_add(struct page_sample *sample, uint64_t page);

static inline bool page_sample_has(const struct page_sample *sample, uint64_t page)
{
	return sample->in && (sample->in[page / 64] >> page % 64 & 1);
}

/* hits of n, as a share, and a standard error more. n 0: 1. */
double page_sample_share(unsigned hits, unsigned n);

#endif
