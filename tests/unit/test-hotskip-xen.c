/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The glue between Xen's save loop and libhotskip, in a loop that is written as Xen's patched one
 * is: log, held pages, peeks. Pages carry versions; at the end the destination has to have the
 * newest of each, whatever the guest did.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "hotskip/words.h"
#include "hotskip/xen/precopy.h"

#define PAGES	   6000 /* of the guest; the rest of the bitmap are holes */
#define ALL	   10007
#define WORDS	   ((ALL + 63) / 64)
#define BATCH	   64
#define RATE	   1000.0 /* pages/s */
#define ROUNDS_MAX 2000

enum guest {
	GUEST_IDLE,
	GUEST_SETS,   /* hot, warm and cold pages */
	GUEST_HOT,    /* a third is written to faster than anything can be sent */
	GUEST_UNDOES, /* what was sent is dirtied again */
	GUEST_MOVES,  /* a hot set that moves on */
	GUESTS
};

/* A migration: what Xen's struct xc_sr_context has, and the two machines. */
static struct {
	enum guest guest;
	struct xen_precopy *precopy;
	struct xen_counts counts;
	uint64_t log[WORDS], held[WORDS], dirty[WORDS], peeked[WORDS], sent[WORDS];
	uint32_t source[PAGES], destination[PAGES];
	double now, suspended_at;
	unsigned rounds, in_pause;
	struct xen_round last;
	uint64_t held_before;
	bool monotone, skipped; /* held pages never grew; some were left out as dirty again */
} m;

static double random_unit(void)
{
	return (random() + 0.5) / (1.0 + RAND_MAX);
}

static bool writes(unsigned page, double t)
{
	switch (m.guest) {
	case GUEST_SETS:
		return random_unit() < -expm1(-t * (page < 200 ? 3 : page < 2500 ? 0.1 : 1e-4));
	case GUEST_HOT:
		return page < PAGES / 3;
	case GUEST_UNDOES:
		return bit_get(m.sent, page);
	case GUEST_MOVES:
		return page / 100 == (unsigned)m.now / 3 % 60;
	default:
		return false;
	}
}

static void run_guest(double t)
{
	for (unsigned page = 0; page < PAGES; page++)
		if (writes(page, t)) {
			m.source[page]++;
			bit_set(m.log, page);
		}
	memset(m.sent, 0, sizeof(m.sent));
	m.now += t;
}

static void write_batch(const unsigned *batch, unsigned n, bool running)
{
	unsigned contents = 0;

	for (unsigned i = 0; i < n; i++)
		if (batch[i] < PAGES) {
			m.destination[batch[i]] = m.source[batch[i]];
			bit_set(m.sent, batch[i]);
			contents++;
		}
	m.counts.written += n;
	m.counts.contents += contents;
	m.counts.seconds += contents / RATE;
	if (running)
		run_guest(contents / RATE);
	else
		m.now += contents / RATE;
}

static void send_dirty(bool skip, bool running)
{
	unsigned batch[BATCH], n = 0;

	memset(m.peeked, 0, sizeof(m.peeked));
	for (unsigned page = 0; page < ALL; page++) {
		if (!bit_get(m.dirty, page))
			continue;
		if (n == BATCH) {
			write_batch(batch, n, running);
			n = 0;
		}
		if (skip && n == 0)
			memcpy(m.peeked, m.log, sizeof(m.log));
		if (skip && bit_get(m.peeked, page))
			m.counts.redirtied++;
		else
			batch[n++] = page;
	}
	write_batch(batch, n, running);
}

static uint64_t count_pending(const uint64_t *log)
{
	uint64_t both[WORDS];

	for (unsigned w = 0; w < WORDS; w++)
		both[w] = log[w] | m.held[w];
	return words_count(both, WORDS);
}

