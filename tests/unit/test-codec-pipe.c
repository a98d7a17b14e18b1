/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two pipes, one that encodes and one that decodes, joined by a socket: a stream goes through, and
 * what comes back does. */
#include "tests/unit/test-codec-stream.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "migrate/codec/codec_pipe.h"
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

static void start(struct rig *rig, uint64_t guest_pages)
{
	struct encoder_options options = {.format = CODED_QEMU,
					  .pages = 0,
					  .codec = small_cache,
					  .cores = 1,
					  .strongest = WAY_ZSTD_13,
					  .delivered = all_of_it};
	int in[2], middle[2], out[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, middle), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
	rig->in = in[0];
	rig->out = out[0];
	rig->encoder = codec_pipe_encode(in[1], false, middle[0], &options, NULL);
	rig->decoder = codec_pipe_decode(middle[1], out[1], &small_limits, guest_pages, NULL);
	assert_non_null(rig->encoder);
	assert_non_null(rig->decoder);
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
	start(&rig, GUEST_PAGES);
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
	start(&rig, GUEST_PAGES);
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
	start(&rig, PAGES_A); /* the guest has more */
	pump(&rig, s->bytes, s->size, true, &got);
	assert_int_equal(codec_pipe_check(rig.decoder, &why), -1);
	assert_int_equal(why->code, EPROTO);
	assert_non_null(strstr(why->message, "more than the guest has"));
	assert_true(byte_queue_length(&got) < s->size / 2);
	byte_queue_clear(&got);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_through),
		cmocka_unit_test(test_nothing_is_kept),
		cmocka_unit_test(test_refused),
	};

	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	small_cache.lanes = 3;
	return failed + cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
