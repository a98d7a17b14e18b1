/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target of Xen's stream. Whatever the bytes are: what comes out of the writer is what went
 * into the reader, as far as it was accepted; and neither result, error nor events depend on where
 * the stream was cut.
 */
#include "tests/fuzz/xen-stream-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* How finely the second reading is cut; the input's digest chooses. */
static const size_t cuts[] = {1, 2, 9, 70, 900, 6000};

static uint64_t digest(const uint8_t *bytes, size_t n)
{
	uint64_t sum = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3u;
	return sum ^ sum >> 32;
}

static void check_copy(const struct copy *copy, int code, const uint8_t *bytes, size_t n)
{
	uint64_t offset = xen_reader_offset(copy->reader);

	rig_check(offset <= n && copy->size <= offset);
	/* a list of pages, or a page, that is not complete */
	rig_check(offset - copy->size <= XEN_BATCH_HEADER_MOST);
	rig_check(copy->size == 0 || memcmp(copy->out, bytes, copy->size) == 0);
	if (code == 0)
		rig_check(copy->size == n && copy->paused && !copy->batch);
	else
		rig_check(code == EPROTO || code == ENOTSUP);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	uint64_t seed = digest(bytes, n);
	struct copy whole, cut;
	int code = copy_all(&whole, bytes, n, 0, 0);

	check_copy(&whole, code, bytes, n);
	rig_check(copy_all(&cut, bytes, n, cuts[seed % (sizeof(cuts) / sizeof(cuts[0]))], seed) ==
		  code);
	check_copy(&cut, code, bytes, n);
	rig_check(cut.size == whole.size && cut.events == whole.events);
	if (code)
		rig_check(strcmp(cut.err->message, whole.err->message) == 0);
	copy_stop(&whole);
	copy_stop(&cut);
	return 0;
}
