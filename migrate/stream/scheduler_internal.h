/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_SCHEDULER_INTERNAL_H
#define STREAM_SCHEDULER_INTERNAL_H

#include "common/bucket.h"
#include "hotskip/heat.h"
#include "hotskip/plan.h"
#include "migrate/stream/byte_queue.h"
#include "migrate/stream/page_ages.h"
#include "migrate/stream/page_digest.h"
#include "migrate/stream/page_pool.h"
#include "migrate/stream/scheduler.h"
#include "migrate/stream/scheduler_sample.h"
#include "migrate/stream/stream_format.h"

/* The pool's queues, in the order in which they are sent. */
enum {
	QUEUE_FIRST, /* pages that the destination has no version of */
	QUEUE_COLD,  /* that come again, and may go on */
	QUEUE_HOT    /* from here on: held, by heat_class() */
};

/* A pass of the hypervisor over memory: each page comes once in it at most. */
struct round {
	int64_t began_ns;
	uint64_t again;	 /* pages that came again */
	uint64_t missed; /* of these, that were not held: the link has to carry one more */
	uint64_t first;	 /* of these, that never had before */
	uint64_t blind;	 /* of these, that can't be looked at */
};

#define STUCK_ROUNDS	  4
#define SCHEDULER_IN_VAIN 1.6 /* writes expected: chance of 80 % of at least one */

/* Over the guest's memory, again and again. */
struct walk {
	uint64_t at; /* the next page */
	int64_t began_ns, period_ns,
		least_ns; /* the last turn took so long, and the least allowed */
};

enum scheduler_stage {
	STAGE_SETUP,  /* before the first page */
	STAGE_ROUNDS, /* the guest runs, as far as the stream tells */
	STAGE_LAST,   /* the last pages come: it is paused */
	STAGE_DEVICES /* all pages are out */
};

struct scheduler {
	struct scheduler_options options;
	const struct stream_format *format;
	struct stream_rewriter *stream;
	enum scheduler_stage stage;
	bool finishing; /* scheduler_finish */
	bool all_came;	/* the hypervisor's last page has come */
	bool stream_ended;
	int64_t now_ns; /* of the call that is under way */

	/* guest memory: pages are numbered through all blocks */
	size_t blocks;
	uint64_t first_page[STREAM_BLOCKS_MOST + 1];
	uint64_t *sent;		      /* a bit for each page that ever went on */
	size_t peek_block;	      /* blocks: none */
	struct page_digests *digests; /* of what went on; NULL: no way to look */
	uint64_t blind;		      /* pages with content that can't be looked at */
	struct page_sample sample;    /* of the pages that are written while the guest is moved */
	uint8_t peeked[STREAM_PAGE];  /* the page that was looked at last */

	/* what the destination lacks, where there is a way to look */
	uint64_t *owed; /* a bit for each page */
	uint64_t *told; /* of these, for each that was not written since it came */
	uint64_t owed_count, told_count;
	struct page_ages *ages; /* which of those that are owed is the next */
	uint64_t *seen;		/* how each page looked last; 0: it was not looked at */
	struct walk watch_known, watch_all;
	uint8_t run[SCHEDULER_PEEK_MOST * STREAM_PAGE]; /* pages that a walk looks at */
	struct bucket watching;

	struct heat *heat;
	struct page_pool *pool;

	/* output */
	struct byte_queue out;	 /* on its way */
	struct byte_queue after; /* devices: after the last page */

	/* what it goes by */
	struct scheduler_link link;
	struct bucket reading;
	uint64_t remaining;	  /* as it was said, so at most */
	uint64_t remaining_least; /* less what came since: some of that was under way already */
	unsigned looks;		  /* that the hypervisor took for dirty pages; 0: not told yet */
	int64_t looked_ns, asked_ns;
	int64_t look_period_ns; /* from the look before to the last one, */
	uint64_t look_bytes;	/* which found so much */

	/* rounds */
	uint64_t *came; /* a bit for each page that came in this round */
	struct round now, last;
	unsigned rounds;
	int64_t heat_from_ns;		    /* when heat_end_round was last called */
	uint64_t class_pages[HEAT_CLASSES]; /* that came again in this round */
	unsigned cold_class;		    /* pages of classes up to this one go on */
	uint64_t hot_part; /* so many of the class above are hot; UINT64_MAX: all */
	uint64_t hot_most; /* HOT_TOP: never grows */
	struct plan plan;
	bool planned;
	int64_t planned_ns;

	/* whether it gets anywhere */
	uint64_t need_least;		    /* bytes: in this round */
	uint64_t need_best;		    /* in any round before */
	uint64_t need_window[STUCK_ROUNDS]; /* the least of each of the last rounds, a ring */
	unsigned rounds_stuck;
	int64_t progress_ns; /* when need_best last fell */

