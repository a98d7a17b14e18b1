/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/page_ages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NONE   UINT32_MAX
#define OLD    AGES_SLOTS /* the list of pages that are older than the ring */
#define LISTS  (AGES_SLOTS + 1)
#define GUESS  8.0 /* K: looks that a guess is worth */
#define FORGET 64  /* slots, after which what was seen counts half */

struct aged {
	uint32_t written; /* slot in which it was, from 1; 0: not known */
	uint32_t list;	  /* that it is in, from 1; 0: none */
	uint32_t next, previous;
};

struct list {
	uint32_t first, last;
};

struct page_ages {
	int64_t slot_ns;
	uint32_t slot; /* now, from AGES_SLOTS + 1, so that a page may be older than all */
	int64_t slot_began_ns;
	uint64_t count;
	struct aged *page;
	struct list list[LISTS];

	/* by age in slots, from there to the next; OLD: that and above */
	double written[LISTS]; /* pages that were, at that age */
	double seen[LISTS];    /* slots that pages of that age were seen to last */
	double more[LISTS + 1]; /* to be added to seen, from that age on */
	double stays[LISTS];
	unsigned best; /* list of the page to be sent; LISTS: to be looked for */
};

struct page_ages *page_ages_create(uint64_t pages, int64_t slot_ns, struct error **err)
{
	struct page_ages *a;

	if (pages >= NONE) {
		error_set(err, EFBIG, "%" PRIu64 " pages have too many ages: %u at the most", pages,
			  NONE - 1);
		return NULL;
	}
	a = calloc(1, sizeof(*a));
	if (a)
		a->page = calloc(pages, sizeof(*a->page));
	if (!a || !a->page) {
		free(a);
		error_set(err, ENOMEM, "no memory for the ages of %" PRIu64 " pages", pages);
		return NULL;
	}
	a->slot_ns = slot_ns;
	a->slot = AGES_SLOTS + 1;
	for (unsigned i = 0; i < LISTS; i++)
		a->list[i] = (struct list){NONE, NONE};
	a->best = LISTS;
	return a;
}

void page_ages_destroy(struct page_ages *a)
{
	if (!a)
		return;
	free(a->page);
	free(a);
}

/* ---- Lists ---- */

static void append(struct page_ages *a, uint32_t page, unsigned list)
{
	struct list *l = &a->list[list];
	struct aged *p = &a->page[page];

	p->list = list + 1;
	p->next = NONE;
	p->previous = l->last;
	if (l->last == NONE)
		l->first = page;
	else
		a->page[l->last].next = page;
	l->last = page;
}

static void take_out(struct page_ages *a, uint32_t page)
{
	struct aged *p = &a->page[page];
	struct list *l = &a->list[p->list - 1];

	if (p->previous == NONE)
		l->first = p->next;
	else
		a->page[p->previous].next = p->next;
	if (p->next == NONE)
		l->last = p->previous;
	else
		a->page[p->next].previous = p->previous;
	p->list = 0;
}

static unsigned age_of(const struct page_ages *a, uint64_t page)
{
	uint32_t written = a->page[page].written;
	uint32_t age = a->slot - written;

	return written == 0 || age >= OLD ? OLD : age;
}

static unsigned list_of(const struct page_ages *a, uint64_t page)
{
	return age_of(a, page) == OLD ? OLD : a->page[page].written % AGES_SLOTS;
}

/* What has been in the ring for all its slots is old. */
static void make_old(struct page_ages *a, unsigned list)
{
	while (a->list[list].first != NONE) {
		uint32_t page = a->list[list].first;

		take_out(a, page);
		append(a, page, OLD);
	}
}

/* ---- The life table ---- */

static void add_seen(struct page_ages *a)
{
	double more = 0;

	for (unsigned i = 0; i < LISTS; i++) {
		more += a->more[i];
		a->more[i] = 0;
		a->seen[i] += more;
	}
}

