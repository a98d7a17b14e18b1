/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the reader of Xen's stream refuses: where, with which code, and in what words. */
#include "tests/unit/test-xen-stream-kit.h"

/* Where things begin in a stream of put_headers(). */
#define LIBXL_RECORD_AT 16
#define IMAGE_AT	24
#define DOMAIN_AT	48
#define RECORDS_AT	64

/* ---- libxl ---- */

static void test_libxl_header(void **unused)
{
	struct stream *s = begun();

	(void)unused;
	s->bytes[0] = 'l';
	assert_refused(
		s, EPROTO, 0,
		"begins with 0x6c6962786c466d74, expected 0x4c6962786c466d74 (\"LibxlFmt\")");
	for (uint32_t version = 0; version < 5; version++) {
		if (version == XEN_LIBXL_VERSION)
			continue;
		s = empty();
		put_libxl_header(s, version, 0);
		assert_refused(s, ENOTSUP, 0, "of libxl's format, only 2 is known");
	}
	s = empty();
	put_libxl_header(s, 2, 1);
	assert_refused(s, ENOTSUP, 0, "libxl's records are big-endian");
	s = empty();
	put_libxl_header(s, 2, 2);
	assert_refused(s, ENOTSUP, 0, "legacy format of Xen 4.5");
}

static void test_libxl_records(void **unused)
{
	static const struct {
		uint32_t type, length;
		int code;
		const char *words;
	} cases[] = {
		{XEN_LIBXL_END, 0, EPROTO, "record END, expected LIBXC_CONTEXT first"},
		{XEN_LIBXL_END, 8, EPROTO, "record END has 8 bytes, expected 0"},
		{XEN_LIBXL_LIBXC_CONTEXT, 1, EPROTO, "LIBXC_CONTEXT has 1 bytes, expected 0"},
		{XEN_LIBXL_EMULATOR_XENSTORE_DATA, 7, EPROTO,
		 "EMULATOR_XENSTORE_DATA has 7 bytes, expected at least 8"},
		{XEN_LIBXL_EMULATOR_CONTEXT, 0, EPROTO,
		 "EMULATOR_CONTEXT has 0 bytes, expected at least 8"},
		{XEN_LIBXL_CHECKPOINT_END, 0, ENOTSUP, "CHECKPOINT_END, of Remus and COLO"},
		{XEN_LIBXL_CHECKPOINT_STATE, 4, ENOTSUP, "CHECKPOINT_STATE, of COLO"},
		{6, 0, ENOTSUP, "libxl's record 0x00000006 is unknown, and mandatory"},
		{0x7fffffff, 0, ENOTSUP, "libxl's record 0x7fffffff is unknown"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stream *s = begun();

		s->size = LIBXL_RECORD_AT;
		put_record(s, cases[i].type, cases[i].length);
		assert_refused(s, cases[i].code, LIBXL_RECORD_AT, cases[i].words);
	}
}

static void test_after_libxc(void **unused)
{
	struct stream *s = after_libxc();
	size_t at = s->size;

	(void)unused;
	put_header(s, XEN_LIBXL_LIBXC_CONTEXT, 0);
	assert_refused(s, EPROTO, at, "a second record LIBXC_CONTEXT");
	s = after_libxc();
	put_emulator(s);
	at = s->size;
	put8(s, 0x4c);
	assert_refused(s, EPROTO, at, "0x4c, expected nothing after libxl's record END");
	s = after_libxc();
	at = s->size;
	put_record(s, XEN_HVM_CONTEXT, 8);
	assert_refused(s, ENOTSUP, at, "libxl's record 0x00000009 is unknown");
}

/* A length near 2^32 is passed on, and not taken for one of few bytes. */
static void test_long_libxl_record(void **unused)
{
	struct stream *s = after_libxc();
	struct copy copy;

	(void)unused;
	put_header(s, XEN_LIBXL_EMULATOR_CONTEXT, UINT32_MAX);
	for (int i = 0; i < 100; i++)
		put8(s, 0);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), EPROTO);
	assert_non_null(strstr(copy.err->message, "in a record of known length"));
	assert_int_equal(copy.size, s->size);
	copy_stop(&copy);
}

