/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page scheduler on Xen's stream: whatever it leaves out, the receiver has the same guest. */
#include "tests/unit/test-xen-stream-kit.h"

#include "common/clock.h"
#include "common/random.h"
#include "migrate/stream/byte_queue.h"
#include "migrate/stream/scheduler.h"
#include "migrate/stream/stream_format.h"

#define PAGES	    1200u
#define BATCH	    64u
#define ROUNDS	    5
#define RATE	    (4u << 20) /* bytes/s */
#define STEP_NS	    (2 * NS_PER_MS)
#define DOWNTIME_NS (200 * NS_PER_MS)

/* What came of a stream. */
struct receiver {
	struct xen_reader *reader;
	uint32_t version[PAGES]; /* of the content that came last */
	bool named[PAGES], holes[PAGES];
	size_t contents;
	bool paused;
	struct byte_queue opaque;
};

static int got_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct receiver *r = arg;
	uint8_t *place = byte_queue_reserve(&r->opaque, n);

	(void)err;
	assert_non_null(place);
	memcpy(place, bytes, n);
	r->opaque.end += n;
	return 0;
}

static int got_memory(void *arg, const struct xen_memory *memory, struct error **err)
{
	(void)arg;
	(void)memory;
	(void)err;
	return 0;
}

static int got_batch(void *arg, const struct xen_page *pages, size_t count, struct error **err)
{
	(void)pages;
	(void)count;
	(void)err;
	assert_false(((struct receiver *)arg)->paused);
	return 0;
}

static int got_page(void *arg, const struct xen_page *page, const uint8_t *content,
		    struct error **err)
{
	struct receiver *r = arg;
	uint64_t word;

	(void)err;
	assert_true(page->pfn < PAGES);
	assert_int_equal(page->type, content ? XEN_PAGE_NOTAB : XEN_PAGE_NOT_THERE);
	r->named[page->pfn] = true;
	r->holes[page->pfn] |= !content;
	if (!content)
		return 0;
	memcpy(&word, content, sizeof(word));
	assert_int_equal(word >> 32, page->pfn);
	r->version[page->pfn] = (uint32_t)word;
	r->contents++;
	return 0;
}

static int got_batch_end(void *arg, struct error **err)
{
	(void)arg;
	(void)err;
	return 0;
}

static int got_paused(void *arg, struct error **err)
{
	(void)err;
	((struct receiver *)arg)->paused = true;
	return 0;
}

static void receiver_start(struct receiver *r)
{
	struct xen_stream_sink sink = {got_opaque,    got_memory, got_batch, got_page,
				       got_batch_end, got_paused, r};

	memset(r, 0, sizeof(*r));
	r->reader = xen_reader_create(&sink, NULL);
	assert_non_null(r->reader);
}

static void receiver_end(struct receiver *r)
{
	xen_reader_destroy(r->reader);
	byte_queue_clear(&r->opaque);
}

static void receive(struct receiver *r, const uint8_t *bytes, size_t n)
{
	struct error *err = NULL;

	if (xen_reader_feed(r->reader, bytes, n, &err) < 0)
		fail_msg("%s", error_text(err));
}

/* A guest, the stream that its hypervisor sends, the scheduler, and a link. */
struct hop {
	struct random random;
	uint32_t version[PAGES];
	bool hole[PAGES], dirty[PAGES];
	struct scheduler *scheduler;
	struct receiver direct, there; /* as the hypervisor sent it, as it came out */
	int64_t now_ns;
	double credit;
};

static void write_to(struct hop *h, uint64_t page)
{
	if (h->hole[page])
		return;
	h->version[page]++;
	h->dirty[page] = true;
}

/* Hot pages at the beginning, a few elsewhere; and now and then the guest gives a page back. */
static void guest_runs(struct hop *h)
{
	for (int i = 0; i < 4; i++)
		write_to(h, random_below(&h->random, PAGES / 10));
	write_to(h, random_below(&h->random, PAGES));
	if (random_below(&h->random, 50) == 0) {
		uint64_t page = random_below(&h->random, PAGES);

		h->hole[page] = h->dirty[page] = true;
	}
}

static void carry(struct hop *h)
{
	struct error *err = NULL;
	const uint8_t *bytes;
	size_t n;

	h->now_ns += STEP_NS;
	h->credit += (double)RATE * STEP_NS / 1e9;
	for (;;) {
		if (scheduler_output(h->scheduler, h->now_ns, &bytes, &n, &err) < 0)
			fail_msg("%s", error_text(err));
		if (n > h->credit)
			n = (size_t)h->credit;
		if (n == 0)
			break;
		receive(&h->there, bytes, n);
		scheduler_sent(h->scheduler, n);
		h->credit -= (double)n;
	}
	if (h->credit > RATE / 50.0)
		h->credit = RATE / 50.0;
	scheduler_set_link(h->scheduler, &(struct scheduler_link){.rate = RATE});
}

/* The scheduler takes it when it has room, and the guest runs on meanwhile. */
static void hand_over(struct hop *h, const struct stream *s, bool running)
{
	struct error *err = NULL;
	size_t done = 0;

	receive(&h->direct, s->bytes, s->size);
	while (done < s->size) {
		int64_t wait;
		size_t room = scheduler_room(h->scheduler, h->now_ns, &wait), n = s->size - done;

		if (n > room)
			n = room;
		scheduler_not_read(h->scheduler, room - n);
		if (n > 0 && scheduler_feed(h->scheduler, s->bytes + done, n, h->now_ns, &err) < 0)
			fail_msg("%s", error_text(err));
		done += n;
		carry(h);
		if (running)
			guest_runs(h);
	}
}

