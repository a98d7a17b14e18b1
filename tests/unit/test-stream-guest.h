/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_STREAM_GUEST_H
#define TEST_STREAM_GUEST_H

/*
 * A guest, its hypervisor, a link and a destination, all of them a few arrays: what the page
 * scheduler stands between, with a clock that the test turns. The hypervisor does as QEMU: it goes
 * over memory in rounds, knows what was written since it last looked, and pauses the guest by its
 * own decision when little is left.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "migrate/stream/qemu_format.h"
#include "migrate/stream/qemu_stream.h"
#include "migrate/stream/scheduler.h"
#include "migrate/stream/stream_format.h"

#define STEP_NS	    (2 * NS_PER_MS)
#define LOOK_NS	    (50 * NS_PER_MS)
#define DELAY_NS    (30 * NS_PER_MS) /* of the link */
#define SOCKET	    (256u << 10)     /* bytes between hypervisor and scheduler */
#define RAM	    2u
#define DELAY_STEPS (DELAY_NS / STEP_NS)

struct guest {
	uint32_t pages;		 /* in two blocks: main memory, and that of a screen */
	uint32_t screen;	 /* so many of them, the last ones; 0: no such block */
	uint32_t *version;	 /* of each page; 0: zeroes */
	uint8_t *written, *todo; /* since the last look; to be emitted */
	uint32_t todo_count, at, syncs;
	int32_t loses;			       /* a page that the log forgets; -1: none */
	int64_t hides_from_ns, hides_until_ns; /* its memory can't be read while it runs, */
	bool gone;			       /* or not at all */
	uint64_t looked_at;		       /* pages, each time that one is */
	bool paused, completed, last_begun;
	int64_t limit_ns; /* the downtime that the hypervisor may cause */

	/* stream */
	uint8_t *out;
	size_t out_size, out_done, out_room;
	uint64_t random;

	/* link and destination */
	uint64_t rate; /* bytes/s */
	double credit;
	uint64_t given, arrived, in_delay[DELAY_STEPS];
	struct qemu_reader *reader;
	uint32_t *there; /* versions at the destination; UINT32_MAX: none yet */
	bool devices_begun, page_after_devices;
	uint64_t device_bytes;

	/* what was seen */
	int64_t now_ns, paused_ns, done_ns;
	uint64_t backlog_over; /* bytes above the promise, at the most */
	bool stuck_seen, ready_seen, doubt_seen;
	bool takes_best; /* paused at the least remainder when it is stuck */
};

static inline uint64_t next_random(struct guest *g)
{
	g->random ^= g->random << 13;
	g->random ^= g->random >> 7;
	g->random ^= g->random << 17;
	return g->random;
}

static inline void page_content(uint32_t page, uint32_t version, uint8_t content[QEMU_PAGE])
{
	uint64_t word = version ? (uint64_t)page << 32 | version : 0;

	for (size_t i = 0; i < QEMU_PAGE; i += 8)
		memcpy(content + i, &word, 8);
}

static inline void guest_write(struct guest *g, uint32_t page)
{
	g->version[page]++;
	if ((int32_t)page != g->loses || g->syncs < 2)
		g->written[page] = 1;
}

static inline bool guest_peek(void *arg, uint64_t page, size_t pages, uint8_t *content)
{
	struct guest *g = arg;

	assert_true(pages <= SCHEDULER_PEEK_MOST && page + pages <= g->pages - g->screen);
	if (g->gone ||
	    (!g->paused && g->now_ns >= g->hides_from_ns && g->now_ns < g->hides_until_ns))
		return false;
	g->looked_at += pages;
	for (size_t i = 0; i < pages; i++)
		page_content((uint32_t)(page + i), g->version[page + i], content + i * QEMU_PAGE);
	return true;
}

/* ---- The destination ---- */

static inline int there_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct guest *g = arg;

	(void)bytes;
	(void)err;
	if (g->devices_begun)
		g->device_bytes += n;
	return 0;
}

static inline int there_block(void *arg, size_t i, const struct qemu_block *b, struct error **err)
{
	(void)arg;
	(void)i;
	(void)b;
	(void)err;
	return 0;
}

