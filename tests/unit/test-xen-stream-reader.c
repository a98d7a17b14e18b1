/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's stream, made by hand: what is accepted comes out of the writer as it went in. */
#include "tests/unit/test-xen-stream-kit.h"

static struct stream *everything(void)
{
	return put_everything(empty());
}

static void test_everything(void **unused)
{
	struct stream *s = everything();
	struct copy copy;

	(void)unused;
	assert_copied(s);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), 0);
	assert_int_equal(copy.batches, 5);
	assert_int_equal(copy.pages, 12);
	assert_int_equal(copy.contents, 6);
	assert_true(copy.paused);
	assert_int_equal(copy.memory->xen_major, 4);
	assert_int_equal(copy.memory->xen_minor, 17);
	assert_true(copy.memory->pfns == XEN_PFNS_MOST);
	copy_stop(&copy);
}

/* A PVH guest has no emulator; one without policies, parameters or pages is accepted, too. */
static void test_little(void **unused)
{
	struct stream *s = begun();

	(void)unused;
	put_header(s, XEN_STATIC_DATA_END, 0);
	put_record(s, XEN_HVM_CONTEXT, 1);
	put_header(s, XEN_END, 0);
	put_header(s, XEN_LIBXL_END, 0);
	assert_copied(s);
}

/* The specification's order: parameters before the context. */
static void test_other_order(void **unused)
{
	struct stream *s = in_memory();

	(void)unused;
	put_page(s, XEN_PAGE_NOTAB, 0);
	put_params(s, 2);
	put_record(s, XEN_HVM_CONTEXT, 64);
	put_record(s, XEN_X86_TSC_INFO, 24);
	put_header(s, XEN_END, 0);
	put_emulator(s);
	assert_copied(s);
}

/* As many pages as a record may have, with and without content. */
static void test_largest_batch(void **unused)
{
	static struct xen_page pages[XEN_BATCH_MOST];
	struct stream *s = in_memory();
	struct copy copy;

	(void)unused;
	for (uint64_t i = 0; i < XEN_BATCH_MOST; i++)
		pages[i] = (struct xen_page){.pfn = i};
	put_batch(s, pages, XEN_BATCH_MOST);
	for (uint64_t i = 0; i < XEN_BATCH_MOST; i++)
		pages[i].type = XEN_PAGE_NOT_THERE;
	put_batch(s, pages, XEN_BATCH_MOST);
	put_state(s);
	put_emulator(s);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), 0);
	assert_int_equal(copy.contents, XEN_BATCH_MOST);
	assert_int_equal(copy.pages, 2 * XEN_BATCH_MOST);
	assert_int_equal(copy.size, s->size);
	assert_memory_equal(copy.out, s->bytes, s->size);
	copy_stop(&copy);
}

/* What the sink was told, a letter for each call but opaque. */
struct told {
	char calls[256];
	size_t n;
	char fail_at; /* the call that fails */
};

static int tell(void *arg, char call, struct error **err)
{
	struct told *told = arg;

	told->calls[told->n++] = call;
	return call == told->fail_at ? error_set(err, EIO, "call %c", call) : 0;
}

static int tell_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct told *told = arg;

	(void)bytes, (void)n;
	if (told->fail_at == 'o')
		return error_set(err, EIO, "call o");
	return 0;
}

static int tell_memory(void *arg, const struct xen_memory *memory, struct error **err)
{
	(void)memory;
	return tell(arg, 'm', err);
}

static int tell_begin(void *arg, const struct xen_page *pages, size_t count, struct error **err)
{
	(void)pages, (void)count;
	return tell(arg, '(', err);
}

/* A page's pfn as a digit where it has content, else as a letter. Its bytes are those of its pfn.
 */
static int tell_page(void *arg, const struct xen_page *page, const uint8_t *content,
		     struct error **err)
{
	for (size_t i = 0; content && i < XEN_PAGE_SIZE; i++)
		assert_int_equal(content[i], (uint8_t)(page->pfn * 7 + i));
	return tell(arg, (char)((content ? '0' : 'A') + page->pfn), err);
}