static void begin_round(bool *skip)
{
	for (unsigned w = 0; w < WORDS; w++)
		m.held[w] |= m.dirty[w];
	assert_int_equal(xen_precopy_begin(m.precopy, m.now, ALL, m.held, m.dirty, skip, NULL), 0);
	for (unsigned w = 0; w < WORDS; w++) {
		assert_int_equal(m.dirty[w] & ~m.held[w], 0);
		m.held[w] &= ~m.dirty[w];
	}
	if (m.rounds > 0 && m.held_before > 0 && words_count(m.held, WORDS) > m.held_before)
		m.monotone = false;
	if (m.rounds > 0 && words_count(m.held, WORDS) > 0)
		m.held_before = words_count(m.held, WORDS);
}

static void check_line(const char *event)
{
	char line[XEN_LINE];
	json_t *json;

	assert_in_range(xen_round_line(&m.last, event, line, sizeof(line)), 1, sizeof(line) - 1);
	assert_int_equal(line[strlen(line) - 1], '\n');
	json = json_loads(line, 0, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "event")), event);
	assert_int_equal(json_integer_value(json_object_get(json, "sent")), m.last.sent);
	assert_int_equal(json_integer_value(json_object_get(json, "skipped")),
			 m.last.held + m.last.redirtied);
	json_decref(json);
}

static void pause_guest(void)
{
	m.suspended_at = m.now;
	xen_precopy_suspend(m.precopy, m.now);
	for (unsigned w = 0; w < WORDS; w++)
		m.dirty[w] = m.log[w] | m.held[w];
	m.counts.pending = words_count(m.dirty, WORDS);
	m.in_pause = (unsigned)m.counts.pending;
	send_dirty(false, false);
	xen_precopy_done(m.precopy, m.now, &m.counts, &m.last);
	assert_int_equal(m.last.sent, m.in_pause);
	check_line("pause");
	assert_memory_equal(m.source, m.destination, sizeof(m.source));
}

/* Xen's send_memory_live() and suspend_and_send_dirty(). Returns the verdict. */
static enum xen_verdict migrate(enum guest guest, const char *text, enum stop_reason *reason)
{
	enum xen_verdict verdict = XEN_GO_ON;
	struct xen_params params;
	bool skip;

	memset(&m, 0, sizeof(m));
	srandom(7);
	m.guest = guest;
	m.monotone = true;
	assert_int_equal(xen_params_parse(text, &params, NULL), 0);
	m.precopy = xen_precopy_create(&params, NULL);
	assert_non_null(m.precopy);
	for (unsigned page = 0; page < ALL; page++)
		bit_set(m.dirty, page);
	for (unsigned page = 0; page < PAGES; page++)
		m.source[page] = 1;
	while (verdict == XEN_GO_ON) {
		assert_in_range(m.rounds, 0, ROUNDS_MAX);
		assert_false(xen_precopy_in_round(m.precopy));
		begin_round(&skip);
		assert_true(xen_precopy_in_round(m.precopy));
		send_dirty(skip, true);
		run_guest(1e-3); /* hypercalls */
		m.counts.pending = count_pending(m.log);
		m.counts.logged = words_count(m.log, WORDS);
		verdict = xen_precopy_end(m.precopy, m.now, &m.counts, &m.last);
		m.rounds++;
		assert_int_equal(m.last.round, m.rounds);
		if (m.last.redirtied)
			m.skipped = true;
		check_line("round");
		if (verdict == XEN_GO_ON) {
			memcpy(m.dirty, m.log, sizeof(m.log));
			memset(m.log, 0, sizeof(m.log));
		}
	}
	*reason = m.last.reason;
	if (verdict == XEN_PAUSE)
		pause_guest();
	xen_precopy_destroy(m.precopy);
	return verdict;
}

static void nothing_is_lost_and_it_ends(void **test)
{
	static const char *const params[] = {
		"",
		"redirtied=send",
		"rule=share",
		"rule=threshold,threshold=0.5",
		"rule=share,of=dirty,share=0.9",
		"rule=none",
		"downtime=0.05",
		"rule=none,redirtied=send,stop=few+rounds",
	};
	enum stop_reason reason;

	(void)test;
	for (enum guest guest = 0; guest < GUESTS; guest++)
		for (unsigned i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
			assert_int_equal(migrate(guest, params[i], &reason), XEN_PAUSE);
			assert_true(m.monotone);
		}
}

