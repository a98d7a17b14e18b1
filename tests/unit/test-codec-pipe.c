/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two pipes, one that encodes and one that decodes, joined by a socket: a stream goes through, and
 * what comes back does, behind the decoder's offer. */
#include "tests/unit/test-codec-stream.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "migrate/codec/codec_pipe.h"
#include "migrate/codec/page_mac.h"
#include "migrate/codec/way_back.h"
#include "tests/unit/test-stream-kit.h"

#define ROUNDS	20
#define PATIENT 20000 /* ms */

struct rig {
	struct codec_pipe *encoder, *decoder;
	int in, out;
};

/* All that was given has arrived: nothing is slow here. */
static uint64_t all_of_it(void *arg)
{
	(void)arg;
	return UINT64_MAX / 2;
}

/* middle[1]: the other end of the encoder's link, without a decoder there. */
static void start_encoder(struct rig *rig, int middle[2], uint64_t offer_most)
{
	struct encoder_options options = {.format = CODED_QEMU,
					  .pages = 0,
					  .codec = small_cache,
					  .strongest = WAY_ZSTD_13,
					  .offer_most = offer_most,
					  .delivered = all_of_it};
	int in[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, middle), 0);
	rig->in = in[0];
	rig->encoder = codec_pipe_encode(in[1], false, middle[0], &options, NULL);
	assert_non_null(rig->encoder);
}