/* ---- libxc's headers ---- */

static struct stream *image_of(uint32_t version, uint16_t options)
{
	struct stream *s = begun();

	s->size = IMAGE_AT;
	put_image_header(s, version, options);
	return s;
}

static void test_image_header(void **unused)
{
	struct stream *s = begun();

	(void)unused;
	s->bytes[IMAGE_AT + 7] = 0xfe;
	assert_refused(s, EPROTO, IMAGE_AT,
		       "begins with 0xfffffffffffffffe, expected 0xffffffffffffffff");
	s = begun();
	s->bytes[IMAGE_AT + 11] = 'f';
	assert_refused(s, EPROTO, IMAGE_AT, "id 0x58454e66, expected 0x58454e46 (\"XENF\")");
	assert_refused(image_of(2, 0), ENOTSUP, IMAGE_AT,
		       "version 2 of libxc's format (Xen 4.6 to 4.13), only 3 is known");
	assert_refused(image_of(1, 0), ENOTSUP, IMAGE_AT, "version 1 of libxc's format, only 3");
	assert_refused(image_of(4, 0), ENOTSUP, IMAGE_AT, "version 4 of libxc's format, only 3");
	assert_refused(image_of(3, 1), ENOTSUP, IMAGE_AT, "libxc's records are big-endian");
}

static struct stream *domain_of(uint32_t type, uint16_t page_shift, uint32_t major)
{
	struct stream *s = begun();

	s->size = DOMAIN_AT;
	put_domain_header(s, type, page_shift, major);
	return s;
}

static void test_domain_header(void **unused)
{
	(void)unused;
	assert_refused(domain_of(0, 12, 4), EPROTO, DOMAIN_AT,
		       "domain type 0x00000000, expected 2");
	assert_refused(domain_of(1, 12, 4), ENOTSUP, DOMAIN_AT, "an x86 PV guest");
	assert_refused(domain_of(3, 12, 4), ENOTSUP, DOMAIN_AT, "x86 PVH");
	assert_refused(domain_of(4, 12, 4), ENOTSUP, DOMAIN_AT, "an ARM guest");
	assert_refused(domain_of(5, 12, 4), EPROTO, DOMAIN_AT, "domain type 0x00000005");
	assert_refused(domain_of(2, 13, 4), ENOTSUP, DOMAIN_AT, "pages have 2^13 bytes, only 2^12");
	assert_refused(domain_of(2, 65535, 4), ENOTSUP, DOMAIN_AT, "pages have 2^65535 bytes");
	assert_refused(domain_of(2, 12, 0), ENOTSUP, DOMAIN_AT, "from Xen 0: converted from");
}

/* ---- libxc's records ---- */

struct record_case {
	uint32_t type, length;
	int code;
	const char *words;
};

/* Each where it may come, but for what is wrong with it. */
static void assert_records(struct stream *(*before)(void), const struct record_case *cases,
			   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct stream *s = before();
		size_t at = s->size;

		put_header(s, cases[i].type, cases[i].length);
		assert_refused(s, cases[i].code, at, cases[i].words);
	}
}

