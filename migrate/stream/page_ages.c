/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/page_ages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NONE	UINT32_MAX
#define OLD	AGES_SLOTS /* and older */
#define AGES	(AGES_SLOTS + 1)
#define CLASSES 10 /* of former lives: not known; 0 slots; 1; 2, 3; 4 to 7; ... 128 and more */
#define LISTS	(CLASSES * AGES)
#define GUESS	8.0 /* K: slots seen that a guess is worth */
#define FORGET	64  /* slots, after which what was seen counts half */

struct aged {
	uint32_t written : 28; /* slot in which it was, from 1; 0: not known */
	uint32_t class : 4;    /* of its former life */
	uint32_t list;	       /* that it is in, from 1; 0: none */
	uint32_t next, previous;
};

struct list {
	uint32_t first, last;
};

/* Of all pages of one class of former lives, by age in slots, from there to the next. */
struct table {
	double written[AGES]; /* pages that were, at that age */
	double seen[AGES];    /* slots for which pages of that age were seen to last */
	double more[AGES];    /* to be added to seen, from that age on */
	double stays[AGES];   /* slots that it is expected to last */
};

struct page_ages {
	int64_t slot_ns;
	uint32_t slot; /* now, from AGES + 1, so that a page may be older than all */
	int64_t slot_began_ns;
	struct aged *page;
	struct list list[LISTS]; /* a ring of slots for each class, and one of old pages */
	struct table table[CLASSES];
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
	a->slot = AGES + 1;
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

/* ---- Ages ---- */

static unsigned age_of(const struct page_ages *a, uint64_t page)
{
	uint32_t written = a->page[page].written;
	uint32_t age = a->slot - written;

	return written == 0 || age >= OLD ? OLD : age;
}

static unsigned class_of_life(unsigned slots)
{
	unsigned class = 1;

	for (; slots > 0 && class < CLASSES - 1; slots /= 2)
		class ++;
	return class;
}

/* The shortest life of that class. */
static unsigned least_life(unsigned class)
{
	return class > 1 ? 1u << (class - 2) : 0;
}

/* ---- The life tables ---- */

static void add_seen(struct table *t)
{
	double more = 0;

	for (unsigned i = 0; i < AGES; i++) {
		more += t->more[i];
		t->more[i] = 0;
		t->seen[i] += more;
	}
}

static void expect(struct table *t, unsigned class)
{
	const double goes_on = 1 - 1.0 / AGES_HORIZON;
	double next = 0;

	add_seen(t);
	for (unsigned i = AGES; i-- > 0;) {
		double guess = 1.0 / (i + 2 + least_life(class));
		double h = (t->written[i] + GUESS * guess) / (t->seen[i] + GUESS);
		double stay = (1 - (h < 1 ? h : 1)) * goes_on;

		next = t->stays[i] = i == OLD ? stay / (1 - stay) : stay * (1 + next);
	}
}

static void forget(struct table *t)
{
	for (unsigned i = 0; i < AGES; i++) {
		t->written[i] /= 2;
		t->seen[i] /= 2;
	}
}

/* The page lived on, for that long until now. Returns the age that it had in the middle of it. */
static unsigned note_life(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	struct table *t = &a->table[a->page[page].class];
	unsigned age = age_of(a, page), from;
	int64_t slots = since_ns / a->slot_ns;

	if (age == OLD || slots == 0) {
		t->seen[age] += (double)since_ns / (double)a->slot_ns;
		return age;
	}
	from = slots < age ? age - (unsigned)slots : 0;
	t->more[from]++;
	t->more[age]--;
	return from + (age - from) / 2;
}

/* ---- Lists ---- */

static unsigned list_of(const struct page_ages *a, uint64_t page)
{
	const struct aged *p = &a->page[page];

	return p->class * AGES + (age_of(a, page) == OLD ? OLD : p->written % AGES_SLOTS);
}

/* Of the pages in a list. */
static double stay_of_list(const struct page_ages *a, unsigned list)
{
	unsigned place = list % AGES;
	unsigned age = place == OLD ? OLD : (a->slot - place) % AGES_SLOTS;

	return a->table[list / AGES].stays[age];
}

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

static void list_page(struct page_ages *a, uint32_t page)
{
	unsigned list = list_of(a, page);

	append(a, page, list);
	if (a->best < LISTS && stay_of_list(a, list) > stay_of_list(a, a->best))
		a->best = list;
}

/* What has been in a ring for all its slots is old. */
static void make_old(struct page_ages *a, unsigned class, unsigned place)
{
	struct list *l = &a->list[class * AGES + place];

	while (l->first != NONE) {
		uint32_t page = l->first;

		take_out(a, page);
		append(a, page, class * AGES + OLD);
	}
}

/* ---- Time ---- */

static void next_slot(struct page_ages *a)
{
	a->slot++;
	for (unsigned class = 0; class < CLASSES; class ++) {
		make_old(a, class, a->slot % AGES_SLOTS);
		if (a->slot % FORGET == 0)
			forget(&a->table[class]);
	}
}

void page_ages_advance(struct page_ages *a, int64_t now_ns)
{
	int64_t slots = (now_ns - a->slot_began_ns) / a->slot_ns;

	if (a->slot_began_ns == 0) {
		a->slot_began_ns = now_ns;
		slots = 0;
	} else if (slots == 0) {
		return;
	}
	a->slot_began_ns += slots * a->slot_ns;
	for (; slots > 0; slots--)
		next_slot(a);
	for (unsigned class = 0; class < CLASSES; class ++)
		expect(&a->table[class], class);
	a->best = LISTS;
}

/* ---- Pages ---- */

void page_ages_written(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	struct aged *p = &a->page[page];
	bool listed = p->list != 0;

	if (listed)
		take_out(a, (uint32_t)page);
	if (p->written) {
		unsigned life = note_life(a, page, since_ns);

		a->table[p->class].written[life]++;
		p->class = class_of_life(life) & 15;
	}
	p->written = a->slot & 0xfffffff;
	if (listed)
		list_page(a, (uint32_t)page);
}

void page_ages_kept(struct page_ages *a, uint64_t page, int64_t since_ns)
{
	if (a->page[page].written)
		note_life(a, page, since_ns);
}

bool page_ages_known(const struct page_ages *a, uint64_t page)
{
	return a->page[page].written != 0;
}

void page_ages_add(struct page_ages *a, uint64_t page)
{
	if (a->page[page].list)
		return;
	list_page(a, (uint32_t)page);
}

void page_ages_remove(struct page_ages *a, uint64_t page)
{
	if (!a->page[page].list)
		return;
	take_out(a, (uint32_t)page);
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
	const struct table *t = &a->table[a->page[page].class];

	return (int64_t)(t->stays[age_of(a, page)] * (double)a->slot_ns);
}