static void start(struct rig *rig, uint64_t guest_pages, struct held_pages *held)
{
	int middle[2], out[2];

	start_encoder(rig, middle, GUEST_PAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
	rig->out = out[0];
	assert_non_null(held);
	rig->decoder = codec_pipe_decode(
		middle[1], out[1],
		&(struct decoder_options){.limits = small_limits, .guest_pages = guest_pages}, held,
		NULL);
	assert_non_null(rig->decoder);
}

static struct held_pages *nothing(void)
{
	return held_pages_create(NULL, 0, 0, NULL);
}

static void stop(struct rig *rig)
{
	codec_pipe_destroy(rig->encoder);
	codec_pipe_destroy(rig->decoder);
	close(rig->in);
	close(rig->out);
}

/* Writes all and reads all there is, at the same time; ends the writing if `whole`. */
static void pump(struct rig *rig, const uint8_t *bytes, size_t n, bool whole,
		 struct byte_queue *got)
{
	bool ended = false;

	while (!ended) {
		struct pollfd p[2] = {{.fd = n ? rig->in : -1, .events = POLLOUT},
				      {.fd = rig->out, .events = POLLIN}};
		int patience = n || whole ? PATIENT : 500;

		if (poll(p, 2, patience) == 0) {
			assert_false(whole);
			return;
		}
		if (p[0].revents) {
			ssize_t some = send(rig->in, bytes, n < 5000 ? n : 5000,
					    MSG_DONTWAIT | MSG_NOSIGNAL);

			if (some < 0)
				return; /* broken off */
			bytes += some;
			n -= (size_t)some;
			if (n == 0 && whole)
				shutdown(rig->in, SHUT_WR);
		}
		if (p[1].revents) {
			uint8_t *place = byte_queue_reserve(got, 65536);
			ssize_t some = read(rig->out, place, 65536);

			ended = some <= 0;
			got->end += some > 0 ? (size_t)some : 0;
		}
	}
}

static struct stream *some_rounds(void)
{
	struct stream *s = in_part();

	for (uint64_t i = 0; i < ROUNDS; i++) {
		put_page(s, "b", i % 2);
		put_filled(s, "a.ram", i % PAGES_A, 0);
		put_page(s, NULL, (i + 3) % PAGES_A);
	}
	put_part_end(s);
	return s;
}

static void test_through(void **unused)
{
	static struct said before, after;
	struct stream *s = some_rounds();
	struct codec_pipe_stats stats;
	struct byte_queue got = {0};
	struct rig rig;

	(void)unused;
	put_end(s);
	assert_int_equal(said_by(&before, &stream_format_qemu, s->bytes, s->size), 0);
	start(&rig, GUEST_PAGES, nothing());
	assert_int_equal(send(rig.out, "back", 4, 0), 4);
	pump(&rig, s->bytes, s->size, true, &got);
	assert_int_equal(said_by(&after, &stream_format_qemu, got.data, byte_queue_length(&got)),
			 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(codec_pipe_check(rig.encoder, NULL), 0);
	assert_int_equal(codec_pipe_check(rig.decoder, NULL), 0);
	codec_pipe_stats(rig.encoder, &stats);
	assert_int_equal(stats.stream.bytes_in, s->size);
	assert_true(stats.stream.bytes_out < s->size / 4);
	{
		char back[8];

		assert_int_equal(read(rig.in, back, sizeof(back)), 4);
		assert_memory_equal(back, "back", 4);
	}
	byte_queue_clear(&got);
	stop(&rig);
}

/* The hypervisor falls silent in the middle of a batch: all that it said is there all the same. */
static void test_nothing_is_kept(void **unused)
{
	static struct said before, after;
	struct stream *s = some_rounds();
	struct byte_queue got = {0};
	struct rig rig;

	(void)unused;
	said_by(&before, &stream_format_qemu, s->bytes, s->size);
	start(&rig, GUEST_PAGES, nothing());
	pump(&rig, s->bytes, s->size, false, &got);
	said_by(&after, &stream_format_qemu, got.data, byte_queue_length(&got));
	assert_int_equal(before.count, after.count);
	assert_memory_equal(before.pages, after.pages, sizeof(before.pages));
	byte_queue_clear(&got);
	stop(&rig);
}

/* What is refused ends both, with the reason, and gives no end of a stream to the hypervisor. */
static void test_refused(void **unused)
{
	struct stream *s = some_rounds();
	struct byte_queue got = {0};
	auto_error why = NULL;
	struct rig rig;

	(void)unused;
	put_end(s);
	start(&rig, PAGES_A, nothing()); /* the guest has more */
	pump(&rig, s->bytes, s->size, true, &got);
	assert_int_equal(codec_pipe_check(rig.decoder, &why), -1);
	assert_int_equal(why->code, EPROTO);
	assert_non_null(strstr(why->message, "more than the guest has"));
	assert_true(byte_queue_length(&got) < s->size / 2);
	byte_queue_clear(&got);
	stop(&rig);
}

/* Contents of all pages that a stream has, in a file, in the reverse order; and how many. */
struct contents {
	int fd;
	uint32_t pages;
};

static int keep_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t kind,
		     struct error **err)
{
	struct contents *c = arg;

	(void)block, (void)page, (void)kind, (void)err;
	if (content)
		assert_int_equal(
			pwrite(c->fd, content, STREAM_PAGE, (999 - c->pages++) * STREAM_PAGE),
			STREAM_PAGE);
	return 0;
}

static int drop_bytes(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	(void)arg, (void)bytes, (void)n, (void)err;
	return 0;
}

static int drop_block(void *arg, uint64_t pages, struct error **err)
{
	(void)arg, (void)pages, (void)err;
	return 0;
}

static int drop_mark(void *arg, struct error **err)
{
	(void)arg, (void)err;
	return 0;
}

static struct held_pages *contents_of(const struct stream *s)
{
	static const struct stream_events events = {drop_bytes, drop_block, drop_mark,
						    keep_page,	drop_mark,  drop_mark};
	struct contents c = {.fd = memfd_create("contents", MFD_CLOEXEC)};
	struct stream_rewriter *reader = stream_format_qemu.create(&events, &c, GUEST_PAGES, NULL);

	assert_int_equal(stream_format_qemu.feed(reader, s->bytes, s->size, NULL), 0);
	stream_format_qemu.destroy(reader);
	assert_true(c.pages > 0 && c.pages < 1000);
	return held_pages_create(&(struct held_file){c.fd, 0, 1000}, 1, 1000, NULL);
}

/* What the other end has is not sent; what comes back beside the offer is handed on. */
static void test_offered(void **unused)
{
	static struct said before, after;
	struct stream *s = some_rounds();
	struct codec_pipe_stats stats;
	struct byte_queue got = {0};
	struct rig rig;
	char back[8];

	(void)unused;
	put_end(s);
	assert_int_equal(said_by(&before, &stream_format_qemu, s->bytes, s->size), 0);
	start(&rig, GUEST_PAGES, contents_of(s));
	assert_int_equal(send(rig.out, "back", 4, 0), 4);
	pump(&rig, s->bytes, s->size, true, &got);
	assert_int_equal(said_by(&after, &stream_format_qemu, got.data, byte_queue_length(&got)),
			 0);
	assert_memory_equal(&before, &after, sizeof(before));
	codec_pipe_stats(rig.encoder, &stats);
	assert_int_equal(stats.offered, 1000);
	assert_true(stats.stream.front.known > 0);
	assert_int_equal(stats.stream.front.pieces[PIECE_LITERAL], 0);
	assert_int_equal(read(rig.in, back, sizeof(back)), 4);
	assert_memory_equal(back, "back", 4);
	byte_queue_clear(&got);
	stop(&rig);
}

/* Nothing is taken from the hypervisor until the offer is whole; then all is. */
static void test_waits_for_the_offer(void **unused)
{
	struct held_pages *h = held_pages_create(
		&(struct held_file){memfd_create("held", MFD_CLOEXEC), 0, 100}, 1, 100, NULL);
	struct stream *s = some_rounds();
	uint8_t offer[4096];
	size_t n = held_pages_offer(h, offer + 4, sizeof(offer) - 4);
	struct pollfd said;
	struct rig rig;
	int middle[2];

	(void)unused;
	assert_int_equal(n, OFFER_HEADER_SIZE + 100 * PAGE_MAC_SIZE);
	put_be32(offer, BACK_OFFER << 24 | (uint32_t)n);
	n += BACK_HEADER_SIZE;
	start_encoder(&rig, middle, 100);
	assert_int_equal(send(rig.in, s->bytes, 20000, MSG_DONTWAIT), 20000);
	assert_int_equal(send(middle[1], offer, n - 1, 0), n - 1);
	said = (struct pollfd){.fd = middle[1], .events = POLLIN};
	assert_int_equal(poll(&said, 1, 300), 0);
	assert_int_equal(send(middle[1], offer + n - 1, 1, 0), 1);
	assert_int_equal(poll(&said, 1, PATIENT), 1);
	held_pages_destroy(h);
	codec_pipe_destroy(rig.encoder);
	close(rig.in);
	close(middle[1]);
}

#define EHCK 'E', 'H', 'C', 'K'

/* What comes back and is neither answer nor offer ends the encoder, which has taken nothing. */
static void test_hostile_way_back(void **unused)
{
	static const struct {
		uint8_t bytes[80];
		size_t n;
		const char *words;
	} cases[] = {
		{{3, 0, 0, 1, 'x'}, 5, "record 3"},
		{{BACK_ANSWER, 0, 0, 0}, 4, "0 bytes"},
		{{BACK_OFFER, 0, 0, 48, 'Q', 'E', 'V', 'M'}, 52, "magic"},
		{{BACK_OFFER, 0, 0, 48, EHCK, 2, [15] = 1}, 52, "version 2"},
		{{BACK_OFFER, 0, 0, 48, EHCK, OFFER_VERSION, [15] = 101}, 52, "at most 100"},
		{{BACK_OFFER, 0, 0, 49, EHCK, OFFER_VERSION}, 53, "behind the offer"},
		{{BACK_OFFER, 0, 0, 48, EHCK, OFFER_VERSION, [52] = BACK_OFFER, 0, 0, 1},
		 57,
		 "record 2"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_error why = NULL;
		struct rig rig;
		int middle[2];
		char byte;

		start_encoder(&rig, middle, 100);
		for (size_t at = 0; at < cases[i].n; at++)
			(void)send(middle[1], cases[i].bytes + at, 1, MSG_NOSIGNAL);
		assert_int_equal(read(middle[1], &byte, 1), 0); /* it has ended */
		for (int n = 0; n < 300 && codec_pipe_check(rig.encoder, &why) == 0; n++)
			clock_sleep_ms(10);
		assert_non_null(why);
		assert_non_null(strstr(why->message, cases[i].words));
		codec_pipe_destroy(rig.encoder);
		close(rig.in);
		close(middle[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_through),
		cmocka_unit_test(test_nothing_is_kept),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_waits_for_the_offer),
		cmocka_unit_test(test_hostile_way_back),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	small_cache.lanes = 3;
	return failed + cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
