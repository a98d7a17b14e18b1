/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the fuzzer's corpus of the coded stream anew: the seeds of QEMU's and Xen's streams, coded.
 *
 * usage: make build/fuzz/seed-coded-stream && build/fuzz/seed-coded-stream tests/fuzz/corpus
 */
#include <limits.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/stream_encoder.h"
#include "tests/fuzz/rig.h"

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
	{CODED_QEMU, "qemu-stream", "handmade"}, {CODED_XEN, "xen-stream", "pvh"},
	{CODED_XEN, "xen-stream", "hvm"},
};

static void make(const char *corpus, size_t i)
{
	char path[PATH_MAX];
	size_t n;
	auto_free uint8_t *bytes = NULL;
	struct byte_queue out = {0};
	struct stream_encoder *e = stream_encoder_create(
		seeds[i].format, seeds[i].format == CODED_XEN ? XEN_PAGES : 0, &options, NULL);

	snprintf(path, sizeof(path), "%s/%s/%s", corpus, seeds[i].folder, seeds[i].name);
	bytes = (uint8_t *)read_file(path, 1 << 20, &n, NULL);
	rig_check(e && bytes);
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
