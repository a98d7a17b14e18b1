/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_PAGE_AGES_H
#define STREAM_PAGE_AGES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Which of the pages that a destination lacks is sent next: the one that will stay as it is for
 * longest, as far as can be told from how long it has stayed so by now.
 *
 * A page's age is the time since it was last seen to have been written; its life, that between two
 * writes. Whenever a page is looked at, it has been written since the last look, or it has not:
 * that gives the chance of being written at each age, of all pages together whose last life was
 * about as long, by powers of two (a life table; Kaplan and Meier, "Nonparametric estimation from
 * incomplete observations", JASA 53, 1958, in intervals of one slot). From it follows the time that
 * a page of that age is expected to stay:
 *
 *     stays(a) = (1 - h(a)) (1 + stays(a + 1)),    h(a) = (written(a) + K p(a)) / (seen(a) + K)
 *
 * in slots. p(a) = 1/(a + l + 2), "what has stayed stays", with l the shortest last life of its
 * like, is the guess where nothing was seen yet, and worth K looks; stays() is cut at AGES_HORIZON
 * slots, on average. Of a set that is written in a circle the page written last stays longest; of
 * randomly written ones all stay alike; of hot and cool ones the cool do, and the oldest. Nobody
 * has to know which of these a guest is.
 *
 * Cost: O(1) a call, amortized; some thousand steps once a slot, and when a list runs out. Memory:
 * 16 bytes a page, of those only that were written (others are untouched zeroes), and 100 KiB.
 * Arithmetic only; not thread-safe.
 */
struct page_ages;

#define AGES_SLOTS   256 /* older pages are all of one age */
#define AGES_HORIZON 128
#define AGES_NONE    UINT64_MAX

/* Pages are numbered below `pages`, at most 2^32 - 2 (EFBIG, ENOMEM); slot_ns: above 0. */
struct page_ages *page_ages_create(uint64_t pages, int64_t slot_ns, struct error **err);
void page_ages_destroy(struct page_ages *a); /* takes NULL */

/* Time goes on: never back. Before any call that depends on ages. */
void page_ages_advance(struct page_ages *a, int64_t now_ns);

/* The page was looked at: it was written since the look before, since_ns ago (0: just now), or not.
 */
void page_ages_written(struct page_ages *a, uint64_t page, int64_t since_ns);
void page_ages_kept(struct page_ages *a, uint64_t page, int64_t since_ns);
bool page_ages_known(const struct page_ages *a, uint64_t page); /* it was ever written */

/* The destination lacks the page, or has it. */
void page_ages_add(struct page_ages *a, uint64_t page);
void page_ages_remove(struct page_ages *a, uint64_t page);

/* Of those that are lacking the one to be sent; AGES_NONE: there is none. */
uint64_t page_ages_best(struct page_ages *a);

/* For how long the page is expected to stay as it is. */
int64_t page_ages_stays_ns(const struct page_ages *a, uint64_t page);

#endif
