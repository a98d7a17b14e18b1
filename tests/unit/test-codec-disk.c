/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk's stream, coded and decoded, is the same byte for byte; damaged ones are refused. */
#include "tests/unit/test-codec-disk.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "migrate/codec/codec_pipe.h"

static const size_t cuts[] = {1u << 20, 4096, 777, 13};

/* Copies a disk, and writes to it here and there meanwhile, in what lengths and places ever. */
static void make_stream(struct byte_queue *q, unsigned requests)
{
	struct random random;

	random_seed(&random, 20261127);
	put_handshake(q);
	for (unsigned i = 0; i < requests; i++) {
		uint64_t offset = random_next(&random) % (1u << 20) / 512 * 512;
		uint32_t length = 512 * (uint32_t)(1 + random_next(&random) % 40);

		switch (random_next(&random) % 8) {
		case 0:
			put_request(q, CMD_FLUSH, 0, 0);
			break;
		case 1:
			put_request(q, CMD_WRITE_ZEROES, offset, 1u << 30);
			break;
		case 2:
			put_write(q, offset, length);
			break;
		case 3:
			fill_noise(put_write(q, offset, length), length, &random);
			break;
		case 4:
			fill_words(put_write(q, offset + 7, length + 33), length + 33, i);
			break;
		default:
			fill_words(put_write(q, offset / 4096 * 4096, 4096), 4096, offset % 5);
		}
	}
	put_request(q, CMD_DISC, 0, 0);
}

static void test_exact(void **unused)
{
	struct byte_queue q = {0};

	(void)unused;
	make_stream(&q, 300);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		for (unsigned flush = 0; flush < 4; flush++)
			assert_exact(q.data, byte_queue_length(&q), cuts[i], flush);
	byte_queue_clear(&q);
}

/* What QEMU said as it mirrored a disk of 160 KiB, of which 41 are not zeroes, 16 of these twice.
 */
static void test_recorded(void **unused)
{
	auto_free uint8_t *bytes = NULL;
	size_t n, size;

	(void)unused;
	bytes = (uint8_t *)read_file("tests/fuzz/corpus/coded-disk/nbd-mirror", 1 << 20, &n, NULL);
	assert_non_null(bytes);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		for (unsigned flush = 0; flush < 4; flush++)
			assert_exact(bytes, n, cuts[i], flush);
	size = assert_exact(bytes, n, 1u << 20, 0);
	print_message("%zu bytes became %zu\n", n, size);
	assert_true(size < n / 3);
}

/* Every byte is the last of a read, after which nothing waits, and the last of a stream. */
static void test_cut_at_every_byte(void **unused)
{
	struct byte_queue q = {0};
	size_t n;

	(void)unused;
	put_handshake(&q);
	fill_words(put_write(&q, 4096 * 5 + 512, 3600), 3600, 1);
	put_request(&q, CMD_FLUSH, 0, 0);
	fill_words(put_write(&q, 1 << 20, 1024), 1024, 1);
	n = byte_queue_length(&q);
	assert_exact(q.data, n, 1, 1);
	for (size_t i = 0; i < n; i++)
		assert_exact(q.data, i, 1u << 20, 0);
	byte_queue_clear(&q);
}

/* What a flush sends is all that is whole: nobody waits for a write that has been made. */
static void test_flushed(void **unused)
{
	struct disk_encoder *e = disk_encoder_create(&disk_cache, NULL);
	struct disk_decoder *d = disk_decoder_create(&disk_limits, NULL);
	struct byte_queue q = {0}, coded = {0}, out = {0};

	(void)unused;
	put_handshake(&q);
	for (unsigned i = 0; i < 20; i++) {
		size_t n, used;

		fill_words(put_write(&q, i * 4096, 4096), 4096, i);
		n = byte_queue_length(&q);
		assert_int_equal(disk_encoder_feed(e, q.data + q.start, n, &coded, NULL), 0);
		assert_int_equal(disk_encoder_flush(e, &coded, NULL), 0);
		assert_int_equal(disk_decoder_feed(d, coded.data + coded.start,
						   byte_queue_length(&coded), &used, &out, NULL),
				 0);
		assert_int_equal(used, byte_queue_length(&coded));
		assert_int_equal(byte_queue_length(&out), n);
		assert_memory_equal(out.data + out.start, q.data + q.start, n);
		byte_queue_consume(&coded, used);
		byte_queue_consume(&out, n);
		byte_queue_consume(&q, n);
	}
	disk_encoder_destroy(e);
	disk_decoder_destroy(d);
	byte_queue_clear(&q);
	byte_queue_clear(&coded);
	byte_queue_clear(&out);
}