static void put_version(struct stream *s, uint64_t pfn, uint32_t version)
{
	uint64_t word = pfn << 32 | version;

	for (size_t i = 0; i < XEN_PAGE_SIZE; i += sizeof(word))
		put(s, &word, sizeof(word));
}

/* One batch of what is dirty from there on. Returns where it ends. */
static uint64_t send_batch(struct hop *h, uint64_t from, bool all, bool running)
{
	struct stream *s = empty();
	uint64_t list[BATCH];
	uint32_t count = 0, contents = 0;

	for (; from < PAGES && count < BATCH; from++)
		if (all || h->dirty[from]) {
			h->dirty[from] = false;
			contents += !h->hole[from];
			list[count++] = from;
		}
	if (count == 0)
		return from;
	put_batch_header(s, count, contents);
	for (uint32_t i = 0; i < count; i++)
		put_entry(s, h->hole[list[i]] ? XEN_PAGE_NOT_THERE : XEN_PAGE_NOTAB, list[i]);
	for (uint32_t i = 0; i < count; i++)
		if (!h->hole[list[i]])
			put_version(s, list[i], h->version[list[i]]);
	hand_over(h, s, running);
	return from;
}

static void send_round(struct hop *h, bool all, bool running)
{
	for (uint64_t at = 0; at < PAGES;)
		at = send_batch(h, at, all, running);
}

static void hop_start(struct hop *h, enum hot_rule rule, uint64_t seed)
{
	struct scheduler_options o = {.format = &stream_format_xen,
				      .pages = PAGES,
				      .rule = rule,
				      .hot_share = 0.1,
				      .hot_rate = 2,
				      .hold_most = 2u << 20,
				      .downtime_ns = DOWNTIME_NS};

	memset(h, 0, sizeof(*h));
	random_seed(&h->random, seed);
	h->now_ns = NS_PER_SEC;
	h->scheduler = scheduler_create(&o, NULL);
	assert_non_null(h->scheduler);
	receiver_start(&h->direct);
	receiver_start(&h->there);
	for (unsigned p = 0; p < PAGES; p++) {
		h->version[p] = 1;
		h->hole[p] = p % 97 == 5 || p > PAGES - 20;
	}
}

static void hop_end(struct hop *h)
{
	scheduler_destroy(h->scheduler);
	receiver_end(&h->direct);
	receiver_end(&h->there);
}

static void assert_same_guest(const struct hop *h)
{
	const struct receiver *a = &h->direct, *b = &h->there;

	assert_int_equal(xen_reader_end(b->reader, NULL), 0);
	assert_memory_equal(a->version, b->version, sizeof(a->version));
	assert_memory_equal(a->named, b->named, sizeof(a->named));
	assert_memory_equal(a->holes, b->holes, sizeof(a->holes));
	assert_int_equal(byte_queue_length(&a->opaque), byte_queue_length(&b->opaque));
	assert_memory_equal(a->opaque.data, b->opaque.data, byte_queue_length(&a->opaque));
	assert_true(b->contents <= a->contents);
}

static void test_same_guest(void **unused)
{
	(void)unused;
	for (int rule = HOT_NONE; rule < HOT_RULES; rule++) {
		size_t sent = 0, left_out = 0;

		for (uint64_t seed = 1; seed <= 5; seed++) {
			static struct hop h;
			struct stream *s;

			hop_start(&h, rule, seed);
			hand_over(&h, in_memory(), true);
			send_round(&h, true, true);
			for (int round = 1; round < ROUNDS; round++) {
				s = empty();
				put_record(s, XEN_RECORD_OPTIONAL | 99, 24);
				hand_over(&h, s, true);
				send_round(&h, false, true);
			}
			scheduler_finish(h.scheduler);
			send_round(&h, false, false);
			s = empty();
			put_state(s);
			put_emulator(s);
			hand_over(&h, s, false);
			assert_int_equal(scheduler_feed_end(h.scheduler, NULL), 0);
			for (int i = 0; i < 10000 && !scheduler_drained(h.scheduler); i++)
				carry(&h);
			assert_true(scheduler_drained(h.scheduler));
			assert_same_guest(&h);
			sent += h.there.contents;
			left_out += h.direct.contents - h.there.contents;
			hop_end(&h);
		}
		print_message("%-8s %zu contents sent, %zu left out\n", hot_rule_name(rule), sent,
			      left_out);
		if (rule != HOT_NONE)
			assert_true(left_out > sent / 50);
	}
}

static void test_page_beyond_memory(void **unused)
{
	static struct hop h;
	struct error *err = NULL;
	struct stream *s;

	(void)unused;
	hop_start(&h, HOT_EXPECTED, 1);
	s = in_memory();
	put_page(s, XEN_PAGE_NOTAB, PAGES);
	assert_int_equal(scheduler_feed(h.scheduler, s->bytes, s->size, h.now_ns, &err), -1);
	assert_int_equal(err->code, EPROTO);
	assert_non_null(strstr(error_text(err), "page 1200, the guest has 1200 pages"));
	error_free(err);
	hop_end(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_guest),
					   cmocka_unit_test(test_page_beyond_memory)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