static void test_static_records(void **unused)
{
	static const struct record_case cases[] = {
		{XEN_END, 0, EPROTO, "record END, expected STATIC_DATA_END first"},
		{XEN_PAGE_DATA, 24, EPROTO, "record PAGE_DATA, expected STATIC_DATA_END first"},
		{XEN_X86_TSC_INFO, 24, EPROTO, "record X86_TSC_INFO, expected STATIC_DATA_END"},
		{XEN_HVM_CONTEXT, 8, EPROTO, "record HVM_CONTEXT, expected STATIC_DATA_END"},
		{XEN_HVM_PARAMS, 8, EPROTO, "record HVM_PARAMS, expected STATIC_DATA_END"},
		{XEN_STATIC_DATA_END, 1, EPROTO, "STATIC_DATA_END has 1 bytes, expected 0"},
		{XEN_X86_CPUID_POLICY, 0, EPROTO,
		 "X86_CPUID_POLICY has 0 bytes, expected 24 or a multiple of 24 more"},
		{XEN_X86_CPUID_POLICY, 25, EPROTO, "X86_CPUID_POLICY has 25 bytes"},
		{XEN_X86_MSR_POLICY, 0, EPROTO, "X86_MSR_POLICY has 0 bytes"},
		{XEN_X86_MSR_POLICY, 24, EPROTO, "X86_MSR_POLICY has 24 bytes"},
	};

	(void)unused;
	assert_records(begun, cases, ARRAY_SIZE(cases));
}

/* Refused wherever they come. */
static void test_refused_records(void **unused)
{
	static const struct record_case cases[] = {
		{XEN_X86_PV_INFO, 8, EPROTO, "record X86_PV_INFO, of PV guests"},
		{XEN_X86_PV_P2M_FRAMES, 16, EPROTO, "record X86_PV_P2M_FRAMES, of PV guests"},
		{XEN_X86_PV_VCPU_BASIC, 16, EPROTO, "record X86_PV_VCPU_BASIC, of PV guests"},
		{XEN_X86_PV_VCPU_EXTENDED, 16, EPROTO, "record X86_PV_VCPU_EXTENDED, of PV"},
		{XEN_X86_PV_VCPU_XSAVE, 16, EPROTO, "record X86_PV_VCPU_XSAVE, of PV guests"},
		{XEN_X86_PV_VCPU_MSRS, 16, EPROTO, "record X86_PV_VCPU_MSRS, of PV guests"},
		{XEN_SHARED_INFO, 4096, EPROTO, "record SHARED_INFO, of PV guests"},
		{XEN_TOOLSTACK, 8, ENOTSUP, "record TOOLSTACK, which no receiver takes"},
		{XEN_VERIFY, 0, ENOTSUP, "record VERIFY, of a migration with --debug"},
		{XEN_CHECKPOINT, 0, ENOTSUP, "record CHECKPOINT, of Remus and COLO"},
		{XEN_CHECKPOINT_DIRTY_PFN_LIST, 8, ENOTSUP, "CHECKPOINT_DIRTY_PFN_LIST, of COLO"},
		{0x13, 0, ENOTSUP, "libxc's record 0x00000013 is unknown, and mandatory"},
		{0x7fffffff, 0, ENOTSUP, "libxc's record 0x7fffffff is unknown, and mandatory"},
		{0x13, (128u << 20) + 1, EPROTO,
		 "0x00000013 has 134217729 bytes, expected at most 134217728"},
		{0x80000013, UINT32_MAX, EPROTO, "0x80000013 has 4294967295 bytes"},
		{XEN_PAGE_DATA, UINT32_MAX, EPROTO, "0x00000001 has 4294967295 bytes"},
	};

	(void)unused;
	assert_records(begun, cases, ARRAY_SIZE(cases));
	assert_records(in_memory, cases, ARRAY_SIZE(cases));
}