/* Content that was there before, that is like an earlier version, that compresses. */
static void test_less(void **unused)
{
	struct byte_queue q = {0};
	struct random random;
	uint8_t noise[64 << 10], *p;
	size_t n, coded;

	(void)unused;
	random_seed(&random, 5);
	fill_noise(noise, sizeof(noise), &random);
	put_handshake(&q);
	/* the same in three places, in one write */
	p = put_write(&q, 0, 48 * 4096);
	for (unsigned i = 0; i < 48; i++)
		memcpy(p + i * 4096, noise + i % 16 * 4096, 4096);
	/* and again where it is, but for a word, with a write's header before each block */
	for (unsigned i = 0; i < 48; i++) {
		p = put_write(&q, i * 4096, 4096);
		memcpy(p, noise + i % 16 * 4096, 4096);
		p[i * 11] ^= 0x55;
	}
	n = byte_queue_length(&q);
	coded = assert_exact(q.data, n, 65536, 0);
	print_message("%zu bytes, %u of them noise, became %zu\n", n, (unsigned)sizeof(noise),
		      coded);
	assert_true(coded < sizeof(noise) + 5000);
	byte_queue_clear(&q);
}

/* The handshake is text alone: no units, for which the other end would take its memory. */
static void test_handshake(void **unused)
{
	struct disk_encoder *e = disk_encoder_create(&disk_cache, NULL);
	struct byte_queue q = {0}, coded = {0};

	(void)unused;
	put_handshake(&q);
	for (size_t i = 0; i < byte_queue_length(&q); i++) {
		assert_int_equal(disk_encoder_feed(e, q.data + i, 1, &coded, NULL), 0);
		assert_int_equal(disk_encoder_flush(e, &coded, NULL), 0);
	}
	byte_queue_consume(&coded, CODED_DISK_HEADER_SIZE);
	assert_true(byte_queue_length(&coded) > byte_queue_length(&q));
	while (coded.data && byte_queue_length(&coded)) {
		uint32_t head = get_be32(coded.data + coded.start);

		assert_int_not_equal(head >> 24, CODED_DISK_UNITS);
		byte_queue_consume(&coded, CODED_DISK_RECORD_SIZE + (head & CODED_DISK_BODY_MOST));
	}
	disk_encoder_destroy(e);
	byte_queue_clear(&q);
	byte_queue_clear(&coded);
}

/* Requests wait for each other as long as the link has enough to do: one batch, one text. */
static void test_batches(void **unused)
{
	struct byte_queue q = {0}, coded = {0};
	unsigned records[CODED_DISK_ASK + 1] = {0};

	(void)unused;
	put_handshake(&q);
	for (unsigned i = 0; i < 60; i++)
		fill_words(put_write(&q, i * 40960, 4096), 4096, i * 7);
	disk_encode(q.data, byte_queue_length(&q), 65536, 0, &coded);
	byte_queue_consume(&coded, CODED_DISK_HEADER_SIZE);
	while (byte_queue_length(&coded)) {
		uint32_t head = get_be32(coded.data + coded.start);

		assert_in_range(head >> 24, CODED_DISK_TEXT, CODED_DISK_ASK);
		records[head >> 24]++;
		byte_queue_consume(&coded, CODED_DISK_RECORD_SIZE + (head & CODED_DISK_BODY_MOST));
	}
	/* the first block goes with the codec's header; and there is its end */
	assert_int_equal(records[CODED_DISK_TEXT] + records[CODED_DISK_PACKED], 2);
	assert_int_equal(records[CODED_DISK_UNITS], 3);
	assert_int_equal(records[CODED_DISK_ASK], 1);
	byte_queue_clear(&q);
	byte_queue_clear(&coded);
}

/* Another protocol, or one that goes on in another way, is carried all the same. */
static void test_foreign(void **unused)
{
	struct byte_queue q = {0};
	struct random random;
	size_t coded;

	(void)unused;
	random_seed(&random, 3);
	fill_noise(more(&q, 200000), 200000, &random);
	assert_exact(q.data, 200000, 5000, 0);
	byte_queue_clear(&q);

	make_stream(&q, 20);
	fill_words(more(&q, 200000), 200000, 3);
	put_write(&q, 0, 4096);
	coded = assert_exact(q.data, byte_queue_length(&q), 5000, 7);
	assert_true(coded < byte_queue_length(&q) / 2);
	byte_queue_clear(&q);

	/* an option after a request is none */
	put_handshake(&q);
	put_request(&q, CMD_READ, 0, 4096);
	put_option(&q, 7, "late");
	assert_exact(q.data, byte_queue_length(&q), 9, 2);
	byte_queue_clear(&q);
}

