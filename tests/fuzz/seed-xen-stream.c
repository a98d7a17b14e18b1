/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the fuzzer's corpus of Xen's stream anew. No Xen is asked: the streams are put together
 * from the specification, in the order of records that Xen 4.17 has.
 *
 * usage: make build/fuzz/seed-xen-stream && build/fuzz/seed-xen-stream tests/fuzz/corpus/xen-stream
 */
#include <limits.h>

#include "common/cleanup.h"
#include "tests/fuzz/xen-stream-maker.h"
#include "tests/fuzz/xen-stream-rig.h"

static struct stream s;

/* Two rounds of few pages with holes, and one of what is left. */
static void put_rounds(void)
{
	static const struct xen_page first[] = {
		{0, XEN_PAGE_NOTAB},
		{1, XEN_PAGE_NOTAB},
		{2, XEN_PAGE_NOT_THERE},
		{3, XEN_PAGE_NOT_THERE},
	};

	put_batch(&s, first, 4);
	put_page(&s, XEN_PAGE_NOTAB, 1);
	put_page(&s, XEN_PAGE_NOT_THERE, 0);
}

static void make_hvm(void)
{
	put_static(&s);
	put_rounds();
	put_state(&s);
	put_emulator(&s);
}

static void make_pvh(void)
{
	put_static(&s);
	put_rounds();
	put_state(&s);
	put_header(&s, XEN_LIBXL_END, 0);
}

static void make_holes(void)
{
	put_static(&s);
	put_batch_header(&s, XEN_BATCH_MOST, 0);
	for (uint64_t pfn = 0; pfn < XEN_BATCH_MOST; pfn++)
		put_entry(&s, pfn % 5 ? XEN_PAGE_NOT_THERE : XEN_PAGE_ALLOCATE, pfn << 16);
	put_state(&s);
	put_emulator(&s);
}

static void make_bare(void)
{
	put_headers(&s);
	put_header(&s, XEN_STATIC_DATA_END, 0);
	put_record(&s, XEN_HVM_CONTEXT, 1);
	put_header(&s, XEN_END, 0);
	put_header(&s, XEN_LIBXL_END, 0);
}

static void make_everything(void)
{
	put_everything(&s);
}

/* What is refused, at the place where it is. */
static void make_pv(void)
{
	put_libxl_header(&s, XEN_LIBXL_VERSION, 0);
	put_header(&s, XEN_LIBXL_LIBXC_CONTEXT, 0);
	put_image_header(&s, XEN_LIBXC_VERSION, 0);
	put_domain_header(&s, XEN_DOMAIN_PV, 12, 4);
	put_record(&s, XEN_X86_PV_INFO, 8);
	put_record(&s, XEN_X86_PV_P2M_FRAMES, 16);
}

static void make_version_2(void)
{
	put_libxl_header(&s, XEN_LIBXL_VERSION, 0);
	put_header(&s, XEN_LIBXL_LIBXC_CONTEXT, 0);
	put_image_header(&s, 2, 0);
	put_domain_header(&s, XEN_DOMAIN_HVM, 12, 4);
	put_page(&s, XEN_PAGE_NOTAB, 0);
}

static void make_verify(void)
{
	put_static(&s);
	put_page(&s, XEN_PAGE_NOTAB, 0);
	put_header(&s, XEN_VERIFY, 0);
	put_page(&s, XEN_PAGE_NOTAB, 0);
}

static void make_checkpoint(void)
{
	put_static(&s);
	put_page(&s, XEN_PAGE_NOTAB, 0);
	put_record(&s, XEN_X86_TSC_INFO, 24);
	put_record(&s, XEN_HVM_CONTEXT, 9);
	put_header(&s, XEN_CHECKPOINT, 0);
	put_header(&s, XEN_LIBXL_CHECKPOINT_END, 0);
}

static const struct {
	const char *name;
	void (*make)(void);
	int code; /* how the reading ends */
} seeds[] = {
	{"hvm", make_hvm, 0},
	{"pvh", make_pvh, 0},
	{"holes", make_holes, 0},
	{"bare", make_bare, 0},
	{"everything", make_everything, 0},
	{"pv", make_pv, ENOTSUP},
	{"version-2", make_version_2, ENOTSUP},
	{"verify", make_verify, ENOTSUP},
	{"checkpoint", make_checkpoint, ENOTSUP},
};

int main(int argc, char **argv)
{
	rig_check(argc == 2);
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		auto_error err = NULL;
		char path[PATH_MAX];
		struct copy copy;

		s.size = 0;
		seeds[i].make();
		rig_check(copy_all(&copy, s.bytes, s.size, 0, 0) == seeds[i].code);
		copy_stop(&copy);
		snprintf(path, sizeof(path), "%s/%s", argv[1], seeds[i].name);
		if (write_file_durably(path, s.bytes, s.size, &err) < 0) {
			fprintf(stderr, "%s\n", error_text(err));
			return 1;
		}
		printf("%s: %zu bytes\n", path, s.size);
	}
	return 0;
}