static int tell_end(void *arg, struct error **err)
{
	return tell(arg, ')', err);
}

static int tell_paused(void *arg, struct error **err)
{
	return tell(arg, 's', err);
}

static int tell_all(struct told *told, const struct stream *s, size_t cut, struct error **err)
{
	const struct xen_stream_sink sink = {
		.opaque = tell_opaque,
		.memory = tell_memory,
		.batch_begin = tell_begin,
		.page = tell_page,
		.batch_end = tell_end,
		.paused = tell_paused,
		.arg = told,
	};
	struct xen_reader *reader = xen_reader_create(&sink, NULL);
	int status = 0;

	assert_non_null(reader);
	for (size_t i = 0; i < s->size && status == 0; i += cut)
		status = xen_reader_feed(reader, s->bytes + i,
					 s->size - i < cut ? s->size - i : cut, err);
	if (status < 0)
		assert_int_equal(xen_reader_feed(reader, s->bytes, 1, NULL), -1);
	xen_reader_destroy(reader);
	return status;
}

static struct stream *ordered(void)
{
	static const struct xen_page pages[] = {
		{0, XEN_PAGE_NOT_THERE}, {1, XEN_PAGE_NOTAB}, {2, XEN_PAGE_BROKEN},
		{3, XEN_PAGE_ALLOCATE},	 {4, XEN_PAGE_L4TAB}, {5, XEN_PAGE_NOT_THERE},
	};
	struct stream *s = in_memory();

	put_batch(s, pages, ARRAY_SIZE(pages));
	put_page(s, XEN_PAGE_NOTAB, 9);
	put_page(s, XEN_PAGE_NOTAB, 1);
	put_state(s);
	put_emulator(s);
	return s;
}

/* Pages come in the list's order, with or without content, and the guest is paused after them. */
static void test_order(void **unused)
{
	struct stream *s = ordered();

	(void)unused;
	for (size_t cut = 1; cut < 10000; cut = cut * 3 + 1) {
		struct told told = {0};

		assert_int_equal(tell_all(&told, s, cut, NULL), 0);
		assert_string_equal(told.calls, "m(A1CD4F)(9)(1)s");
	}
}

/* A sink's error ends the reading, and is handed on as it is. */
static void test_sink_fails(void **unused)
{
	static const char calls[] = "om(A1CF)s";
	struct stream *s = ordered();

	(void)unused;
	for (size_t i = 0; calls[i]; i++) {
		struct told told = {.fail_at = calls[i]};
		auto_error err = NULL;

		assert_int_equal(tell_all(&told, s, 1000, &err), -1);
		rig_check(err && err->code == EIO);
		assert_int_equal(err->message[5], calls[i]);
		assert_true(calls[i] == 'o' ? told.n == 0 : told.calls[told.n - 1] == calls[i]);
	}
}

/* The size of memory is known where the first round ends: at a page that is not above the last. */
static void test_memory(void **unused)
{
	struct stream *s = in_memory();
	const struct xen_memory *memory;
	struct copy copy;
	size_t fed = 0;

	(void)unused;
	copy_start(&copy);
	assert_int_equal(copy_feed(&copy, s->bytes, s->size), 0);
	fed = s->size;
	memory = xen_reader_memory(copy.reader);
	assert_true(memory->pfns == 0 && !memory->complete);
	put_page(s, XEN_PAGE_NOTAB, 0);
	put_page(s, XEN_PAGE_NOTAB, 1);
	put_page(s, XEN_PAGE_NOT_THERE, 9);
	assert_int_equal(copy_feed(&copy, s->bytes + fed, s->size - fed), 0);
	fed = s->size;
	assert_true(memory->pfns == 10 && !memory->complete);
	put_page(s, XEN_PAGE_NOTAB, 9);
	assert_int_equal(copy_feed(&copy, s->bytes + fed, s->size - fed), 0);
	assert_true(memory->pfns == 10 && memory->complete);
	copy_stop(&copy);
	/* or at the guest's state, when it was paused from the beginning */
	s = in_memory();
	put_page(s, XEN_PAGE_NOTAB, 6);
	put_record(s, XEN_X86_TSC_INFO, 24);
	copy_start(&copy);
	assert_int_equal(copy_feed(&copy, s->bytes, s->size), 0);
	assert_true(copy.memory->pfns == 7 && copy.memory->complete);
	copy_stop(&copy);
}