static void test_extended(void **unused)
{
	struct byte_queue q = {0};
	struct random random;
	uint8_t noise[8192];
	size_t coded;

	(void)unused;
	random_seed(&random, 3);
	fill_noise(noise, sizeof(noise), &random);
	put_handshake(&q);
	for (unsigned i = 0; i < 10; i++) {
		put_extended(&q, PAYLOAD_LEN, CMD_WRITE, i * 8192, sizeof(noise));
		memcpy(more(&q, sizeof(noise)), noise, sizeof(noise));
		put_extended(&q, 0, CMD_READ, 0, UINT64_MAX);
		put_extended(&q, PAYLOAD_LEN, 7, 0, 100);
		more(&q, 100);
	}
	coded = assert_exact(q.data, byte_queue_length(&q), 777, 0);
	assert_true(coded < 2 * sizeof(noise));
	byte_queue_clear(&q);
}

/* Whatever byte is another one: an error or other bytes, never more of them, never a crash. */
static void test_damage(void **unused)
{
	struct byte_queue q = {0}, coded = {0};
	struct random random;
	size_t size;

	(void)unused;
	random_seed(&random, 20261126);
	make_stream(&q, 100);
	disk_encode(q.data, byte_queue_length(&q), 65536, 5, &coded);
	size = byte_queue_length(&coded);
	for (int i = 0; i < 200; i++) {
		struct byte_queue out = {0};
		size_t at = (size_t)(random_next(&random) % size);
		uint8_t was = coded.data[at];
		int code;

		coded.data[at] ^= (uint8_t)(1 + random_next(&random) % 255);
		code = disk_decode(coded.data, size, 4096, &out, NULL);
		assert_true(code == 0 || code == EPROTO || code == ENOTSUP || code == ENOMEM);
		coded.data[at] = was;
		byte_queue_clear(&out);
	}
	/* cut short: what came until then is the beginning, and it is no end */
	for (int i = 0; i < 100; i++) {
		struct byte_queue out = {0};
		size_t end = (size_t)(random_next(&random) % size);

		assert_int_equal(disk_decode(coded.data, end, 4096, &out, NULL), EPROTO);
		assert_true(byte_queue_length(&out) <= byte_queue_length(&q));
		if (byte_queue_length(&out))
			assert_memory_equal(out.data, q.data, byte_queue_length(&out));
		byte_queue_clear(&out);
	}
	byte_queue_clear(&q);
	byte_queue_clear(&coded);
}

static void put_record(struct byte_queue *q, unsigned type, uint32_t size)
{
	put_be32(more(q, 4), type << 24 | size);
}

static void put_item(struct byte_queue *q, uint16_t n, uint16_t pieces)
{
	uint8_t *p = more(q, 4);

	put_be16(p, n);
	put_be16(p + 2, pieces);
}

/* Units of a codec's stream of their own: `blocks` blocks of so many pieces. */
static void put_units(struct byte_queue *q, unsigned blocks, unsigned pieces)
{
	struct page_encoder *e = page_encoder_create(&disk_cache, NULL);
	struct byte_queue units = {0};
	static uint8_t content[CODEC_UNIT_PIECES * 1024];
	size_t n;

	for (unsigned i = 0; i < blocks; i++)
		assert_int_equal(page_encoder_put(e, i, content, pieces, &units, NULL), 0);
	assert_int_equal(page_encoder_end(e, &units, NULL), 0);
	page_encoder_destroy(e);
	n = byte_queue_length(&units);
	put_record(q, CODED_DISK_UNITS, (uint32_t)n);
	memcpy(more(q, n), units.data, n);
	byte_queue_clear(&units);
}

static void begin(struct byte_queue *q)
{
	uint8_t *p;

	byte_queue_clear(q);
	p = more(q, CODED_DISK_HEADER_SIZE);
	put_be32(p, CODED_DISK_MAGIC);
	p[4] = CODED_DISK_VERSION;
}