static void hot_skip_sends_less_and_meets_the_target(void **test)
{
	enum stop_reason reason;
	uint64_t plain;

	(void)test;
	/* 200 pages written 3 times a second; 2300 warm ones at 230/s in all */
	migrate(GUEST_SETS, "rule=none,redirtied=send,stop=few+rounds", &reason);
	assert_int_equal(reason, STOP_ROUNDS);
	plain = m.counts.contents;
	migrate(GUEST_SETS, "downtime=0.3", &reason);
	assert_int_equal(reason, STOP_TARGET);
	assert_true(m.skipped);
	assert_true(m.now - m.suspended_at < 0.32);
	assert_true((double)m.counts.contents < 0.9 * (double)plain);
}

/* The pause is the same 2 s. */
static void a_hot_set_that_fits_is_sent_once(void **test)
{
	enum stop_reason reason;

	(void)test;
	migrate(GUEST_HOT, "downtime=2.2", &reason);
	assert_int_equal(reason, STOP_TARGET);
	assert_in_range(m.counts.contents, PAGES, PAGES + BATCH);
	migrate(GUEST_HOT, "rule=none,redirtied=send,stop=few+rounds", &reason);
	assert_true(m.counts.contents > 2 * PAGES);
}

static void stock_rules(void **test)
{
	enum stop_reason reason;

	(void)test;
	migrate(GUEST_HOT, "rule=none,redirtied=send,stop=few+rounds", &reason);
	assert_int_equal(reason, STOP_ROUNDS);
	assert_int_equal(m.rounds, 5);
	/* everything that was dirty was sent in every round */
	assert_int_equal(m.counts.written, ALL + 5 * (PAGES / 3));
	assert_int_equal(m.counts.redirtied, 0);
	migrate(GUEST_IDLE, "rule=none,redirtied=send,stop=few+rounds", &reason);
	assert_int_equal(m.rounds, 1);
	assert_int_equal(reason, STOP_FEW);
	assert_int_equal(m.counts.written, ALL);
}

static void bounds_of_time(void **test)
{
	enum stop_reason reason;

	(void)test;
	assert_int_equal(migrate(GUEST_HOT, "time=20,stop=target+time", &reason), XEN_PAUSE);
	assert_int_equal(reason, STOP_TIME);
	assert_true(m.suspended_at >= 20 && m.suspended_at < 25);
	assert_int_equal(migrate(GUEST_HOT, "time=20,stop=target+time,unmet=abort", &reason),
			 XEN_GIVE_UP);
	assert_int_equal(migrate(GUEST_SETS, "unmet=abort", &reason), XEN_PAUSE);
	assert_int_equal(reason, STOP_TARGET);
}

/* Its remainder has no minimum: it is always the same. */
static void a_guest_that_gets_nowhere_is_told(void **test)
{
	enum stop_reason reason;

	(void)test;
	assert_int_equal(migrate(GUEST_HOT, "", &reason), XEN_PAUSE);
	assert_int_equal(reason, STOP_SMART);
	assert_int_equal(m.in_pause, PAGES / 3);
	/* the first pass, 4 s, then a few short rounds */
	assert_true(m.suspended_at < 9);
	assert_int_equal(migrate(GUEST_HOT, "unmet=abort", &reason), XEN_GIVE_UP);
}

static void a_given_rate_is_believed(void **test)
{
	enum stop_reason reason;

	(void)test;
	migrate(GUEST_SETS, "downtime=0.3,rate=8192000", &reason);
	assert_int_equal(reason, STOP_TARGET);
	/* twice what it was */
	assert_in_range(m.in_pause, 0, 620);
	assert_true(m.last.rate > 8191999 && m.last.rate < 8192001);
}

