/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of real guests through reader and writer: unchanged, byte by byte the same; rewritten
 * with all pages in another order, a stock destination loads them.
 */
#include "tests/unit/test-stream-qemu.h"

#include "migrate/stream/qemu_format.h"

#define OLD    2
#define ROUNDS 5

static const char *const guests[] = {
	"-machine pc-q35-7.2 -m 32 -smp 2 -vga std -netdev user,id=n -device "
	"virtio-net-pci,netdev=n,romfile= -device "
	"virtio-rng-pci "
	"-device virtio-serial-pci -device virtserialport,name=org.edgehop "
	"-drive if=none,id=d,format=raw,readonly=on,file=BOOT -device virtio-blk-pci,drive=d",
	"-machine pc-i440fx-7.2 -m 24 -vga none -netdev user,id=n -device "
	"e1000,netdev=n,romfile= -device isa-serial -device "
	"piix3-usb-uhci -drive if=floppy,format=raw,readonly=on,file=BOOT",
	/* OLD: neither configuration nor footers nor description */
	"-machine pc-i440fx-2.2 -m 16 -vga cirrus -drive "
	"if=floppy,format=raw,readonly=on,file=BOOT",
	"-machine pc-q35-6.2,memory-backend=low -object memory-backend-memfd,id=low,size=32M -m 32 "
	"-smp 1,maxcpus=4 -vga none -device virtio-balloon-pci -device qemu-xhci "
	"-drive if=none,id=d,format=raw,readonly=on,file=BOOT -device virtio-blk-pci,drive=d",
};

/* ---- Unchanged ---- */

static void assert_identity(const struct recording *r, size_t most, struct copy *copy)
{
	int code = copy_all(copy, r->bytes, r->size, most, most + 1);

	if (code)
		print_message("%s\n", error_text(copy->err));
	assert_int_equal(code, 0);
	assert_int_equal(copy->size, r->size);
	assert_memory_equal(copy->out, r->bytes, r->size);
	assert_int_equal(copy->renamed, 0);
}

/* Every page at least once, and as many with content as the boot sector filled. */
static void assert_plausible(const struct copy *copy, size_t parts)
{
	assert_true(copy->blocks >= 2);
	assert_true(copy->parts >= parts);
	assert_true(copy->pages + copy->filled >= copy->bytes / QEMU_PAGE);
	assert_true(copy->pages >= FILLED_BYTES / QEMU_PAGE);
	assert_true(copy->filled > 0);
}

static void test_identity(void **unused)
{
	static const size_t cuts[] = {0, 100000, 4096, 40};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		struct recording r;
		struct machine m;
		struct copy copy;

		start_machine(&m, guests[i], "");
		wait_busy(&m);
		record(&m, i == 0, i < 2 ? ROUNDS : 0, &r);
		stop_machine(&m);
		assert_true((r.bytes[8] == QEMU_CONFIGURATION) == (i != OLD));
		for (size_t j = 0; j < ARRAY_SIZE(cuts); j++) {
			assert_identity(&r, cuts[j], &copy);
			assert_plausible(&copy, i < 2 ? 3 : 2);
			/* several rounds: pages that the guest kept writing came again */
			if (i < 2)
				assert_true(copy.pages + copy.filled >
					    copy.bytes / QEMU_PAGE + 3 * 128);
			if (j == 0)
				print_message(
					"%.20s: %zu bytes, %zu blocks, %zu sections, %zu pages, "
					"%zu filled\n",
					guests[i], r.size, copy.blocks, copy.parts, copy.pages,
					copy.filled);
			copy_stop(&copy);
		}
		free(r.bytes);
	}
}

