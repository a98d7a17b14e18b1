/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_SCHEDULER_H
#define STREAM_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * The page scheduler: stands in the middle of a hypervisor's migration stream and decides which
 * page goes on, and when. Pages that come for the first time go on at once; of those that come
 * again, the ones that are likely to come once more are held, older versions of them are dropped,
 * and each is sent when it has gone cold, when something has to give way, or at the end. What
 * comes out is a stream that an unmodified hypervisor loads.
 *
 * Arithmetic and buffers only: the caller moves the bytes and tells the time (ns, monotonic). Not
 * thread-safe.
 *
 * With a way to look into the guest's memory, a page is looked at when its turn has come, and sent
 * as it is then: whatever was read after the hypervisor cleared its dirty bit is as good as what it
 * emitted. What the destination has already is not sent: a digest of what went on is kept. So pages
 * that come again need not be held, and need not wait for the hypervisor to emit them: what the
 * guest's memory shows to have changed is sent in an order of the scheduler's own, first what will
 * stay as it is for longest. In the first pass pages that are written to are left out until the
 * others are through. What has not been sent when the guest is paused is read then: the promise
 * holds. Pages of other blocks go on as they come.
 *
 * Promised: whatever happens, the last version of every page that came in goes out before the
 * devices do; and until scheduler_finish, what is held and on its way, with the devices that
 * follow, takes no longer than the downtime target at the link's rate whenever the hypervisor may
 * pause the guest by its own decision. While it has much left to emit it can't, and more may be
 * held: half of what is left, beyond the target. (Both within one read of SCHEDULER_READ bytes;
 * before the rate is known, SCHEDULER_COLD_MOST bytes are all that is held.)
 *
 * Cost: O(1) a page, two copies of its content (into the pool, into the output); with a way to
 * look, a sixth of a core at the most to go over the guest's memory. Memory: three bits and two
 * bytes for each guest page; with a way to look five bits and 26 bytes, and 16 for each that is
 * written; and what is held, at most hold_most. A hundred times the guest is a hundred times these
 * bytes, and it is gone over in a hundred times the time; the pool follows the link, not the guest.
 */
struct scheduler;
struct stream_format;

/* Which of the pages that come again are hot, so held. */
enum hot_rule {
	HOT_NONE,      /* none: all go on in the order of their arrival */
	HOT_TOP,       /* the paper's: the hot_share of memory that is written most often */
	HOT_THRESHOLD, /* those that are written at least hot_rate times a second */
	HOT_EXPECTED,  /* those that are cheaper to send later: hotskip/plan.h */
	HOT_RULES
};

const char *hot_rule_name(enum hot_rule rule); /* "none", "top", "rate", "expected" */

/*
 * Reads pages of the guest's memory, one behind the other, as they are now, while the guest runs;
 * at most SCHEDULER_PEEK_MOST. False: they can't be told.
 */
typedef bool scheduler_peek(void *arg, uint64_t page, size_t pages, uint8_t *content);
#define SCHEDULER_PEEK_MOST 16

struct scheduler_options {
	const struct stream_format *format; /* stream_format.h */
	uint64_t pages;			    /* of guest memory, where the format does not tell */
	enum hot_rule rule;
	double hot_share;    /* of HOT_TOP: above 0, at most 1 */
	double hot_rate;     /* of HOT_THRESHOLD: writes/s, above 0 */
	uint64_t hold_most;  /* bytes of pages, at least SCHEDULER_COLD_MOST */
	int64_t downtime_ns; /* the target */

	/* For the expected rule; NULL: it has to do without. The guest paused, it is still of use.
	 */
	scheduler_peek *peek;
	void *peek_arg;
	uint64_t peek_bytes; /* the memory block that it reads is the first one of this size */
};

#define SCHEDULER_READ	    (64u << 10) /* the most that one scheduler_feed takes */
#define SCHEDULER_COLD_MOST (512u << 10)

struct scheduler *scheduler_create(const struct scheduler_options *options, struct error **err);
void scheduler_destroy(struct scheduler *s); /* takes NULL */

/* ---- Bytes ---- */

