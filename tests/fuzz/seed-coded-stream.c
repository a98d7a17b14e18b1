/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the fuzzer's corpus of the coded stream anew: the seeds of QEMU's and Xen's streams, coded,
 * and one of pages that the decoder has offered.
 *
 * usage: make build/fuzz/seed-coded-stream && build/fuzz/seed-coded-stream tests/fuzz/corpus
 */
#include <limits.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/stream_encoder.h"
#include "tests/fuzz/held-rig.h"

#define XEN_PAGES (1u << 16)

static const struct codec_options options = {.cache_bytes = 1u << 20,
					     .batch_bytes = CODEC_BATCH_LEAST,
					     .window = 12,
					     .seed = 3,
					     .lanes = 1};

static const struct {
	enum coded_format format;
	const char *folder, *name;
} seeds[] = {
	{CODED_QEMU, "qemu-stream", "microvm"},	 {CODED_QEMU, "qemu-stream", "pc-2.2"},
	{CODED_QEMU, "qemu-stream", "q35"},	 {CODED_QEMU, "qemu-stream", "q35-blocks"},
	{CODED_QEMU, "qemu-stream", "handmade"}, {CODED_QEMU, "qemu-stream", "known"},
	{CODED_XEN, "xen-stream", "pvh"},	 {CODED_XEN, "xen-stream", "hvm"},
};

/*
 * The handmade stream, where pages of zeroes that continue a block are such as the decoder has in
 * place of them: be64 offset 0 and flags, the byte that fills it.
 */
static uint8_t *read_known(const char *corpus, size_t *n)
{
	static const uint8_t zeroes[] = {0, 0, 0, 0, 0, 0, 0, 0x22, 0};
	static const uint8_t page[] = {0, 0, 0, 0, 0, 0, 0, 0x28};
	unsigned number = 3;
	char path[PATH_MAX];
	auto_free uint8_t *from = NULL;
	uint8_t *to, *at;
	size_t left;

	snprintf(path, sizeof(path), "%s/qemu-stream/handmade", corpus);
	from = (uint8_t *)read_file(path, 1 << 20, &left, NULL);
	to = malloc(1 << 20);
	rig_check(from && to);
	for (*n = 0, at = from; left; number += 2) {
		uint8_t *next = memmem(at, left, zeroes, sizeof(zeroes));
		size_t some = next ? (size_t)(next - at) : left;

		memcpy(to + *n, at, some);
		*n += some;
		at += some;
		left -= some;
		if (!next)
			break;
		memcpy(to + *n, page, sizeof(page));
		rig_held_page(to + *n + sizeof(page), number % RIG_HELD);
		*n += sizeof(page) + 4096;
		at += sizeof(zeroes);
		left -= sizeof(zeroes);
	}
	rig_check(number > 3);
	return to;
}

static uint8_t *read_seed(const char *corpus, size_t i, size_t *n)
{
	char path[PATH_MAX];

	if (strcmp(seeds[i].name, "known") == 0)
		return read_known(corpus, n);
	snprintf(path, sizeof(path), "%s/%s/%s", corpus, seeds[i].folder, seeds[i].name);
	return (uint8_t *)read_file(path, 1 << 20, n, NULL);
}

static void make(const char *corpus, size_t i)
{
	char path[PATH_MAX];
	size_t n;
	auto_free uint8_t *bytes = read_seed(corpus, i, &n);
	struct known_pages *known = known_pages_create(RIG_HELD, NULL);
	struct held_pages *held = rig_hold(known);
	struct byte_queue out = {0};
	struct stream_encoder *e = stream_encoder_create(
		seeds[i].format, seeds[i].format == CODED_XEN ? XEN_PAGES : 0, &options, NULL);

	rig_check(e && bytes);
	stream_encoder_know(e, known);
	rig_check(stream_encoder_feed(e, bytes, n / 2, &out, NULL) == 0);
	rig_check(stream_encoder_flush(e, &out, NULL) == 0);
	rig_check(stream_encoder_feed(e, bytes + n / 2, n - n / 2, &out, NULL) == 0);
	/* some of the seeds end early */
	(void)stream_encoder_end(e, &out, NULL);
	snprintf(path, sizeof(path), "%s/coded-stream/%s-%s", corpus,
		 seeds[i].format == CODED_XEN ? "xen" : "qemu", seeds[i].name);
	rig_check(write_file_durably(path, out.data, byte_queue_length(&out), NULL) == 0);
	byte_queue_clear(&out);
	stream_encoder_destroy(e);
	known_pages_destroy(known);
	held_pages_destroy(held);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s tests/fuzz/corpus\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++)
		make(argv[1], i);
	return 0;
}