static void test_memory_records(void **unused)
{
	static const struct record_case cases[] = {
		{XEN_STATIC_DATA_END, 0, EPROTO, "expected only before STATIC_DATA_END"},
		{XEN_X86_CPUID_POLICY, 24, EPROTO, "X86_CPUID_POLICY, expected only before"},
		{XEN_X86_MSR_POLICY, 16, EPROTO, "X86_MSR_POLICY, expected only before"},
		{XEN_END, 0, EPROTO, "record END, expected HVM_CONTEXT first"},
		{XEN_X86_TSC_INFO, 23, EPROTO, "X86_TSC_INFO has 23 bytes, expected 24"},
		{XEN_X86_TSC_INFO, 48, EPROTO, "X86_TSC_INFO has 48 bytes, expected 24"},
		{XEN_HVM_CONTEXT, 0, EPROTO, "HVM_CONTEXT has 0 bytes, expected at least 1"},
		{XEN_HVM_PARAMS, 0, EPROTO, "HVM_PARAMS has 0 bytes, expected 8"},
		{XEN_HVM_PARAMS, 16, EPROTO, "HVM_PARAMS has 16 bytes, expected 8 or a multiple"},
		{XEN_PAGE_DATA, 0, EPROTO, "PAGE_DATA has 0 bytes, expected 8"},
		{XEN_PAGE_DATA, 7, EPROTO, "PAGE_DATA has 7 bytes, expected 8"},
		{XEN_PAGE_DATA, 4113, EPROTO, "PAGE_DATA has 4113 bytes, expected 8 or a multiple"},
	};

	(void)unused;
	assert_records(in_memory, cases, ARRAY_SIZE(cases));
}

static struct stream *paused(void)
{
	struct stream *s = in_memory();

	put_page(s, XEN_PAGE_NOTAB, 3);
	put_record(s, XEN_X86_TSC_INFO, 24);
	return s;
}

static void test_paused_records(void **unused)
{
	static const struct record_case cases[] = {
		{XEN_PAGE_DATA, 24, ENOTSUP, "record PAGE_DATA after the guest's state"},
		{XEN_STATIC_DATA_END, 0, EPROTO, "expected only before STATIC_DATA_END"},
		{XEN_END, 0, EPROTO, "record END, expected HVM_CONTEXT first"},
		{XEN_CHECKPOINT, 0, ENOTSUP, "record CHECKPOINT, of Remus and COLO"},
	};
	struct stream *s;

	(void)unused;
	assert_records(paused, cases, ARRAY_SIZE(cases));
	s = paused();
	put_record(s, XEN_HVM_CONTEXT, 8);
	put_header(s, XEN_END, 8);
	assert_refused(s, EPROTO, s->size - 8, "record END has 8 bytes, expected 0");
}

static void test_params(void **unused)
{
	(void)unused;
	for (uint32_t count = 0; count < 5; count++) {
		struct stream *s = in_memory();

		if (count == 2)
			continue;
		put_params(s, 2);
		put_le32(s->bytes + s->size - 40, count);
		assert_refused(s, EPROTO, s->size - 40,
			       "parameters in a record HVM_PARAMS of 40 bytes, expected");
	}
}

/* The count of parameters times 16 is 2^32 and more: not what the record's length is. */
static void test_params_overflow(void **unused)
{
	struct stream *s = in_memory();

	(void)unused;
	put_header(s, XEN_HVM_PARAMS, 8);
	put32(s, 0x10000000);
	put32(s, 0);
	assert_refused(s, EPROTO, s->size - 8, "of 8 bytes, expected 4294967304");
}

/* ---- Pages ---- */

/* A record of pages: as long as is said, with that count, and a list of NOT_THERE. */
static struct stream *pages_of(uint32_t length, uint32_t count, uint32_t reserved)
{
	struct stream *s = in_memory();

	put_header(s, XEN_PAGE_DATA, length);
	put32(s, count);
	put32(s, reserved);
	return s;
}

static void assert_batch_refused(const struct stream *s, int code, const char *words)
{
	assert_refused(s, code, s->size - 8, words);
}