/* Whether the stream may end can be asked after each byte, and changes nothing. */
static void test_end_is_asked(void **unused)
{
	struct stream *s = everything();
	struct copy copy;

	(void)unused;
	copy_start(&copy);
	for (size_t i = 0; i < s->size; i++) {
		assert_int_equal(xen_reader_end(copy.reader, NULL), -1);
		assert_int_equal(copy_feed(&copy, s->bytes + i, 1), 0);
	}
	assert_int_equal(xen_reader_end(copy.reader, NULL), 0);
	assert_int_equal(xen_reader_end(copy.reader, NULL), 0);
	assert_int_equal(copy_feed(&copy, s->bytes, 0), 0);
	assert_int_equal(copy.size, s->size);
	copy_stop(&copy);
}

/* Every cut in two: the same result, and nothing but whole items is held back. */
static void test_every_cut(void **unused)
{
	struct stream *s = everything();
	struct copy whole;

	(void)unused;
	assert_int_equal(copy_all(&whole, s->bytes, s->size, 0, 0), 0);
	for (size_t cut = 0; cut <= s->size; cut++) {
		struct copy copy;

		copy_start(&copy);
		assert_int_equal(copy_feed(&copy, s->bytes, cut), 0);
		assert_true(xen_reader_offset(copy.reader) == cut);
		assert_true(copy.size <= cut && cut - copy.size <= XEN_BATCH_HEADER_MOST);
		assert_memory_equal(copy.out, s->bytes, copy.size);
		assert_int_equal(copy_feed(&copy, s->bytes + cut, s->size - cut), 0);
		assert_int_equal(copy_end(&copy), 0);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		assert_true(copy.events == whole.events);
		copy_stop(&copy);
	}
	copy_stop(&whole);
}

/* Cuts at random places, many times. */
static void test_random_cuts(void **unused)
{
	struct stream *s = everything();
	struct copy whole;

	(void)unused;
	assert_int_equal(copy_all(&whole, s->bytes, s->size, 0, 0), 0);
	for (uint64_t seed = 0; seed < 300; seed++) {
		struct copy copy;

		assert_int_equal(copy_all(&copy, s->bytes, s->size, 1 + seed * 31 % 6000, seed), 0);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		assert_true(copy.events == whole.events);
		copy_stop(&copy);
	}
	copy_stop(&whole);
}

/* A stream that ends anywhere but at its end is an error that says where. */
static void test_every_truncation(void **unused)
{
	struct stream *s = everything();
	char words[64];

	(void)unused;
	for (size_t end = 0; end < s->size; end++) {
		struct copy copy;

		snprintf(words, sizeof(words), "the stream ends after %zu bytes, in ", end);
		assert_int_equal(copy_all(&copy, s->bytes, end, 0, 0), EPROTO);
		assert_non_null(strstr(error_text(copy.err), words));
		copy_stop(&copy);
	}
}

/* One byte is another: an error, or a stream that is copied as it is. Never more than that. */
static void test_every_change(void **unused)
{
	struct stream *s = everything();
	uint64_t random = 4711;

	(void)unused;
	for (size_t at = 0; at < s->size; at++) {
		uint8_t kept = s->bytes[at];
		struct copy copy;

		s->bytes[at] ^= (uint8_t)(1 + rig_random(&random) % 255);
		if (copy_all(&copy, s->bytes, s->size, 0, 0) == 0)
			assert_int_equal(copy.size, s->size);
		else
			assert_true(copy.err->code == EPROTO || copy.err->code == ENOTSUP);
		assert_memory_equal(copy.out, s->bytes, copy.size);
		copy_stop(&copy);
		s->bytes[at] = kept;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_little),
		cmocka_unit_test(test_other_order),
		cmocka_unit_test(test_largest_batch),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_sink_fails),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_end_is_asked),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_random_cuts),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_every_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
