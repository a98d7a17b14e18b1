/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/scheduler_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"

/*
 * Which pages are hot, what a pause would have to carry, and whether that gets less.
 *
 * Rounds. The hypervisor emits what is dirty, and when nothing is left looks for what has been
 * written since. Nothing in the stream tells of that look; but a page comes once after each at
 * most. So a page that has come in this round already begins the next one, and what comes in a
 * round was written in the one before.
 *
 * At a round's end the rule says up to which class of heat pages go on in the next one. The
 * expected rule plays the rest of the pre-copy through for each class (hotskip/plan.h), taking the
 * pages that came again in this round for those that will in the next.
 *
 * Why it ends. Hot pages are held only as long as all that is held fits into the downtime target.
 * As soon as it does not, the coldest go out at the link's full rate, as without any rule. And as
 * soon as nothing but hot pages is left it is ready: need <= target is what pool_is_full() has kept
 * to.
 */
#define HEAT_NS	     (100 * NS_PER_MS) /* shorter rounds are put together */
#define PLAN_NS	     NS_PER_SEC	       /* between two plans, after the first rounds */
#define TAIL	     (300u << 10)      /* bytes of devices, for machines as usual */
#define MARGIN	     0.95	       /* of the target */
#define EARLY	     3.0
#define SHARE_PAGES  64	  /* fewer tell nothing */
#define STUCK_PAUSES 5	  /* targets of time without progress, before that is told */
#define DOUBT_ROUNDS 2	  /* rounds without progress, and what the rates say is believed */
#define PROGRESS     0.95 /* a round that needs less than that share of the best got somewhere */

static_assert(QUEUE_HOT + HEAT_CLASSES <= PAGE_POOL_QUEUES, "a queue for each class");

static const char *const rule_names[] = {[HOT_NONE] = "none",
					 [HOT_TOP] = "top",
					 [HOT_THRESHOLD] = "rate",
					 [HOT_EXPECTED] = "expected"};
static_assert(ARRAY_SIZE(rule_names) == HOT_RULES, "a rule has no name");

const char *hot_rule_name(enum hot_rule rule)
{
	return rule_names[rule];
}

unsigned scheduler_judge(struct scheduler *s, uint64_t page)
{
	unsigned class = heat_class(s->heat, page);

	s->class_pages[class]++;
	if (class <= s->cold_class)
		return QUEUE_COLD;
	/* one class may be hot in part: the pages that come first */
	if (class == s->cold_class + 1 && s->hot_part != UINT64_MAX) {
		if (s->hot_part == 0)
			return QUEUE_COLD;
		s->hot_part--;
	}
	return QUEUE_HOT + class;
}

static void count_classes(const struct scheduler *s, uint64_t all[HEAT_CLASSES])
{
	uint64_t pages = s->first_page[s->blocks];

	memset(all, 0, HEAT_CLASSES * sizeof(*all));
	for (uint64_t page = 0; page < pages; page++)
		all[heat_class(s->heat, page)]++;
}

/* The paper's: of all pages the share that is written most often, and never more than before. */
static void find_top(struct scheduler *s, const uint64_t all[HEAT_CLASSES])
{
	uint64_t most = (uint64_t)((double)s->first_page[s->blocks] * s->options.hot_share);
	unsigned class = HEAT_CLASSES - 1;

	if (most > s->hot_most)
		most = s->hot_most;
	while (class > 0 && all[class] <= most)
		most -= all[class --];
	s->cold_class = class ? class - 1 : 0;
	s->hot_part = class ? most : UINT64_MAX;
}

/*
 * The plan takes the link's bytes for free as long as they cost no time. They are not: what is all
 * but sure to be written again within a pause is not sent for nothing.
 */
static bool in_vain(const struct scheduler *s, unsigned class)
{
	return heat_class_rate(class) * (double)s->options.downtime_ns / 1e9 > SCHEDULER_IN_VAIN;
}

static void find_hot(struct scheduler *s)
{
	uint64_t all[HEAT_CLASSES];
	struct plan_state state = {.all = all,
				   .dirty = s->class_pages,
				   .rate = (double)s->link.rate / STREAM_PAGE,
				   .target = (double)scheduler_target(s) / STREAM_PAGE};

	if (s->options.rule == HOT_NONE || s->link.rate == 0)
		return;
	count_classes(s, all);
	s->plan = plan_make(&state);
	s->planned = true;
	s->hot_part = UINT64_MAX;
	if (s->options.rule == HOT_EXPECTED) {
		s->cold_class = s->plan.limit;
		while (s->cold_class > 0 && in_vain(s, s->cold_class))
			s->cold_class--;
	} else if (s->options.rule == HOT_TOP) {
		find_top(s, all);
	} else {
		s->cold_class = 0;
		while (s->cold_class + 1 < HEAT_CLASSES &&
		       heat_class_rate(s->cold_class + 1) < s->options.hot_rate)
			s->cold_class++;
	}
}

static void end_round(struct scheduler *s)
{
	if (s->rounds == 0 || s->now_ns - s->heat_from_ns >= HEAT_NS) {
		int64_t from = s->rounds ? s->heat_from_ns : s->now.began_ns;

		heat_end_round(s->heat, (double)(s->now_ns - from) / 1e9);
		s->heat_from_ns = s->now_ns;
	}
	if (s->rounds < 4 || s->now_ns - s->planned_ns >= PLAN_NS) {
		find_hot(s);
		s->planned_ns = s->now_ns;
	}
	memset(s->class_pages, 0, sizeof(s->class_pages));
	s->rounds++;
	s->last = s->now;
	s->now = (struct round){.began_ns = s->now_ns};

	if ((double)s->need_least < PROGRESS * (double)s->need_best) {
		s->need_best = s->need_least;
		s->progress_ns = s->now_ns;
		s->rounds_stuck = 0;
	} else if (s->rounds > 2) {
		s->rounds_stuck++;
	}
	s->need_window[s->rounds % STUCK_ROUNDS] = s->need_least;
	s->need_least = UINT64_MAX;
}

