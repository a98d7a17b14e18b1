/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The writer of Xen's stream: a batch's header byte by byte, and what the reader makes of it. */
#include "tests/unit/test-xen-stream-kit.h"

static void test_header(void **unused)
{
	static const struct xen_page pages[] = {
		{0x123456789, XEN_PAGE_NOTAB},
		{7, XEN_PAGE_NOT_THERE},
		{XEN_PFNS_MOST - 1, XEN_PAGE_L1TAB | XEN_PAGE_PINNED},
	};
	static const uint8_t expected[] = {
		1, 0, 0, 0, 0x20, 0x20, 0, 0, /* 8 + 3 * 8 + 2 * 4096 */
		3, 0, 0, 0, 0,	  0,	0, 0,	 0x89, 0x67, 0x45, 0x23, 0x01, 0, 0, 0,
		7, 0, 0, 0, 0,	  0,	0, 0xf0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0x90,
	};
	uint8_t buf[XEN_BATCH_HEADER_MOST];

	(void)unused;
	assert_int_equal(xen_write_batch(pages, 3, buf), sizeof(expected));
	assert_memory_equal(buf, expected, sizeof(expected));
}

static void test_invalid(void **unused)
{
	static struct xen_page pages[XEN_BATCH_MOST + 1];
	uint8_t buf[XEN_BATCH_HEADER_MOST];

	(void)unused;
	assert_int_equal(xen_write_batch(pages, 0, buf), 0);
	assert_int_equal(xen_write_batch(pages, XEN_BATCH_MOST + 1, buf), 0);
	assert_int_equal(xen_write_batch(pages, XEN_BATCH_MOST, buf), XEN_BATCH_HEADER_MOST);
	pages[1].pfn = XEN_PFNS_MOST;
	assert_int_equal(xen_write_batch(pages, 2, buf), 0);
	pages[1].pfn = 0;
	for (unsigned type = 0; type < 20; type++) {
		bool known = type <= 4 || (type >= 9 && type <= 15);

		pages[1].type = type;
		assert_int_equal(xen_page_type_known(type), known);
		assert_int_equal(xen_write_batch(pages, 2, buf), known ? 32 : 0);
	}
}

static const enum xen_page_type types[] = {
	XEN_PAGE_NOTAB,
	1,
	2,
	3,
	XEN_PAGE_L4TAB,
	9,
	10,
	11,
	XEN_PAGE_L4TAB | XEN_PAGE_PINNED,
	XEN_PAGE_BROKEN,
	XEN_PAGE_ALLOCATE,
	XEN_PAGE_NOT_THERE,
};

/* What is written in other batches is read as the same pages, in the same order. */
static void test_round_trip(void **unused)
{
	uint64_t random = 42;

	(void)unused;
	for (int run = 0; run < 200; run++) {
		size_t count = 1 + rig_random(&random) % 40, contents = 0;
		uint8_t header[XEN_BATCH_HEADER_MOST];
		struct stream *s = in_memory();
		struct xen_page pages[40];
		struct copy copy;

		for (size_t i = 0; i < count; i++) {
			pages[i].type = types[rig_random(&random) % ARRAY_SIZE(types)];
			pages[i].pfn = rig_random(&random) % XEN_PFNS_MOST;
			contents += pages[i].type < XEN_PAGE_BROKEN;
		}
		put(s, header, xen_write_batch(pages, count, header));
		for (size_t i = 0; i < count; i++)
			if (xen_page_has_content(pages[i].type))
				put_content(s, pages[i].pfn);
		put_state(s);
		put_emulator(s);
		assert_int_equal(copy_all(&copy, s->bytes, s->size, 3000, random), 0);
		assert_int_equal(copy.pages, count);
		assert_int_equal(copy.contents, contents);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		copy_stop(&copy);
	}
}

/* ---- Other batches ---- */

/* Takes a stream apart and writes it anew: each page in a batch of its own, pfn 1 only once. */
struct regroup {
	struct stream *out;
	size_t skip; /* how often pfn 1 is left out, as a newer version of it comes */
};

static int regroup_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct regroup *regroup = arg;

	(void)err;
	put(regroup->out, bytes, n);
	return 0;
}

static int regroup_memory(void *arg, const struct xen_memory *memory, struct error **err)
{
	(void)arg, (void)memory, (void)err;
	return 0;
}

static int regroup_begin(void *arg, const struct xen_page *pages, size_t count, struct error **err)
{
	(void)arg, (void)pages, (void)count, (void)err;
	return 0;
}

static int regroup_page(void *arg, const struct xen_page *page, const uint8_t *content,
			struct error **err)
{
	uint8_t header[XEN_BATCH_HEADER_MOST];
	struct regroup *regroup = arg;

	(void)err;
	if (page->pfn == 1 && regroup->skip > 0) {
		regroup->skip--;
		return 0;
	}
	put(regroup->out, header, xen_write_batch(page, 1, header));
	if (content)
		put(regroup->out, content, XEN_PAGE_SIZE);
	return 0;
}

static int regroup_nothing(void *arg, struct error **err)
{
	(void)arg, (void)err;
	return 0;
}

/* What is left out and regrouped like that is a stream again, with the same all around. */
static void test_regrouped(void **unused)
{
	static const struct xen_page pages[] = {
		{0, XEN_PAGE_NOTAB}, {1, XEN_PAGE_NOTAB}, {2, XEN_PAGE_NOT_THERE}};
	static struct stream out, expected;
	struct regroup regroup = {.out = &out, .skip = 2};
	const struct xen_stream_sink sink = {
		.opaque = regroup_opaque,
		.memory = regroup_memory,
		.batch_begin = regroup_begin,
		.page = regroup_page,
		.batch_end = regroup_nothing,
		.paused = regroup_nothing,
		.arg = &regroup,
	};
	struct xen_reader *reader = xen_reader_create(&sink, NULL);
	struct stream *s = in_memory();
	struct copy copy;

	(void)unused;
	put_batch(s, pages, 3);
	put_batch(s, pages + 1, 2);
	put_page(s, XEN_PAGE_NOTAB, 1);
	put_state(s);
	put_emulator(s);
	assert_int_equal(xen_reader_feed(reader, s->bytes, s->size, NULL), 0);
	assert_int_equal(xen_reader_end(reader, NULL), 0);
	xen_reader_destroy(reader);

	put_static(&expected);
	put_page(&expected, XEN_PAGE_NOTAB, 0);
	put_page(&expected, XEN_PAGE_NOT_THERE, 2);
	put_page(&expected, XEN_PAGE_NOT_THERE, 2);
	put_page(&expected, XEN_PAGE_NOTAB, 1);
	put_state(&expected);
	put_emulator(&expected);
	assert_int_equal(out.size, expected.size);
	assert_memory_equal(out.bytes, expected.bytes, out.size);
	assert_int_equal(copy_all(&copy, out.bytes, out.size, 0, 0), 0);
	copy_stop(&copy);
	xen_reader_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_regrouped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