	struct scheduler_stats stats;
};

/* Whether any version of the page went on. */
static inline bool scheduler_was_sent(const struct scheduler *s, uint64_t page)
{
	return s->sent[page / 64] >> page % 64 & 1;
}

/* scheduler_peek.c: the page's block is the one that can be looked into. */
bool scheduler_may_peek(const struct scheduler *s, uint64_t page);

/* scheduler_peek.c: pages as they are now, at most PEEK_MOST. False: they can't be told. */
bool scheduler_peek_pages(const struct scheduler *s, uint64_t page, size_t pages, uint8_t *content);

/* scheduler_peek.c: what is to be done with a held page whose turn has come. */
enum page_fate {
	FATE_SEND,
	FATE_OWED, /* not now: it is written to */
	FATE_THERE /* the destination has it */
};

/* *content: receives what to send, good until the next call; FATE_SEND only. */
enum page_fate scheduler_look(struct scheduler *s, uint32_t slot, const uint8_t **content);

/* scheduler_peek.c: the page went on like this; content NULL: filled. */
void scheduler_note_sent(struct scheduler *s, uint64_t page, const uint8_t *content);

/* scheduler_peek.c: the destination has the page like this. */
bool scheduler_has(const struct scheduler *s, uint64_t page, const uint8_t *content);

/* scheduler_owed.c: the destination lacks the page, or has it, or won't need it. */
bool scheduler_owes(const struct scheduler *s, uint64_t page);
void scheduler_owe(struct scheduler *s, uint64_t page);
void scheduler_settle(struct scheduler *s, uint64_t page);

/* scheduler_owed.c: the hypervisor takes the owed page for sent, or knows that it is dirty. */
void scheduler_set_told(struct scheduler *s, uint64_t page, bool told);

/*
 * scheduler_owed.c: the page came again like this; it is there, or owed, and its content is not
 * needed. False: it is, as the page can't be looked at, or the guest is paused.
 */
bool scheduler_take_for_owed(struct scheduler *s, uint64_t page, const uint8_t *content);

/* scheduler_owed.c: 1: one that is owed went on, as it is now; 0: none should; -1 ENOMEM. */
int scheduler_send_owed(struct scheduler *s, struct error **err);

/* scheduler_owed.c: guest paused, all pages have come: what is owed even so is read and held. */
int scheduler_fetch_owed(struct scheduler *s, struct error **err);

/* scheduler_watch.c: looks at some pages. */
int scheduler_start_watch(struct scheduler *s, uint64_t pages, struct error **err);
void scheduler_watch(struct scheduler *s);

/*
 * scheduler_watch.c: the page looks like this, since_ns after it was looked at last (0: not known).
 * Returns whether it was written since; then it is owed, if any version of it was sent.
 */
bool scheduler_see(struct scheduler *s, uint64_t page, const uint8_t *content, int64_t since_ns);

/* scheduler_watch.c: it came for the first time, and looked like this when it was emitted. */
void scheduler_see_first(struct scheduler *s, uint64_t page, const uint8_t *content);

/* scheduler_judge.c: where a page that comes again is queued. */
unsigned scheduler_judge(struct scheduler *s, uint64_t page);

/* scheduler_judge.c: the page came; notes whether a round has ended before it. */
void scheduler_note_came(struct scheduler *s, uint64_t page);

/* scheduler_judge.c: bytes that the downtime target has room for; 0: not known. */
uint64_t scheduler_target(const struct scheduler *s);

/* scheduler_judge.c: bytes that a pause now would have to carry; UINT64_MAX: not known. */
uint64_t scheduler_need(struct scheduler *s, int64_t now_ns);

/* scheduler_judge.c: bytes of pages written since the hypervisor last looked, rather too many. */
double scheduler_fresh_bytes(const struct scheduler *s, int64_t now_ns);

/* scheduler_peek.c: the same by looking at a sample of the pages that are written at all. */
uint64_t scheduler_sampled_need(struct scheduler *s, int64_t now_ns);

/* scheduler_output.c: bytes to the end of a queue; a page into the output, see stream_format.h. */
int scheduler_put(struct byte_queue *queue, const uint8_t *bytes, size_t n, struct error **err);
int scheduler_write_page(struct scheduler *s, uint64_t page, const uint8_t *content, uint8_t kind,
			 struct error **err);

/* scheduler_flow.c: the page that is to go next, or PAGE_POOL_NONE. */
uint32_t scheduler_choose(struct scheduler *s);

/* scheduler.c: the page's newest version, to be sent when its queue's turn comes. */
int scheduler_hold(struct scheduler *s, uint64_t page, const uint8_t *content, unsigned queue,
		   struct error **err);

/* scheduler_flow.c: bytes that are held, queued or on their way. */
uint64_t scheduler_backlog(const struct scheduler *s);

#endif
