/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target of the page decoder. Whatever the bytes are, it ends with one of its errors or with
 * none, and neither that nor what came out depends on where the stream was cut. A fuzzer does not
 * guess checksums: built for one, the decoder takes them all for good.
 */
#include "tests/fuzz/codec-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const size_t cuts[] = {1, 3, 40, 700, 9000};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct decoding whole, cut;
	uint64_t seed = n * 0x9e3779b97f4a7c15ull + (n ? bytes[n / 2] : 0) + 1;

	decode_all(&whole, bytes, n, 0, seed);
	decode_all(&cut, bytes, n, cuts[seed % (sizeof(cuts) / sizeof(cuts[0]))], seed);
	rig_check(whole.code == 0 || whole.code == EPROTO || whole.code == ENOTSUP);
	rig_check(cut.code == whole.code && cut.units == whole.units && cut.digest == whole.digest);
	if (whole.code) {
		rig_check(strchr(whole.err->message, '\n') == NULL);
		rig_check(strcmp(cut.err->message, whole.err->message) == 0);
	}
	error_free(whole.err);
	error_free(cut.err);
	return 0;
}