static void expect(struct page_ages *a)
{
	const double goes_on = 1 - 1.0 / AGES_HORIZON;

	add_seen(a);
	for (unsigned i = LISTS; i-- > 0;) {
		double h = (a->written[i] + GUESS / (i + 2)) / (a->seen[i] + GUESS);
		double stay = (1 - (h < 1 ? h : 1)) * goes_on;

		a->stays[i] = i == OLD ? stay / (1 - stay) : stay * (1 + a->stays[i + 1]);
	}
}

static void forget(struct page_ages *a)
{
	for (unsigned i = 0; i < LISTS; i++) {
		a->written[i] /= 2;
		a->seen[i] /= 2;
	}
}

void page_ages_advance(struct page_ages *a, int64_t now_ns)
{
	uint64_t slots = (uint64_t)((now_ns - a->slot_began_ns) / a->slot_ns);

	if (a->slot_began_ns == 0) {
		a->slot_began_ns = now_ns;
		expect(a);
		return;
	}
	if (slots == 0)
		return;
	a->slot_began_ns += (int64_t)slots * a->slot_ns;
	for (uint64_t i = 0; i < slots; i++) {
		a->slot++;
		if (i < AGES_SLOTS)
			make_old(a, a->slot % AGES_SLOTS);
		if (a->slot % FORGET == 0)
			forget(a);
	}
	expect(a);
	a->best = LISTS;
}

/* ---- Pages ---- */

/* Of the pages in a list. */
static double stay_of_list(const struct page_ages *a, unsigned list)
{
	return a->stays[list == OLD ? OLD : (a->slot - list) % AGES_SLOTS];
}

static void list_page(struct page_ages *a, uint32_t page)
{
	unsigned list = list_of(a, page);

	append(a, page, list);
	if (a->best < LISTS && stay_of_list(a, list) > stay_of_list(a, a->best))
		a->best = list;
}

/* The page lived on, for that long until now. Returns the age that it had in the middle of it. */
static unsigned note_life(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	unsigned age = age_of(a, page);
	int64_t slots = since_ns / a->slot_ns;
	unsigned from;

	if (age == OLD || slots == 0) {
		a->seen[age] += (double)since_ns / (double)a->slot_ns;
		return age;
	}
	from = slots < age ? age - (unsigned)slots : 0;
	a->more[from]++;
	a->more[age]--;
	return from + (age - from) / 2;
}

void page_ages_written(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	struct aged *p = &a->page[page];
	bool listed = p->list != 0;

	if (p->written)
		a->written[note_life(a, page, since_ns)]++;
	if (listed)
		take_out(a, (uint32_t)page);
	p->written = a->slot;
	if (listed)
		list_page(a, (uint32_t)page);
}

void page_ages_kept(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	if (a->page[page].written)
		note_life(a, page, since_ns);
}

void page_ages_add(struct page_ages *a, uint64_t page)
{
	if (a->page[page].list)
		return;
	list_page(a, (uint32_t)page);
	a->count++;
}

void page_ages_remove(struct page_ages *a, uint64_t page)
{
	if (!a->page[page].list)
		return;
	take_out(a, (uint32_t)page);
	a->count--;
}

bool page_ages_has(const struct page_ages *a, uint64_t page)
{
	return a->page[page].list != 0;
}

uint64_t page_ages_count(const struct page_ages *a)
{
	return a->count;
}

static void find_best(struct page_ages *a)
{
	a->best = LISTS;
	for (unsigned i = 0; i < LISTS; i++)
		if (a->list[i].first != NONE &&
		    (a->best == LISTS || stay_of_list(a, i) > stay_of_list(a, a->best)))
			a->best = i;
}

uint64_t page_ages_best(struct page_ages *a)
{
	if (a->best == LISTS || a->list[a->best].first == NONE)
		find_best(a);
	return a->best == LISTS ? AGES_NONE : a->list[a->best].first;
}

int64_t page_ages_stays_ns(const struct page_ages *a, uint64_t page)
{
	return (int64_t)(a->stays[age_of(a, page)] * (double)a->slot_ns);
}

bool page_ages_known(const struct page_ages *a, uint64_t page)
{
	return a->page[page].written != 0;
}