static inline int there_part(void *arg, bool last, struct error **err)
{
	(void)arg;
	(void)last;
	(void)err;
	return 0;
}

static inline int there_part_end(void *arg, bool last, struct error **err)
{
	(void)err;
	((struct guest *)arg)->devices_begun |= last;
	return 0;
}

static inline int there_page(void *arg, size_t block, uint64_t page, const uint8_t *content,
			     uint8_t fill, struct error **err)
{
	struct guest *g = arg;
	uint64_t word = 0;

	(void)err;
	assert_int_equal(fill, 0);
	if (block == 1)
		page += g->pages - g->screen;
	else
		assert_int_equal(block, 0);
	g->page_after_devices |= g->devices_begun;
	if (content) {
		memcpy(&word, content, 8);
		assert_int_equal(word >> 32, page);
	}
	g->there[page] = (uint32_t)word;
	return 0;
}

/* ---- The hypervisor ---- */

static inline uint8_t *emit(struct guest *g, size_t n)
{
	uint8_t *at;

	if (g->out_size + n > g->out_room) {
		g->out_room = 2 * g->out_room + n;
		g->out = realloc(g->out, g->out_room);
		assert_non_null(g->out);
	}
	at = g->out + g->out_size;
	g->out_size += n;
	return at;
}

static inline void emit8(struct guest *g, uint8_t v)
{
	*emit(g, 1) = v;
}

static inline void emit32(struct guest *g, uint32_t v)
{
	put_be32(emit(g, 4), v);
}

static inline void emit64(struct guest *g, uint64_t v)
{
	put_be64(emit(g, 8), v);
}

static inline void emit_text(struct guest *g, const char *text)
{
	emit8(g, (uint8_t)strlen(text));
	memcpy(emit(g, strlen(text)), text, strlen(text));
}

static inline void emit_part(struct guest *g, bool last)
{
	emit8(g, last ? QEMU_SECTION_END : QEMU_SECTION_PART);
	emit32(g, RAM);
}

static inline void emit_footer(struct guest *g)
{
	emit64(g, QEMU_RAM_EOS);
	emit8(g, QEMU_FOOTER);
	emit32(g, RAM);
}

static inline void emit_page(struct guest *g, uint32_t page)
{
	bool filled = g->version[page] == 0;
	bool main = page < g->pages - g->screen;
	uint64_t index = main ? page : page - (g->pages - g->screen);

	emit64(g, index * QEMU_PAGE | (filled ? QEMU_RAM_FILLED : QEMU_RAM_PAGE));
	emit_text(g, main ? "pc.ram" : "vga.vram");
	if (filled)
		emit8(g, 0);
	else
		page_content(page, g->version[page], emit(g, QEMU_PAGE));
}

static inline void emit_start(struct guest *g)
{
	emit32(g, QEMU_FILE_MAGIC);
	emit32(g, QEMU_FILE_VERSION);
	emit8(g, QEMU_CONFIGURATION);
	emit32(g, 2);
	memcpy(emit(g, 2), "pc", 2);
	emit8(g, QEMU_SECTION_START);
	emit32(g, RAM);
	emit_text(g, "ram");
	emit32(g, 0);
	emit32(g, QEMU_RAM_VERSION);
	emit64(g, (uint64_t)g->pages * QEMU_PAGE | QEMU_RAM_MEM_SIZE);
	emit_text(g, "pc.ram");
	emit64(g, (uint64_t)(g->pages - g->screen) * QEMU_PAGE);
	if (g->screen) {
		emit_text(g, "vga.vram");
		emit64(g, (uint64_t)g->screen * QEMU_PAGE);
	}
	emit_footer(g);
}

static inline void emit_devices(struct guest *g)
{
	static const char json[] = "{\"page_size\": 4096}";

	emit8(g, QEMU_SECTION_FULL);
	emit32(g, 9);
	emit_text(g, "timer");
	emit32(g, 0);
	emit32(g, 2);
	memset(emit(g, 50000), 0x5a, 50000);
	emit8(g, QEMU_FOOTER);
	emit32(g, 9);
	emit8(g, QEMU_EOF);
	emit8(g, QEMU_DESCRIPTION);
	emit32(g, sizeof(json) - 1);
	memcpy(emit(g, sizeof(json) - 1), json, sizeof(json) - 1);
}

