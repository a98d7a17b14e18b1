/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_sample.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

int page_sample_start(struct page_sample *sample, uint64_t pages, struct error **err)
{
	*sample = (struct page_sample){.share = 1};
	random_seed(&sample->random, 1);
	sample->in = calloc(pages / 64 + 1, sizeof(*sample->in));
	if (!sample->in)
		return error_set(err, ENOMEM, "no memory to follow %" PRIu64 " pages", pages);
	return 0;
}

void page_sample_clear(struct page_sample *sample)
{
	free(sample->in);
	sample->in = NULL;
}

bool page_sample_add(struct page_sample *sample, uint64_t page)
{
	uint64_t place;

	if (page_sample_has(sample, page))
		return false;
	sample->in[page / 64] |= 1ull << page % 64;
	place = sample->known++;
	if (place < SAMPLE_PAGES)
		sample->size++;
	else
		place = random_below(&sample->random, sample->known);
	if (place < SAMPLE_PAGES)
		sample->pages[place] = page;
	return true;
}

double page_sample_share(unsigned hits, unsigned n)
{
	double share = n ? (double)hits / n : 1;
	double error = n ? sqrt(share * (1 - share) / n) : 0;

	return share + error < 1 ? share + error : 1;
}
