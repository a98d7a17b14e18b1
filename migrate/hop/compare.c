/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/hop/destination_internal.h"

#define LOG_MODULE "compare"

#define PIECE	    24576 /* digests a request: in base64 well below a control line's most */
#define PIECE_NS    (300 * NS_PER_SEC)
#define DIFFER_MOST 64 /* that are named */

struct sums {
	uint64_t compared, differ;
	char first[96]; /* that differ, for people */
};

/* ---- Source ---- */

static bool all_zero(const uint64_t *digests, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (digests[i])
			return false;
	return true;
}

static json_t *make_request(uint64_t first, const uint64_t *digests, size_t n)
{
	size_t size = n * sizeof(*digests);
	auto_free unsigned char *text = malloc(4 * (size / 3 + 1) + 1);

	if (!text)
		return NULL;
	EVP_EncodeBlock(text, (const unsigned char *)digests, (int)size);
	return json_pack("{s:s, s:I, s:s}", "do", "compare", "first", (json_int_t)first, "digests",
			 (const char *)text);
}

static void take_answer(const json_t *answer, struct sums *sums)
{
	const json_t *list = json_object_get(answer, "differ"), *page;
	size_t i, used = strlen(sums->first);

	sums->compared += (uint64_t)json_integer_value(json_object_get(answer, "compared"));
	sums->differ += (uint64_t)json_integer_value(json_object_get(answer, "differing"));
	json_array_foreach ((json_t *)(uintptr_t)list, i, page) {
		if (used + 24 > sizeof(sums->first))
			return;
		used += (size_t)snprintf(sums->first + used, sizeof(sums->first) - used,
					 " %" PRIx64, (uint64_t)json_integer_value(page));
	}
}

static int compare_piece(struct source *s, uint64_t first, const uint64_t *digests, size_t n,
			 struct sums *sums, struct error **err)
{
	auto_json answer = NULL;
	json_t *request;

	if (all_zero(digests, n))
		return 0;
	request = make_request(first, digests, n);
	if (!request)
		return error_set(err, ENOMEM, "out of memory");
	if (source_call(s, request, PIECE_NS, &answer, err) < 0)
		return -1;
	take_answer(answer, sums);
	return 0;
}

int source_compare_memory(struct source *s, struct error **err)
{
	auto_free uint64_t *digests = NULL;
	struct sums sums = {0};
	uint64_t count;

	if (hv_page_digests(s->env.vm, &digests, &count, err) < 0)
		return -1;
	for (uint64_t first = 0; first < count; first += PIECE) {
		size_t n = count - first < PIECE ? (size_t)(count - first) : PIECE;

		if (compare_piece(s, first, digests + first, n, &sums, err) < 0)
			return -1;
	}
	log_info("memory compared: %" PRIu64 " pages, %" PRIu64 " differ", sums.compared,
		 sums.differ);
	report_set(s->report, "compared_pages", json_integer((json_int_t)sums.compared));
	if (sums.differ)
		return error_set(err, EBADMSG,
				 "%" PRIu64 " of %" PRIu64
				 " pages differ at the destination, the first:%s",
				 sums.differ, sums.compared, sums.first);
	return 0;
}

/* ---- Destination ---- */

static int take_own(struct destination *d, struct error **err)
{
	return d->digests ? 0 : hv_page_digests(d->env.vm, &d->digests, &d->digest_count, err);
}

/* *n: in whole digests */
static uint64_t *decode(const char *text, size_t *n, struct error **err)
{
	size_t length = strlen(text);
	uint64_t *digests = malloc(length / 4 * 3 + 8);
	int size = digests && length % 4 == 0
			   ? EVP_DecodeBlock((unsigned char *)digests, (const unsigned char *)text,
					     (int)length)
			   : -1;

	*n = size > 0 ? (size_t)size / sizeof(*digests) : 0;
	if (*n)
		return digests;
	free(digests);
	error_set(err, EPROTO, "field digests: expected base64");
	return NULL;
}

int destination_compare(struct destination *d, const json_t *request, struct error **err)
{
	const char *text = json_get_string(request, "digests", err);
	auto_free uint64_t *digests = NULL;
	json_t *differ = json_array();
	uint64_t compared = 0, differing = 0;
	int64_t first;
	size_t n;

	json_object_set_new(d->answer, "differ", differ);
	if (!text || json_get_int(request, "first", 0, INT64_MAX / 2, &first, err) < 0)
		return -1;
	digests = decode(text, &n, err);
	if (!digests || take_own(d, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		uint64_t page = (uint64_t)first + i;
		uint64_t own = page < d->digest_count ? d->digests[page] : 0;

		if (!digests[i])
			continue;
		compared++;
		if (digests[i] == own)
			continue;
		if (differing++ < DIFFER_MOST)
			json_array_append_new(differ, json_integer((json_int_t)page));
	}
	json_object_set_new(d->answer, "compared", json_integer((json_int_t)compared));
	json_object_set_new(d->answer, "differing", json_integer((json_int_t)differing));
	return 0;
}