static void test_batch_header(void **unused)
{
	(void)unused;
	assert_batch_refused(pages_of(8, 0, 0), EPROTO, "a record PAGE_DATA of 0 pages");
	assert_batch_refused(pages_of(16, 0, 0), EPROTO, "a record PAGE_DATA of 0 pages");
	assert_batch_refused(pages_of(8, 1, 0), EPROTO, "1 pages, expected at most the 0");
	assert_batch_refused(pages_of(24, 3, 0), EPROTO, "3 pages, expected at most the 2");
	assert_batch_refused(pages_of(24, UINT32_MAX, 0), EPROTO, "4294967295 pages, expected");
	assert_batch_refused(pages_of(24, 0x20000002, 0), EPROTO, "536870914 pages, expected");
	assert_batch_refused(pages_of(8 + 8 * 1025, 1025, 0), ENOTSUP,
			     "1025 pages in one record PAGE_DATA, only 1024 are supported");
	assert_batch_refused(pages_of(128u << 20, (128u << 20) / 8 - 1, 0), ENOTSUP,
			     "16777215 pages in one record");
	assert_batch_refused(pages_of(16, 1, 1), ENOTSUP, "reserved field 0x00000001");
}

static void test_entries(void **unused)
{
	struct stream *s;

	(void)unused;
	for (unsigned type = 5; type <= 8; type++) {
		s = pages_of(24, 2, 0);
		put_entry(s, XEN_PAGE_NOT_THERE, 0);
		put_entry(s, type, 0x1234);
		assert_batch_refused(s, EPROTO, "of page 0x1234, expected 0 to 4 or 9 to 15");
	}
	for (unsigned bit = 52; bit < 60; bit++) {
		s = pages_of(16, 1, 0);
		put_entry(s, XEN_PAGE_NOT_THERE, UINT64_C(1) << bit);
		assert_batch_refused(s, ENOTSUP, "reserved bits in 0x");
	}
	for (unsigned bit = 36; bit < 52; bit++) {
		s = pages_of(16, 1, 0);
		put_entry(s, XEN_PAGE_NOT_THERE, UINT64_C(1) << bit);
		assert_batch_refused(s, EPROTO, "expected one below 0x1000000000");
	}
}

/* The record's length says how many of its pages have content; so do their types. */
static void test_contents(void **unused)
{
	struct stream *s;

	(void)unused;
	for (uint32_t contents = 0; contents < 3; contents++) {
		if (contents == 1)
			continue;
		s = in_memory();
		put_batch_header(s, 2, contents);
		put_entry(s, XEN_PAGE_NOTAB, 0);
		put_entry(s, XEN_PAGE_NOT_THERE, 1);
		assert_batch_refused(s, EPROTO,
				     "the last of 2 pages, of which 1 have content, in a record "
				     "PAGE_DATA of");
	}
	s = pages_of(24, 1, 0);
	put_entry(s, XEN_PAGE_NOT_THERE, 1);
	assert_batch_refused(s, EPROTO, "PAGE_DATA of 24 bytes, expected 16");
}

/* The sink hears nothing of a list that is not valid to its end. */
static void test_list_is_whole(void **unused)
{
	struct stream *s = pages_of(24, 2, 0);
	struct copy copy;

	(void)unused;
	put_entry(s, XEN_PAGE_NOT_THERE, 0);
	put_entry(s, XEN_PAGE_PINNED, 1);
	assert_int_equal(copy_all(&copy, s->bytes, s->size, 0, 0), EPROTO);
	assert_int_equal(copy.batches, 0);
	assert_int_equal(copy.pages, 0);
	assert_true(xen_reader_memory(copy.reader)->pfns == 0);
	copy_stop(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_libxl_header),   cmocka_unit_test(test_libxl_records),
		cmocka_unit_test(test_after_libxc),    cmocka_unit_test(test_long_libxl_record),
		cmocka_unit_test(test_image_header),   cmocka_unit_test(test_domain_header),
		cmocka_unit_test(test_static_records), cmocka_unit_test(test_refused_records),
		cmocka_unit_test(test_memory_records), cmocka_unit_test(test_paused_records),
		cmocka_unit_test(test_params),	       cmocka_unit_test(test_params_overflow),
		cmocka_unit_test(test_batch_header),   cmocka_unit_test(test_entries),
		cmocka_unit_test(test_contents),       cmocka_unit_test(test_list_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