/* A real stream that ends early is an error wherever it ends. */
static void test_truncated(void **unused)
{
	uint64_t random = 99;
	struct recording r;
	struct machine m;

	(void)unused;
	start_machine(&m, guests[1], "-S");
	record(&m, false, 0, &r);
	stop_machine(&m);
	for (int i = 0; i < 200; i++) {
		struct copy copy;
		/* half of them in the devices */
		size_t n = (size_t)(rig_random(&random) % (i % 2 ? r.size : 150000));

		n = i % 2 ? n : r.size - 1 - n % (r.size - 1);
		assert_int_equal(copy_all(&copy, r.bytes, n, 0, 0), EPROTO);
		copy_stop(&copy);
	}
	free(r.bytes);
}

/* ---- Rewritten ---- */

/* The last version of each page, and what is around the pages. */
struct held {
	struct qemu_reader *reader;
	struct qemu_writer *writer;
	struct copied {
		size_t block;
		uint64_t page;
		uint8_t *content; /* NULL: filled */
		uint8_t fill;
	} * pages;
	size_t count;
	size_t first[QEMU_BLOCKS_MOST + 1]; /* index of each block's first page */
	struct copy before, after;
	bool ended;
};

static int hold_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct held *held = arg;

	(void)err;
	copy_bytes(held->ended ? &held->after : &held->before, bytes, n);
	return 0;
}

static int hold_block(void *arg, size_t index, const struct qemu_block *block, struct error **err)
{
	struct held *held = arg;
	size_t more = block->bytes / QEMU_PAGE;

	(void)err;
	held->first[index] = held->count;
	held->pages = realloc(held->pages, (held->count + more) * sizeof(*held->pages));
	assert_non_null(held->pages);
	for (size_t i = 0; i < more; i++)
		held->pages[held->count++] = (struct copied){.block = SIZE_MAX};
	return 0;
}

static int hold_begin(void *arg, bool last, struct error **err)
{
	struct held *held = arg;

	(void)last, (void)err;
	return qemu_writer_format(held->writer, held->reader);
}

static int hold_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		     struct error **err)
{
	struct held *held = arg;
	struct copied *copied = &held->pages[held->first[block] + page];

	(void)err;
	free(copied->content);
	*copied = (struct copied){.block = block, .page = page, .fill = fill};
	if (content) {
		copied->content = malloc(QEMU_PAGE);
		memcpy(copied->content, content, QEMU_PAGE);
	}
	return 0;
}

static int hold_end(void *arg, bool last, struct error **err)
{
	(void)err;
	((struct held *)arg)->ended = last;
	return 0;
}

static void hold_all(struct held *held, const struct recording *r)
{
	const struct qemu_stream_sink sink = {
		.opaque = hold_opaque,
		.block = hold_block,
		.part_begin = hold_begin,
		.page = hold_page,
		.part_end = hold_end,
		.arg = held,
	};

	memset(held, 0, sizeof(*held));
	held->reader = qemu_reader_create(&sink, NULL);
	held->writer = qemu_writer_create(NULL);
	assert_int_equal(qemu_reader_feed(held->reader, r->bytes, r->size, NULL), 0);
	assert_int_equal(qemu_reader_end(held->reader, NULL), 0);
}

static void put_held(struct held *held, const struct copied *page, struct copy *out)
{
	uint8_t header[QEMU_HEADER_MOST];

	copy_bytes(out, header,
		   qemu_write_page(held->writer, page->block, page->page, !page->content,
				   page->fill, header));
	if (page->content)
		copy_bytes(out, page->content, QEMU_PAGE);
}

