/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the fuzzer's corpus of the page decoder anew: what the encoder makes of a guest that
 * changes, small, in each way of coding.
 *
 * usage: make build/fuzz/seed-codec && build/fuzz/seed-codec tests/fuzz/corpus/codec
 */
#include <limits.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/control.h"
#include "tests/fuzz/codec-rig.h"
#include "tests/unit/test-codec-kit.h"

static const struct codec_options options = {
	.cache_bytes = CODEC_SLOTS_LEAST * 1024ull,
	.batch_bytes = CODEC_BATCH_LEAST,
	.window = 12,
	.lanes = 1,
	.seed = 3,
};

static const struct {
	const char *name;
	enum control_way first, second;
	unsigned units, flush; /* how many, and after how many there is a flush */
} seeds[] = {
	{"empty", WAY_RAW, WAY_RAW, 0, 1},
	{"raw", WAY_RAW, WAY_RAW, 12, 5},
	{"caches", WAY_CACHE, WAY_CACHE, 50, 9},
	{"caches-one-batch", WAY_CACHE, WAY_CACHE, 20, 99},
	{"lz4", WAY_LZ4, WAY_LZ4, 40, 7},
	{"zstd", WAY_ZSTD_1, WAY_ZSTD_1, 40, 7},
	{"zstd-levels", WAY_ZSTD_3, WAY_ZSTD_FAST, 40, 6},
	{"mixed", WAY_RAW, WAY_CACHE, 24, 4},
	{"lz4-zstd", WAY_LZ4, WAY_ZSTD_1, 40, 3},
};

/* Units until there are so many, of which most are changed again and again. */
static void encode(size_t i, struct byte_queue *out)
{
	struct kit_guest *g = kit_guest_create(1000 + i);
	struct page_encoder *e = page_encoder_create(&options, NULL);

	rig_check(e != NULL);
	for (unsigned n = 0; n < seeds[i].units;) {
		unsigned unit = kit_write(g);

		if (unit % 25 > 2 || g->pieces[unit] > 9)
			continue;
		page_encoder_use(e, control_way_of(n / seeds[i].flush % 2 ? seeds[i].second
									  : seeds[i].first));
		rig_check(page_encoder_put(e, kit_number(unit), g->content[unit], g->pieces[unit],
					   out, NULL) == 0);
		if (++n % seeds[i].flush == 0)
			rig_check(page_encoder_flush(e, out, NULL) == 0);
	}
	rig_check(page_encoder_end(e, out, NULL) == 0);
	page_encoder_destroy(e);
	free(g);
}

int main(int argc, char **argv)
{
	rig_check(argc == 2);
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		auto_error err = NULL;
		struct byte_queue out = {0};
		struct decoding d;
		char path[PATH_MAX];

		encode(i, &out);
		decode_all(&d, out.data, byte_queue_length(&out), 0, 0);
		rig_check(d.code == 0 && d.units == seeds[i].units);
		snprintf(path, sizeof(path), "%s/%s", argv[1], seeds[i].name);
		if (write_file_durably(path, out.data, byte_queue_length(&out), &err) < 0) {
			fprintf(stderr, "%s\n", error_text(err));
			return 1;
		}
		printf("%s: %zu bytes\n", path, byte_queue_length(&out));
		byte_queue_clear(&out);
	}
	return 0;
}
