/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a seed of the fuzzer's corpus of coded disks: what an NBD client said, coded.
 *
 * usage: make build/fuzz/seed-coded-disk && build/fuzz/seed-coded-disk STREAM SEED
 */
#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/disk_encoder.h"
#include "tests/fuzz/rig.h"

static const struct codec_options options = {.cache_bytes = 1u << 20,
					     .batch_bytes = CODEC_BATCH_LEAST,
					     .window = 12,
					     .lanes = 1,
					     .seed = 3};

int main(int argc, char **argv)
{
	auto_free uint8_t *bytes = NULL;
	struct byte_queue out = {0};
	struct disk_encoder *e;
	size_t n;

	if (argc != 3) {
		fprintf(stderr, "usage: %s STREAM SEED\n", argv[0]);
		return 2;
	}
	bytes = (uint8_t *)read_file(argv[1], 1 << 20, &n, NULL);
	e = disk_encoder_create(&options, NULL);
	rig_check(e && bytes);
	rig_check(disk_encoder_feed(e, bytes, n / 2, &out, NULL) == 0);
	rig_check(disk_encoder_flush(e, &out, NULL) == 0);
	rig_check(disk_encoder_feed(e, bytes + n / 2, n - n / 2, &out, NULL) == 0);
	rig_check(disk_encoder_end(e, &out, NULL) == 0);
	rig_check(write_file_durably(argv[2], out.data, byte_queue_length(&out), NULL) == 0);
	byte_queue_clear(&out);
	disk_encoder_destroy(e);
	return 0;
}