static inline void look_for_dirty(struct guest *g)
{
	for (uint32_t p = 0; p < g->pages; p++)
		if (g->written[p]) {
			g->written[p] = 0;
			g->todo_count += !g->todo[p];
			g->todo[p] = 1;
		}
	g->syncs++;
}

static inline void emit_next_page(struct guest *g)
{
	while (!g->todo[g->at])
		g->at = g->at + 1 < g->pages ? g->at + 1 : 0;
	g->todo[g->at] = 0;
	g->todo_count--;
	emit_page(g, g->at);
}

static inline void hypervisor_ends(struct guest *g)
{
	look_for_dirty(g);
	g->paused = true;
	g->paused_ns = g->now_ns;
	emit_part(g, true);
	while (g->todo_count > 0)
		emit_next_page(g);
	emit_footer(g);
	emit_devices(g);
	g->completed = true;
}

/* As much as the socket takes. */
static inline void hypervisor_runs(struct guest *g)
{
	if (g->out_done > 0) {
		memmove(g->out, g->out + g->out_done, g->out_size - g->out_done);
		g->out_size -= g->out_done;
		g->out_done = 0;
	}
	while (!g->completed && g->out_size < SOCKET) {
		if (g->todo_count == 0) {
			look_for_dirty(g);
			if ((double)g->todo_count * QEMU_PAGE <
			    (double)g->rate * (double)g->limit_ns / 1e9) {
				hypervisor_ends(g);
				return;
			}
			if (g->todo_count == 0)
				return;
		}
		if (g->limit_ns > NS_PER_SEC * 100) {
			hypervisor_ends(g);
			return;
		}
		emit_part(g, false);
		for (int i = 0; i < 16 && g->todo_count > 0; i++)
			emit_next_page(g);
		emit_footer(g);
	}
}

/* ---- All together ---- */

static inline void guest_start_with_screen(struct guest *g, uint32_t pages, uint32_t screen,
					   uint64_t rate, uint64_t seed)
{
	struct qemu_stream_sink sink = {there_opaque, there_block,    there_part,
					there_page,   there_part_end, g};

	*g = (struct guest){.pages = pages,
			    .screen = screen,
			    .version = calloc(pages, sizeof(uint32_t)),
			    .written = calloc(pages, 1),
			    .todo = malloc(pages),
			    .there = malloc(pages * sizeof(uint32_t)),
			    .todo_count = pages,
			    .syncs = 1,
			    .loses = -1,
			    .limit_ns = NS_PER_MS,
			    .rate = rate,
			    .random = seed * 0x9e3779b97f4a7c15ull + 1,
			    .now_ns = NS_PER_SEC};
	memset(g->todo, 1, pages);
	memset(g->there, 0xff, pages * sizeof(uint32_t));
	g->reader = qemu_reader_create(&sink, NULL);
	assert_non_null(g->reader);
	emit_start(g);
}

static inline void guest_start(struct guest *g, uint32_t pages, uint64_t rate, uint64_t seed)
{
	guest_start_with_screen(g, pages, 0, rate, seed);
}

static inline void guest_end(struct guest *g)
{
	qemu_reader_destroy(g->reader);
	free(g->version);
	free(g->written);
	free(g->todo);
	free(g->there);
	free(g->out);
}

static inline void assert_done(int result, struct error **err)
{
	if (result < 0)
		fail_msg("%s", error_text(*err));
}

