/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What coders make of guests' memory, and how fast, on one core and on two: ours and the libraries'
 * own, in turn, over images of memory.
 *
 * usage: codec-speed RUNS NAME FIRST SECOND [NAME FIRST SECOND]...
 *
 * FIRST: all of a guest's memory; SECOND: the same guest, later. A line of JSON for each guest,
 * round, coder and run: bytes in (content), of these in pages that are not zero, bytes out, seconds
 * of the thread's processor time, or for coders on two cores of the clock. Round 1 is the first
 * image, page by page in order, as a stream; round 2, by the same coder as it is then, the pages
 * that are different in the second one. What our coders make is decoded again and compared, which
 * is not in their time but a line of its own.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zstd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/page_decoder.h"
#include "migrate/codec/page_encoder.h"

#define PAGE	   4096u
#define CHUNK	   (256u << 10) /* the libraries get so much at once, and lz4's blocks are so long */
#define IMAGE_MOST (8ull << 30)
#define KIB	   (PAGE / 1024)

struct image {
	uint8_t *bytes;
	size_t pages;
	uint32_t *numbers; /* of the pages of a round */
	size_t round;
	size_t nonzero;
};

struct run {
	const char *guest, *coder;
	unsigned round;
	double seconds;
	uint64_t out;
};

static void die(const char *what)
{
	fprintf(stderr, "codec-speed: %s\n", what);
	exit(1);
}

static unsigned cores = 1; /* that a coder has */