/*
 * How much may be read from the hypervisor now, at most SCHEDULER_READ; 0: what is held has to
 * shrink first, or it is not time yet: look again after scheduler_output made room, or *wait_ns.
 */
size_t scheduler_room(struct scheduler *s, int64_t now_ns, int64_t *wait_ns);

/* Whether there is room, but for the time to wait. */
bool scheduler_wants(const struct scheduler *s);

/* Of that, what was not read after all. */
void scheduler_not_read(struct scheduler *s, size_t n);

/* Errors: as the format's feed, and ENOMEM. Afterwards only scheduler_destroy is of use. */
int scheduler_feed(struct scheduler *s, const uint8_t *bytes, size_t n, int64_t now_ns,
		   struct error **err);

/* The hypervisor's stream has ended. Fails if it was in the middle. */
int scheduler_feed_end(struct scheduler *s, struct error **err);

/* What is to be sent next; *n 0: nothing now. *bytes is good until the next call on s. ENOMEM. */
int scheduler_output(struct scheduler *s, int64_t now_ns, const uint8_t **bytes, size_t *n,
		     struct error **err);
void scheduler_sent(struct scheduler *s, size_t n);

/* Nothing is held or waits any more, and none will come (after scheduler_feed_end). */
bool scheduler_drained(const struct scheduler *s);

/* ---- What it goes by ---- */

struct scheduler_link {
	uint64_t rate;	    /* bytes/s that arrive while it is busy; 0: not known yet */
	uint64_t in_flight; /* bytes given to it that have not arrived */
};
void scheduler_set_link(struct scheduler *s, const struct scheduler_link *link);

/*
 * What the hypervisor, asked at that time, answered: bytes of pages that it knows to be dirty and
 * has not sent, and how often it has looked for dirty pages.
 */
void scheduler_set_remaining(struct scheduler *s, uint64_t bytes, unsigned looks, int64_t asked_ns);

void scheduler_set_downtime(struct scheduler *s, int64_t downtime_ns);

/* The hypervisor was told to pause the guest: everything goes out as fast as the link takes it. */
void scheduler_finish(struct scheduler *s);

/* ---- What it finds ---- */

struct scheduler_stats {
	bool ready;	   /* what is left fits the target: the guest may be paused */
	bool stuck;	   /* for some rounds what is left has not fallen: it will not fit */
	bool best;	   /* stuck, and what is left is as little as it was at its least */
	unsigned rounds;   /* that have ended: passes of the hypervisor over memory */
	uint64_t need;	   /* bytes that a pause now would have to carry; UINT64_MAX: not known */
	uint64_t target;   /* bytes that the downtime target has room for; 0: not known */
	bool converges;	   /* it will fit, as far as the rates of the guest's writes tell, or gets
			      less; at first true */
	uint64_t foreseen; /* bytes that will be left then, or at the least; 0: not known yet */
	uint64_t hot;	   /* bytes of pages that came again in the last round */
	uint64_t held;	   /* bytes of pages that are held now, or as good as held */
	uint64_t held_peak;
	uint64_t pages_in;	   /* pages with content that came from the hypervisor */
	uint64_t pages_out;	   /* of these, sent on */
	uint64_t pages_superseded; /* of these, dropped since a newer version came */
	uint64_t pages_forced;	   /* hot ones that were sent since too much was held */
	uint64_t pages_cooled;	   /* hot ones that were sent since they had gone cold */
	uint64_t pages_filled;	   /* pages without content */
	uint64_t pages_there; /* of pages_in, dropped since the destination had them as they were */
	uint64_t pages_stale; /* of pages_in, left out of the first pass: they are written to */
	uint64_t pages_owed;  /* of pages_in, dropped: they are read when they are sent */
	uint64_t pages_chosen;	/* of pages_out, read in the scheduler's own order */
	uint64_t pages_fetched; /* read in the pause: they were lacking, and had not come again */
	uint64_t owed;		/* bytes of pages that the destination lacks, as far as is known */
};
void scheduler_stats(struct scheduler *s, int64_t now_ns, struct scheduler_stats *stats);

#endif
