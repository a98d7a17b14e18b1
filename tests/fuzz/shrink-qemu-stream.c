/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a seed for the fuzzer of a recorded stream: the blocks' first pages, a few of them with
 * content, few sections, the beginning of the devices and of their description. What is left is as
 * QEMU sent it, but for the blocks' sizes and the description's length.
 *
 * usage: shrink-qemu-stream STREAM SEED
 */
#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/stream/qemu_format.h"
#include "tests/fuzz/qemu-stream-rig.h"

#define STREAM_MOST	 (1u << 30)
#define PAGES_MOST	 6u /* of a block */
#define CONTENT_MOST	 3u /* pages of all blocks */
#define FILLED_MOST	 12u
#define PARTS_MOST	 4u /* and the last */
#define DEVICES_MOST	 2048u
#define DESCRIPTION_MOST 200u

static struct copy out, devices;
static struct qemu_reader *reader;
static struct qemu_writer *writer;
static size_t parts, contents, fills;
static bool kept, ended;

static int keep_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	(void)arg, (void)err;
	copy_bytes(ended ? &devices : &out, bytes, n);
	return 0;
}

static int keep_block(void *arg, size_t index, const struct qemu_block *block, struct error **err)
{
	(void)arg, (void)index, (void)block, (void)err;
	return 0;
}

/* The sizes of the blocks, in the list that is in `out` already. */
static void shrink_blocks(void)
{
	static const uint8_t name[] = "\3ram\0\0\0\0\0\0\0\4";
	uint8_t *at = memmem(out.out, out.size, name, sizeof(name) - 1);
	size_t count;
	const struct qemu_block *blocks = qemu_reader_blocks(reader, &count);
	uint64_t total = 0;
	uint8_t *sum;

	rig_check(at);
	sum = at + sizeof(name) - 1;
	at = sum + 8;
	for (size_t i = 0; i < count; i++) {
		uint64_t bytes = blocks[i].bytes;

		if (bytes > (uint64_t)PAGES_MOST * QEMU_PAGE)
			bytes = (uint64_t)PAGES_MOST * QEMU_PAGE;
		at += 1 + at[0];
		rig_check(get_be64(at) == blocks[i].bytes);
		put_be64(at, bytes);
		at += 8;
		total += bytes;
	}
	put_be64(sum, total | QEMU_RAM_MEM_SIZE);
}

static int keep_begin(void *arg, bool last, struct error **err)
{
	uint8_t header[QEMU_HEADER_MOST];

	(void)arg, (void)err;
	if (parts++ == 0) {
		shrink_blocks();
		rig_check(qemu_writer_format(writer, reader) == 0);
	}
	kept = last || parts <= PARTS_MOST;
	if (kept)
		copy_bytes(&out, header, qemu_write_part_begin(writer, last, header));
	return 0;
}

static int keep_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		     struct error **err)
{
	uint8_t header[QEMU_HEADER_MOST];

	(void)arg, (void)err;
	if (!kept || page >= PAGES_MOST)
		return 0;
	if (content ? contents == CONTENT_MOST : fills == FILLED_MOST)
		return 0;
	(*(content ? &contents : &fills))++;
	copy_bytes(&out, header, qemu_write_page(writer, block, page, !content, fill, header));
	if (content)
		copy_bytes(&out, content, QEMU_PAGE);
	return 0;
}

static int keep_end(void *arg, bool last, struct error **err)
{
	uint8_t header[QEMU_HEADER_MOST];

	(void)arg, (void)err;
	ended = last;
	if (kept)
		copy_bytes(&out, header, qemu_write_part_end(writer, last, header));
	return 0;
}

/* The end mark, and the first words of the description if there is one. */
static void shrink_devices(void)
{
	const uint8_t *mark = memrchr(devices.out, QEMU_EOF, devices.size);
	const uint8_t *end = devices.out + devices.size;
	uint8_t header[6] = {QEMU_EOF, QEMU_DESCRIPTION};

	rig_check(mark);
	copy_bytes(&out, devices.out, devices.size < DEVICES_MOST ? devices.size : DEVICES_MOST);
	/* the length before the JSON may have zeros of its own */
	while (mark < end && *mark != '{')
		mark++;
	put_be32(header + 2, DESCRIPTION_MOST);
	if (end - mark < (ptrdiff_t)DESCRIPTION_MOST) {
		copy_bytes(&out, header, 1);
		return;
	}
	copy_bytes(&out, header, sizeof(header));
	copy_bytes(&out, mark, DESCRIPTION_MOST);
}

int main(int argc, char **argv)
{
	const struct qemu_stream_sink sink = {
		.opaque = keep_opaque,
		.block = keep_block,
		.part_begin = keep_begin,
		.page = keep_page,
		.part_end = keep_end,
	};
	auto_error err = NULL;
	auto_free char *bytes = NULL;
	struct copy check;
	size_t n;

	rig_check(argc == 3);
	bytes = read_file(argv[1], STREAM_MOST, &n, &err);
	reader = qemu_reader_create(&sink, &err);
	writer = qemu_writer_create(&err);
	if (!bytes || !reader || !writer ||
	    qemu_reader_feed(reader, (const uint8_t *)bytes, n, &err) < 0 ||
	    qemu_reader_end(reader, &err) < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], error_text(err));
		return 1;
	}
	shrink_devices();
	rig_check(copy_all(&check, out.out, out.size, 0, 0) == 0);
	copy_stop(&check);
	if (write_file_durably(argv[2], out.out, out.size, &err) < 0) {
		fprintf(stderr, "%s\n", error_text(err));
		return 1;
	}
	printf("%s: %zu bytes of %zu, %zu sections, %zu pages and %zu filled kept\n", argv[2],
	       out.size, n, parts, contents, fills);
	return 0;
}