/*
 * So many rounds have brought nothing, and have taken time in which much could have been sent:
 * rounds at the end are short.
 */
static bool got_nowhere(const struct scheduler *s, unsigned rounds, int64_t now_ns)
{
	return s->rounds_stuck >= rounds &&
	       now_ns - s->progress_ns >= STUCK_PAUSES * s->options.downtime_ns;
}

/* As little as in any of the last rounds (smart stop: CloudNet, III-B.3). */
static bool is_least(const struct scheduler *s, uint64_t need)
{
	for (size_t i = 0; i < STUCK_ROUNDS; i++)
		if (PROGRESS * (double)need > (double)s->need_window[i])
			return false;
	return true;
}

void scheduler_note_came(struct scheduler *s, uint64_t page)
{
	uint64_t bit = 1ull << page % 64;

	if ((s->came[page / 64] & bit) && s->stage == STAGE_ROUNDS) {
		end_round(s);
		memset(s->came, 0, (s->first_page[s->blocks] / 64 + 1) * sizeof(*s->came));
	}
	s->came[page / 64] |= bit;
}

uint64_t scheduler_target(const struct scheduler *s)
{
	double bytes = (double)s->link.rate * (double)s->options.downtime_ns / 1e9;

	if (s->link.rate == 0)
		return 0;
	return bytes > TAIL + 1 ? (uint64_t)bytes - TAIL : 1;
}

static double share_of(const struct round *round)
{
	return (double)round->missed / (double)round->again;
}

/*
 * Of the pages that come again, the share that the link has to carry beyond those that are held. In
 * the order of their addresses hot and other pages may come in turn: so the larger counts, of this
 * round's and the last one's.
 */
static double missed_share(const struct scheduler *s)
{
	double last = s->last.again >= SHARE_PAGES ? share_of(&s->last) : -1;
	double now = s->now.again >= SHARE_PAGES ? share_of(&s->now) : -1;
	double share = last > now ? last : now;

	return share < 0 ? 1 : share;
}

/*
 * Bytes of pages that the guest has written since the hypervisor last looked. What that found had
 * been written in the time before; in a shorter time it is less, but not in proportion, since pages
 * that are written often come early. How much so, nobody knows: the curve taken has a quarter of
 * them after a tenth of the time, and errs on the side of more.
 */
double scheduler_fresh_bytes(const struct scheduler *s, int64_t now_ns)
{
	double found = (double)s->look_bytes;

	if (s->look_period_ns <= 0)
		return found;
	return found * -expm1(-EARLY * (double)(now_ns - s->looked_ns) / (double)s->look_period_ns);
}

/*
 * A look that happened since the hypervisor was last asked is no error: what it found is counted as
 * written since the one before.
 */
uint64_t scheduler_need(struct scheduler *s, int64_t now_ns)
{
	double missed = missed_share(s);

	/* what was written during the first pass shows in the second look at the dirty log */
	if (s->stage == STAGE_ROUNDS && (s->rounds == 0 || s->looks < 2))
		return UINT64_MAX;
	if (s->digests)
		return scheduler_sampled_need(s, now_ns);
	return scheduler_backlog(s) + s->owed_count * STREAM_PAGE +
	       (uint64_t)(missed * ((double)s->remaining + scheduler_fresh_bytes(s, now_ns)));
}

void scheduler_set_remaining(struct scheduler *s, uint64_t bytes, unsigned looks, int64_t asked_ns)
{
	s->remaining = s->remaining_least = bytes;
	if (looks != s->looks) {
		/* since the answer before, in fact: so it is not too short */
		int64_t since_ns = s->asked_ns ? s->asked_ns : asked_ns;

		if (s->looked_ns && looks > s->looks)
			s->look_period_ns = (since_ns - s->looked_ns) / (looks - s->looks);
		s->looked_ns = since_ns;
		s->looks = looks;
		s->look_bytes = bytes;
	} else if (bytes > s->look_bytes) {
		s->look_bytes = bytes;
	}
	s->asked_ns = asked_ns;
}

void scheduler_stats(struct scheduler *s, int64_t now_ns, struct scheduler_stats *stats)
{
	uint64_t target = scheduler_target(s);
	uint64_t need = s->stage == STAGE_SETUP ? UINT64_MAX : scheduler_need(s, now_ns);

	if (need < s->need_least)
		s->need_least = need;
	*stats = s->stats;
	stats->rounds = s->rounds;
	stats->target = target;
	stats->need = need;
	stats->hot = s->last.again * STREAM_PAGE;
	stats->held = (page_pool_count(s->pool) + s->told_count) * STREAM_PAGE;
	stats->owed = s->owed_count * STREAM_PAGE;
	stats->ready = target && (double)need <= MARGIN * (double)target;
	stats->stuck = got_nowhere(s, STUCK_ROUNDS, now_ns);
	stats->best = stats->stuck && is_least(s, need);
	stats->foreseen = s->planned ? (uint64_t)(s->plan.remainder * STREAM_PAGE) : 0;
	/* rates are guesses at first; what is left to send is measured */
	stats->converges =
		!s->planned || s->plan.converges || !got_nowhere(s, DOUBT_ROUNDS, now_ns);
}