/* words: of the message */
static void assert_decoding(struct byte_queue *q, int expected, const char *words)
{
	struct byte_queue out = {0};
	auto_error why = NULL;

	assert_int_equal(disk_decode(q->data, byte_queue_length(q), 4096, &out, &why), expected);
	if (words && !strstr(why->message, words))
		fail_msg("found \"%s\", expected \"%s\"", why->message, words);
	byte_queue_clear(&out);
}

static void test_refused_records(void **unused)
{
	static const struct {
		unsigned type;
		uint32_t size;
	} records[] = {
		{0, 0},
		{CODED_DISK_TEXT, 0},
		{CODED_DISK_TEXT, CODED_TEXT_MOST + 1},
		{CODED_DISK_PACKED, 4},
		{CODED_DISK_PACKED, CODED_TEXT_MOST + 1},
		{CODED_DISK_UNITS, 0},
		{CODED_DISK_END, 1},
		{CODED_DISK_ASK, 1},
		{CODED_DISK_ASK + 1, 0},
	};
	struct byte_queue q = {0};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		begin(&q);
		put_record(&q, records[i].type, records[i].size);
		assert_decoding(&q, EPROTO, "found record");
	}
	begin(&q);
	put_record(&q, CODED_DISK_ASK, 0);
	put_record(&q, CODED_DISK_ASK, 0);
	assert_decoding(&q, EPROTO, "found record");
	begin(&q);
	q.data[0]++;
	assert_decoding(&q, EPROTO, "no coded disk");
	begin(&q);
	q.data[4]++;
	assert_decoding(&q, ENOTSUP, "version");
	begin(&q);
	q.data[7]++;
	assert_decoding(&q, ENOTSUP, "version");
	begin(&q);
	put_record(&q, CODED_DISK_PACKED, 8);
	put_be32(more(&q, 8), CODED_TEXT_MOST + 1);
	assert_decoding(&q, EPROTO, "packed text");
	begin(&q);
	put_record(&q, CODED_DISK_END, 0);
	assert_decoding(&q, EPROTO, NULL); /* the codec's has not come */
	byte_queue_clear(&q);
}

/* Items that say more than there is; units that nobody asked for, and too few of them. */
static void test_refused_items(void **unused)
{
	struct byte_queue q = {0};

	(void)unused;
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 3);
	more(&q, 3);
	assert_decoding(&q, EPROTO, "an item of 3 bytes");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 0);
	assert_decoding(&q, EPROTO, "0 bytes and 0 pieces");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 5);
	put_item(&q, 2, 1);
	more(&q, 1);
	assert_decoding(&q, EPROTO, "2 bytes and 1 pieces");

	begin(&q);
	put_units(&q, 1, 4);
	assert_decoding(&q, EPROTO, "expected 0 at the most");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 8);
	put_units(&q, 3, 4);
	assert_decoding(&q, EPROTO, "expected 0 at the most");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 64);
	put_units(&q, 1, 64);
	assert_decoding(&q, EPROTO, "expected 4 at the most");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 8);
	put_units(&q, 1, 4);
	put_record(&q, CODED_DISK_END, 0);
	assert_decoding(&q, EPROTO, "found record");
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 8);
	put_record(&q, CODED_DISK_TEXT, 5);
	assert_decoding(&q, EPROTO, "found record");
	/* and as it should be; nothing may follow */
	begin(&q);
	put_record(&q, CODED_DISK_TEXT, 4);
	put_item(&q, 0, 8);
	put_units(&q, 2, 4);
	put_record(&q, CODED_DISK_END, 0);
	assert_decoding(&q, 0, NULL);
	put_record(&q, CODED_DISK_TEXT, 5);
	assert_decoding(&q, EPROTO, "found record");
	byte_queue_clear(&q);
}

/* ---- Through pipes ---- */

#define PATIENT_S 20

static uint64_t all_of_it(void *arg)
{
	(void)arg;
	return UINT64_MAX / 2;
}

static void read_exactly(int fd, uint8_t *to, size_t n)
{
	while (n) {
		ssize_t some = recv(fd, to, n, 0);

		assert_true(some > 0);
		to += some;
		n -= (size_t)some;
	}
}

struct pipes {
	struct codec_pipe *encoder, *decoder;
	int client, server;
};