static inline void feed(struct guest *g, struct scheduler *s)
{
	struct error *err = NULL;
	int64_t wait;

	for (int i = 0; i < 64; i++) {
		size_t room = scheduler_room(s, g->now_ns, &wait);
		size_t n = g->out_size - g->out_done;

		if (room == 0)
			return;
		if (n > room)
			n = room;
		if (n > 1 && next_random(g) % 4 == 0)
			n = 1 + next_random(g) % n;
		scheduler_not_read(s, room - n);
		if (n == 0)
			return;
		assert_done(scheduler_feed(s, g->out + g->out_done, n, g->now_ns, &err), &err);
		g->out_done += n;
		if (g->completed && g->out_done == g->out_size)
			assert_done(scheduler_feed_end(s, &err), &err);
	}
}

static inline void link_runs(struct guest *g)
{
	size_t slot = (size_t)(g->now_ns / STEP_NS) % DELAY_STEPS;

	g->arrived += g->in_delay[slot];
	g->in_delay[slot] = 0;
	g->credit += (double)g->rate * STEP_NS / 1e9;
	if (g->credit > (double)g->rate / 50)
		g->credit = (double)g->rate / 50;
}

/* The link takes what it can, and what it took arrives later. */
static inline void carry(struct guest *g, struct scheduler *s)
{
	struct error *err = NULL;
	size_t slot = (size_t)(g->now_ns / STEP_NS) % DELAY_STEPS;
	uint64_t before = g->given;

	while (g->credit >= 1) {
		const uint8_t *bytes;
		size_t n;

		assert_done(scheduler_output(s, g->now_ns, &bytes, &n, &err), &err);
		if (n > (size_t)g->credit)
			n = (size_t)g->credit;
		if (n == 0)
			break;
		assert_done(qemu_reader_feed(g->reader, bytes, n, &err), &err);
		scheduler_sent(s, n);
		g->credit -= (double)n;
		g->given += n;
	}
	g->in_delay[slot] += g->given - before;
	scheduler_set_link(
		s, &(struct scheduler_link){.rate = g->rate, .in_flight = g->given - g->arrived});
}

static inline void note(struct guest *g, struct scheduler *s, const struct scheduler_stats *stats)
{
	uint64_t backlog = stats->held + (g->given - g->arrived);
	uint64_t allowed = stats->target + (uint64_t)g->todo_count * QEMU_PAGE / 2;

	(void)s;
	if (allowed < SCHEDULER_COLD_MOST)
		allowed = SCHEDULER_COLD_MOST;
	if (stats->rounds > 0 && !g->paused && g->limit_ns <= NS_PER_SEC && backlog > allowed &&
	    backlog - allowed > g->backlog_over)
		g->backlog_over = backlog - allowed;
	g->stuck_seen |= stats->stuck && !g->paused;
	g->doubt_seen |= !stats->converges && !g->paused;
	g->ready_seen |= stats->ready && !g->paused;
}

/* One step of all but the guest's writes. */
static inline void step(struct guest *g, struct scheduler *s)
{
	struct scheduler_stats stats;

	link_runs(g);
	for (uint64_t before = UINT64_MAX; before != g->given && g->credit >= 1;) {
		before = g->given;
		hypervisor_runs(g);
		feed(g, s);
		carry(g, s);
	}
	if (g->now_ns % LOOK_NS == 0)
		scheduler_set_remaining(s, (uint64_t)g->todo_count * QEMU_PAGE, g->syncs,
					g->now_ns);
	scheduler_stats(s, g->now_ns, &stats);
	note(g, s, &stats);
	if ((stats.ready || (g->takes_best && stats.best)) && !g->paused &&
	    g->limit_ns <= NS_PER_SEC) {
		scheduler_finish(s);
		g->limit_ns = 2000 * NS_PER_SEC;
	}
	g->now_ns += STEP_NS;
}

/* What has to hold in the end, however it got there. */
static inline void assert_arrived(struct guest *g, struct scheduler *s)
{
	assert_true(scheduler_drained(s));
	assert_int_equal(qemu_reader_end(g->reader, NULL), 0);
	assert_false(g->page_after_devices);
	assert_true(g->device_bytes > 50000);
	for (uint32_t p = 0; p < g->pages; p++)
		if (g->there[p] != g->version[p])
			fail_msg("page %u: version %u arrived, the guest has %u", p, g->there[p],
				 g->version[p]);
}

#endif