static void bounds_can_be_changed(void **test)
{
	struct xen_params params;
	struct xen_precopy *precopy;
	struct xen_counts counts = {
		.written = ALL, .contents = PAGES, .seconds = 6, .pending = 900, .logged = 900};
	struct xen_round round;
	static uint64_t pending[WORDS], dirty[WORDS];
	bool skip;

	(void)test;
	xen_params_parse("downtime=0.3", &params, NULL);
	precopy = xen_precopy_create(&params, NULL);
	memset(pending, 0xff, ALL / 8);
	assert_int_equal(xen_precopy_begin(precopy, 10, ALL, pending, dirty, &skip, NULL), 0);
	assert_true(skip);
	/* 6000 pages in 6 of 10 s */
	assert_int_equal(xen_precopy_end(precopy, 20, &counts, &round), XEN_GO_ON);
	assert_true(round.pause > 0.89 && round.pause < 0.91);
	assert_int_equal(round.reason, STOP_NOT);
	xen_params_parse("downtime=1,fixed=0.05", &params, NULL);
	xen_precopy_rebound(precopy, &params);
	assert_int_equal(xen_precopy_begin(precopy, 20, ALL, pending, dirty, &skip, NULL), 0);
	assert_int_equal(xen_precopy_end(precopy, 20.1, &counts, &round), XEN_PAUSE);
	assert_int_equal(round.reason, STOP_TARGET);
	/* a guest does not change its size */
	assert_int_equal(xen_precopy_begin(precopy, 21, ALL + 1, pending, dirty, &skip, NULL), -1);
	xen_precopy_destroy(precopy);
	xen_precopy_destroy(NULL);
}

static void a_line_without_figures_is_json(void **test)
{
	(void)test;
	memset(&m, 0, sizeof(m));
	m.last.rate = NAN;
	m.last.pause = INFINITY;
	check_line("round");
}

static void parameters(void **test)
{
	static const char *const wrong[] = {
		"downtime",	   "downtime=",	     "downtime=-1",
		"downtime=nan",	   "downtime=0.3s",  "fixed=1",
		"rule=hot",	   "share=1.1",	     "of=disk",
		"stop=target",	   "stop=few",	     "stop=time",
		"stop=+",	   "stop=qemu+time", "rounds=0",
		"rounds=-1",	   "window=17",	     "unmet=maybe",
		"redirtied=maybe", "colour=red",     "pages=99999999999999999999",
	};
	struct xen_params params, before;
	auto_error err = NULL;

	(void)test;
	assert_int_equal(xen_params_parse("", &params, NULL), 0);
	assert_int_equal(params.policy.rule, POLICY_EXPECTED);
	assert_int_equal(params.stop.rules, 1 << STOP_TARGET | 1 << STOP_SMART);
	assert_true(params.skip_redirtied && !params.abort_unmet);
	assert_int_equal(xen_params_parse("# a comment, rule=none\n rule=share,share=0.2,of=dirty\n"
					  "downtime=1 downtime=2\ttime=60 # more\nunmet=abort,"
					  "redirtied=send,rounds=7,pages=9,window=3,rate=1e6",
					  &params, NULL),
			 0);
	assert_int_equal(params.policy.rule, POLICY_SHARE);
	assert_int_equal(params.policy.share_of, POLICY_OF_DIRTY);
	assert_true(params.stop.downtime == 2 && params.stop.time_limit == 60);
	assert_true(params.abort_unmet && !params.skip_redirtied);
	assert_int_equal(params.stop.rules, 1 << STOP_TARGET | 1 << STOP_SMART | 1 << STOP_TIME);
	assert_int_equal(params.stop.xen_rounds, 7);
	before = params;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(xen_params_parse(wrong[i], &params, NULL), -1);
	assert_memory_equal(&before, &params, sizeof(params));
	assert_int_equal(xen_params_parse("downtime=x", &params, &err), -1);
	assert_string_equal(error_text(err), "found downtime=x, expected a number from 0 to 1e+06");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_and_it_ends),
		cmocka_unit_test(hot_skip_sends_less_and_meets_the_target),
		cmocka_unit_test(a_hot_set_that_fits_is_sent_once),
		cmocka_unit_test(stock_rules),
		cmocka_unit_test(bounds_of_time),
		cmocka_unit_test(a_guest_that_gets_nowhere_is_told),
		cmocka_unit_test(a_given_rate_is_believed),
		cmocka_unit_test(bounds_can_be_changed),
		cmocka_unit_test(a_line_without_figures_is_json),
		cmocka_unit_test(parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