/* All pages in random order, over sections of random length, the last of them in SECTION_END. */
static void rewrite(struct held *held, struct copy *out)
{
	uint8_t header[QEMU_HEADER_MOST];
	uint64_t random = 20260101;

	memset(out, 0, sizeof(*out));
	copy_bytes(out, held->before.out, held->before.size);
	for (size_t i = held->count - 1; i > 0; i--) {
		size_t j = (size_t)(rig_random(&random) % (i + 1));
		struct copied other = held->pages[i];

		held->pages[i] = held->pages[j];
		held->pages[j] = other;
	}
	for (size_t i = 0; i < held->count;) {
		size_t n = 1 + (size_t)(rig_random(&random) % 2000);
		bool last = n >= held->count - i;

		n = last ? held->count - i : n;
		copy_bytes(out, header, qemu_write_part_begin(held->writer, last, header));
		for (; n; n--, i++)
			if (held->pages[i].block != SIZE_MAX)
				put_held(held, &held->pages[i], out);
		copy_bytes(out, header, qemu_write_part_end(held->writer, last, header));
	}
	copy_bytes(out, held->after.out, held->after.size);
}

static void release(struct held *held)
{
	for (size_t i = 0; i < held->count; i++)
		free(held->pages[i].content);
	free(held->pages);
	free(held->before.out);
	free(held->after.out);
	qemu_reader_destroy(held->reader);
	qemu_writer_destroy(held->writer);
}

/* The guest stands still while it is migrated, so the source's memory is what was sent. */
static void test_reordered(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		const size_t bytes = 16 << 20;
		auto_free uint8_t *there = malloc(bytes), *here = malloc(bytes);
		struct machine source, destination;
		struct recording r;
		struct held held;
		struct copy out;

		start_machine(&source, guests[i], "");
		wait_busy(&source);
		tell(&source, "stop", NULL);
		record(&source, false, 0, &r);
		save_memory(&source, 0, bytes, here);
		stop_machine(&source);
		hold_all(&held, &r);
		rewrite(&held, &out);
		start_machine(&destination, guests[i], "-S -incoming defer");
		play(&destination, out.out, out.size);
		save_memory(&destination, 0, bytes, there);
		assert_memory_equal(there, here, bytes);
		assert_true(here[FILLED_FROM + FILLED_BYTES - 4] |
			    here[FILLED_FROM + FILLED_BYTES - 3]);
		/* and the guest goes on where it stood */
		tell(&destination, "cont", NULL);
		do {
			clock_sleep_ms(20);
			save_memory(&destination, ROUNDS_AT, 4, there);
		} while (memcmp(there, here + ROUNDS_AT, 4) == 0);
		stop_machine(&destination);
		release(&held);
		free(out.out);
		free(r.bytes);
	}
}

/* The guest runs: of pages that came again only the newest is played, and that is what is loaded.
 */
static void test_superseded(void **unused)
{
	const size_t from = FILLED_FROM / QEMU_PAGE, count = FILLED_BYTES / QEMU_PAGE;
	static uint8_t there[FILLED_BYTES];
	struct machine source, destination;
	const struct qemu_block *blocks;
	struct recording r;
	struct held held;
	struct copy out;
	size_t ram = 0, compared = 0, n;

	(void)unused;
	start_machine(&source, guests[1], "");
	wait_busy(&source);
	record(&source, false, ROUNDS, &r);
	stop_machine(&source);
	hold_all(&held, &r);
	blocks = qemu_reader_blocks(held.reader, &n);
	while (strcmp(blocks[ram].name, "pc.ram") != 0)
		assert_true(++ram < n);
	rewrite(&held, &out);
	assert_true(out.size < r.size - 2 * 128 * QEMU_PAGE);
	start_machine(&destination, guests[1], "-S -incoming defer");
	play(&destination, out.out, out.size);
	save_memory(&destination, FILLED_FROM, FILLED_BYTES, there);
	for (size_t i = 0; i < held.count; i++) {
		const struct copied *page = &held.pages[i];

		if (page->block != ram || page->page < from || page->page >= from + count)
			continue;
		assert_non_null(page->content);
		assert_memory_equal(there + (page->page - from) * QEMU_PAGE, page->content,
				    QEMU_PAGE);
		compared++;
	}
	assert_int_equal(compared, count);
	stop_machine(&destination);
	release(&held);
	free(out.out);
	free(r.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_reordered),
		cmocka_unit_test(test_superseded),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