/* held: what is offered, taken over. */
static void start(struct pipes *p, struct held_pages *held)
{
	const struct encoder_options options = {.disk = true,
						.codec = disk_cache,
						.strongest = WAY_ZSTD_13,
						.offer_most = 1000,
						.delivered = all_of_it};
	const struct decoder_options decoding = {.limits = disk_limits, .disk = true};
	struct timeval patience = {.tv_sec = PATIENT_S};
	int in[2], middle[2], out[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, middle), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
	setsockopt(in[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(out[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	p->client = in[0];
	p->server = out[0];
	p->encoder = codec_pipe_encode(in[1], false, middle[0], &options, NULL);
	p->decoder = codec_pipe_decode(middle[1], out[1], &decoding, held, NULL);
	assert_non_null(p->encoder);
	assert_non_null(p->decoder);
}

static void stop(struct pipes *p)
{
	codec_pipe_destroy(p->encoder);
	codec_pipe_destroy(p->decoder);
	close(p->client);
	close(p->server);
}

/* All that is in the queue goes to the server, as it is, and its reply comes back. */
static void ask_and_reply(struct pipes *p, struct byte_queue *q)
{
	size_t n = byte_queue_length(q);
	uint8_t got[8192];

	assert_int_equal(send(p->client, q->data + q->start, n, 0), n);
	read_exactly(p->server, got, n);
	assert_memory_equal(got, q->data + q->start, n);
	assert_int_equal(send(p->server, "reply", 5, 0), 5);
	read_exactly(p->client, got, 5);
	assert_memory_equal(got, "reply", 5);
	byte_queue_consume(q, n);
}

/* A client that sends its next request when it has the reply to the one before. */
static void test_ping_pong(void **unused)
{
	struct codec_pipe_stats stats;
	struct byte_queue q = {0};
	struct pipes p;
	uint8_t got[1];
	int64_t begun;

	(void)unused;
	start(&p, held_pages_create(NULL, 0, 0, NULL));
	put_handshake(&q);
	begun = clock_ns();
	for (unsigned i = 0; i < 200; i++) {
		fill_words(put_write(&q, i % 7 * 4096, 4096), 4096, i);
		ask_and_reply(&p, &q);
	}
	/* a look of the pipes' own every 50 ms would be 10 s, and more */
	print_message("200 writes: %.3f s\n", (double)(clock_ns() - begun) / 1e9);
	assert_true(clock_ns() - begun < 5 * NS_PER_SEC);
	codec_pipe_stats(p.encoder, &stats);
	assert_int_equal(stats.stream.pages, 200);
	assert_true(stats.stream.bytes_out < stats.stream.bytes_in / 4);
	/* the end, and what is refused */
	shutdown(p.client, SHUT_WR);
	assert_int_equal(recv(p.server, got, 1, 0), 0);
	assert_int_equal(codec_pipe_check(p.encoder, NULL), 0);
	assert_int_equal(codec_pipe_check(p.decoder, NULL), 0);
	stop(&p);
	byte_queue_clear(&q);
}

/* An image of which the first 100 blocks are what words of these numbers make. */
static struct held_pages *hold_image(void)
{
	struct held_file file = {memfd_create("image", MFD_CLOEXEC), 0, 0};
	uint8_t block[4096];

	for (unsigned i = 0; i < 100; i++) {
		fill_words(block, sizeof(block), 1000 + i);
		assert_int_equal(pwrite(file.fd, block, sizeof(block), (off_t)i * 4096), 4096);
	}
	return held_pages_create(&file, 1, 1000, NULL);
}

/*
 * What the other end has of the disk is not sent, wherever it is there. The handshake waits for no
 * offer: it is not asked for before the first request.
 */
static void test_offered(void **unused)
{
	struct codec_pipe_stats stats;
	struct byte_queue q = {0};
	struct pipes p;

	(void)unused;
	start(&p, hold_image());
	put_handshake(&q);
	ask_and_reply(&p, &q);
	codec_pipe_stats(p.encoder, &stats);
	assert_int_equal(stats.offered, 0);
	for (unsigned i = 0; i < 100; i++) {
		fill_words(put_write(&q, i * 4096, 4096), 4096, 1000 + (i * 7) % 100);
		ask_and_reply(&p, &q);
	}
	codec_pipe_stats(p.encoder, &stats);
	assert_int_equal(stats.offered, 100);
	/* the first went when nothing was known yet */
	assert_in_range(stats.stream.front.known, 99, 100);
	assert_true(stats.stream.bytes_out < 10000);
	stop(&p);
	byte_queue_clear(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_flushed),
		cmocka_unit_test(test_less),
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_extended),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_refused_records),
		cmocka_unit_test(test_refused_items),
		cmocka_unit_test(test_ping_pong),
		cmocka_unit_test(test_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