static double now(void)
{
	struct timespec t;

	clock_gettime(cores == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(const struct run *run, const struct image *image)
{
	printf("{\"guest\":\"%s\",\"round\":%u,\"coder\":\"%s\",\"in\":%zu,\"nonzero\":%zu,"
	       "\"out\":%llu,\"seconds\":%.4f}\n",
	       run->guest, run->round, run->coder, image->round * PAGE, image->nonzero * PAGE,
	       (unsigned long long)run->out, run->seconds);
	fflush(stdout);
}

/* ---- Images ---- */

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Of the second image those pages that differ from the first one's. */
static void number(struct image *image, const struct image *before)
{
	image->numbers = malloc(image->pages * sizeof(*image->numbers));
	if (!image->numbers)
		die("no memory");
	for (size_t p = 0; p < image->pages; p++) {
		const uint8_t *page = image->bytes + p * PAGE;

		if (before && memcmp(page, before->bytes + p * PAGE, PAGE) == 0)
			continue;
		image->numbers[image->round++] = (uint32_t)p;
		image->nonzero += !is_zero(page);
	}
}

static void load(struct image *image, const char *path, const struct image *before)
{
	auto_error err = NULL;
	size_t size;

	*image = (struct image){(uint8_t *)read_file(path, IMAGE_MOST, &size, &err)};
	if (!image->bytes)
		die(error_text(err));
	image->pages = size / PAGE;
	if (before && before->pages != image->pages)
		die("images of different size");
	number(image, before);
}

static const uint8_t *page_of(const struct image *image, size_t i)
{
	return image->bytes + (size_t)image->numbers[i] * PAGE;
}

static void unload(struct image *image)
{
	free(image->bytes);
	free(image->numbers);
}

/* ---- The libraries' own ---- */

/* Hands the pages of a round over, gathered as a relay would have them. */
static void in_chunks(const struct image *image, void (*code)(void *, const uint8_t *, size_t),
		      void *arg)
{
	static uint8_t chunks[2][CHUNK];
	unsigned turn = 0;
	size_t n = 0;

	for (size_t i = 0; i < image->round; i++) {
		memcpy(chunks[turn] + n, page_of(image, i), PAGE);
		n += PAGE;
		if (n < CHUNK && i + 1 < image->round)
			continue;
		code(arg, chunks[turn], n);
		turn ^= 1;
		n = 0;
	}
}

struct plain {
	uint64_t out;
	int level;
	ZSTD_CCtx *zstd;
	LZ4_stream_t *lz4;
	uint8_t to[2 * CHUNK];
};

static void code_memcpy(void *arg, const uint8_t *bytes, size_t n)
{
	struct plain *p = arg;

	memcpy(p->to, bytes, n);
	p->out += n;
}

static void code_lz4(void *arg, const uint8_t *bytes, size_t n)
{
	struct plain *p = arg;

	p->out += (uint64_t)LZ4_compress_fast_continue(p->lz4, (const char *)bytes, (char *)p->to,
						       (int)n, (int)sizeof(p->to), 1);
}

static void code_zstd(void *arg, const uint8_t *bytes, size_t n)
{
	struct plain *p = arg;
	ZSTD_inBuffer in = {bytes, n, 0};

	while (in.pos < n) {
		ZSTD_outBuffer out = {p->to, sizeof(p->to), 0};

		if (ZSTD_isError(ZSTD_compressStream2(p->zstd, &out, &in, ZSTD_e_continue)))
			die("zstd failed");
		p->out += out.pos;
	}
}

static void zstd_flush(struct plain *p)
{
	size_t left;

	do {
		ZSTD_inBuffer in = {NULL, 0, 0};
		ZSTD_outBuffer out = {p->to, sizeof(p->to), 0};

		left = ZSTD_compressStream2(p->zstd, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left))
			die("zstd failed");
		p->out += out.pos;
	} while (left > 0);
}

static void run_plain(const char *guest, const char *coder, int level,
		      void (*code)(void *, const uint8_t *, size_t), const struct image images[2])
{
	static struct plain p;

	p.zstd = ZSTD_createCCtx();
	p.lz4 = LZ4_createStream();
	ZSTD_CCtx_setParameter(p.zstd, ZSTD_c_compressionLevel, level);
	if (cores > 1 && ZSTD_isError(ZSTD_CCtx_setParameter(p.zstd, ZSTD_c_nbWorkers, (int)cores)))
		die("this zstd has no threads");
	for (unsigned round = 0; round < 2; round++) {
		double begun = now();

		p.out = 0;
		in_chunks(&images[round], code, &p);
		if (code == code_zstd)
			zstd_flush(&p);
		say(&(struct run){guest, coder, round + 1, now() - begun, p.out}, &images[round]);
	}
	ZSTD_freeCCtx(p.zstd);
	LZ4_freeStream(p.lz4);
}

/* ---- Ours ---- */

struct check {
	const struct image *image;
	size_t at;
};

static int check_page(void *arg, uint64_t unit, const uint8_t *content, unsigned pieces,
		      struct error **err)
{
	struct check *c = arg;

	if (c->at >= c->image->round || unit != c->image->numbers[c->at] || pieces != KIB ||
	    memcmp(content, page_of(c->image, c->at), PAGE) != 0)
		return error_set(err, 0, "page %llu came out wrong", (unsigned long long)unit);
	c->at++;
	return 0;
}

static void encode(struct page_encoder *e, const struct image *image, struct byte_queue *out)
{
	auto_error err = NULL;

	for (size_t i = 0; i < image->round; i++)
		if (page_encoder_put(e, image->numbers[i], page_of(image, i), KIB, out, &err) < 0)
			die(error_text(err));
	if (page_encoder_flush(e, out, &err) < 0)
		die(error_text(err));
}

static void show_stats(const struct page_encoder *e, const char *guest, unsigned round)
{
	static const char *const names[CODEC_PIECES] = {
		"zero", "filled", "reference", "next", "unchanged", "delta", "sparse", "literal"};
	struct front_stats stats;

	page_encoder_stats(e, &stats);
	printf("{\"guest\":\"%s\",\"round\":%u,\"delta_bytes\":%llu", guest, round,
	       (unsigned long long)stats.delta_bytes);
	for (unsigned i = 0; i < CODEC_PIECES; i++)
		printf(",\"%s\":%llu", names[i], (unsigned long long)stats.pieces[i]);
	printf("}\n");
}

static void run_ours(const char *guest, const char *coder, struct codec_way way,
		     const struct image images[2], bool tell)
{
	auto_error err = NULL;
	struct codec_options options = codec_defaults;
	struct page_encoder *e;
	struct check check = {0};
	struct page_decoder *d = page_decoder_create(&decoder_defaults, check_page, &check, &err);
	struct byte_queue out = {0};
	char decoder[64];

	options.lanes = cores;
	e = page_encoder_create(&options, &err);
	if (!e || !d || !byte_queue_reserve(&out, images[0].pages * PAGE + (1u << 20)))
		die(error_text(err));
	/* pages of memory that have never been touched cost time that is not the coder's */
	memset(out.data, 1, out.size);
	snprintf(decoder, sizeof(decoder), "%s, decoder", coder);
	page_encoder_use(e, way);
	/* the header, by which the decoder takes its memory */
	if (page_encoder_flush(e, &out, &err) < 0 ||
	    page_decoder_feed(d, out.data, byte_queue_length(&out), &err) < 0)
		die(error_text(err));
	byte_queue_consume(&out, byte_queue_length(&out));
	for (unsigned round = 0; round < 2; round++) {
		double begun = now();

		encode(e, &images[round], &out);
		say(&(struct run){guest, coder, round + 1, now() - begun, byte_queue_length(&out)},
		    &images[round]);
		check = (struct check){&images[round], 0};
		begun = now();
		if (page_decoder_feed(d, out.data, byte_queue_length(&out), &err) < 0)
			die(error_text(err));
		say(&(struct run){guest, decoder, round + 1, now() - begun,
				  byte_queue_length(&out)},
		    &images[round]);
		if (check.at != images[round].round)
			die("pages are missing");
		byte_queue_consume(&out, byte_queue_length(&out));
		if (tell)
			show_stats(e, guest, round + 1);
	}
	page_encoder_destroy(e);
	page_decoder_destroy(d);
	byte_queue_clear(&out);
}

static const struct {
	const char *name;
	struct codec_way way;
} ours[] = {
	{"ours", {true, {METHOD_ZSTD, 1}}},
	{"ours, no payload coder", {true, {METHOD_RAW}}},
	{"ours, lz4", {true, {METHOD_LZ4, 1}}},
	{"ours, zstd -1", {true, {METHOD_ZSTD, -1}}},
	{"ours, zstd 3", {true, {METHOD_ZSTD, 3}}},
	{"ours, no cache", {false, {METHOD_ZSTD, 1}}},
	{"ours, raw", {false, {METHOD_RAW}}},
};

static void run_guest(const char *name, const struct image images[2], bool tell)
{
	run_plain(name, "memcpy", 0, code_memcpy, images);
	run_plain(name, "lz4", 0, code_lz4, images);
	run_plain(name, "zstd -1", 1, code_zstd, images);
	run_plain(name, "zstd -3", 3, code_zstd, images);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		run_ours(name, ours[i].name, ours[i].way, images, tell);
	cores = 2;
	run_plain(name, "zstd -1, 2 cores", 1, code_zstd, images);
	run_plain(name, "zstd -3, 2 cores", 3, code_zstd, images);
	run_ours(name, "ours, 2 cores", ours[0].way, images, false);
	run_ours(name, "ours, zstd 3, 2 cores", (struct codec_way){true, {METHOD_ZSTD, 3}}, images,
		 false);
	cores = 1;
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 0;

	if (runs < 1 || argc < 5 || (argc - 2) % 3 != 0)
		die("usage: codec-speed RUNS NAME FIRST SECOND [NAME FIRST SECOND]...");
	for (int i = 2; i < argc; i += 3) {
		struct image images[2];

		load(&images[0], argv[i + 1], NULL);
		load(&images[1], argv[i + 2], &images[0]);
		for (int run = 0; run < runs; run++)
			run_guest(argv[i], images, run == 0);
		unload(&images[0]);
		unload(&images[1]);
	}
	return 0;
}
