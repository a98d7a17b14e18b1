/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_XEN_STREAM_KIT_H
#define TEST_XEN_STREAM_KIT_H

/* What the tests of Xen's stream have in common. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/cleanup.h"
#include "tests/fuzz/xen-stream-maker.h"
#include "tests/fuzz/xen-stream-rig.h"

/* The stream that a test makes; one at a time. */
static inline struct stream *empty(void)
{
	static struct stream s;

	s.size = 0;
	return &s;
}

/* Up to libxc's records; up to the first page; up to the records after libxc's. */
static inline struct stream *begun(void)
{
	return put_headers(empty());
}

static inline struct stream *in_memory(void)
{
	return put_static(empty());
}

static inline struct stream *after_libxc(void)
{
	struct stream *s = in_memory();

	put_page(s, XEN_PAGE_NOTAB, 1);
	put_state(s);
	return s;
}

/* Accepted, and the same bytes come out, however it is cut. */
static inline void assert_copied(const struct stream *s)
{
	static const size_t cuts[] = {0, 1, 2, 7, 64, 5000};
	uint64_t events = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct copy copy;
		int code = copy_all(&copy, s->bytes, s->size, cuts[i], i * 77);

		if (code)
			print_message("%s\n", error_text(copy.err));
		assert_int_equal(code, 0);
		assert_int_equal(copy.size, s->size);
		assert_memory_equal(copy.out, s->bytes, s->size);
		assert_true(xen_reader_offset(copy.reader) == s->size);
		if (i == 0)
			events = copy.events;
		assert_true(copy.events == events);
		copy_stop(&copy);
	}
}

/*
 * Fed at once and byte by byte: the same error at that place, after the same events, and what came
 * out until then is the beginning of what went in. Then all further calls fail.
 */
static inline void assert_refused(const struct stream *s, int code, uint64_t offset,
				  const char *words)
{
	struct copy whole, bytes;
	char place[64];

	assert_int_equal(copy_all(&whole, s->bytes, s->size, 0, 0), code);
	assert_int_equal(copy_all(&bytes, s->bytes, s->size, 1, 0), code);
	snprintf(place, sizeof(place), "Xen's stream, offset %llu: ", (unsigned long long)offset);
	if (!strstr(whole.err->message, words) || !strstr(whole.err->message, place))
		print_message("%s\n", whole.err->message);
	assert_non_null(strstr(whole.err->message, words));
	assert_non_null(strstr(whole.err->message, place));
	assert_string_equal(whole.err->message, bytes.err->message);
	assert_true(whole.events == bytes.events && whole.size == bytes.size);
	assert_true(xen_reader_offset(whole.reader) == offset);
	assert_true(xen_reader_offset(bytes.reader) == offset);
	assert_true(whole.size <= offset);
	assert_memory_equal(whole.out, s->bytes, whole.size);
	assert_int_equal(xen_reader_feed(whole.reader, s->bytes, 1, NULL), -1);
	assert_int_equal(xen_reader_end(whole.reader, NULL), -1);
	copy_stop(&whole);
	copy_stop(&bytes);
}

#endif
