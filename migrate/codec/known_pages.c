/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/known_pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/page_mac.h"

/*
 * Theory of operation
 *
 * Open addressing over the digests, which are their own hash: a place holds a number of a digest,
 * at most half of the places are taken, and a digest is within PROBES of where it begins or
 * nowhere. Bytes of the offer are gathered until they are a header, or a digest.
 */
#define PROBES	   64u
#define PAGES_MOST (1u << 30)

static const uint8_t none[PAGE_MAC_SIZE];

struct known_pages {
	struct page_mac *mac;
	uint64_t most;
	bool begun; /* the header has come */
	uint8_t part[OFFER_HEADER_SIZE];
	size_t have;
	uint32_t pages, came;
	uint8_t (*digests)[PAGE_MAC_SIZE];
	uint32_t *places; /* numbers of digests, each with 1 added; 0: free */
	size_t mask;
};

struct known_pages *known_pages_create(uint64_t most, struct error **err)
{
	struct known_pages *k = calloc(1, sizeof(*k));

	if (!k) {
		error_set(err, ENOMEM, "no memory for an offer of pages");
		return NULL;
	}
	k->most = most < PAGES_MOST ? most : PAGES_MOST;
	return k;
}

void known_pages_destroy(struct known_pages *k)
{
	if (!k)
		return;
	page_mac_destroy(k->mac);
	free(k->digests);
	free(k->places);
	free(k);
}

static size_t places_for(uint32_t pages)
{
	size_t n = 64;

	while (n < 2 * (size_t)pages)
		n *= 2;
	return n;
}

static int take_header(struct known_pages *k, struct error **err)
{
	const uint8_t *p = k->part;

	if (get_be32(p) != OFFER_MAGIC)
		return error_set(err, EPROTO, "offer of pages: magic %08x, expected %08x",
				 get_be32(p), OFFER_MAGIC);
	if (p[4] != OFFER_VERSION)
		return error_set(err, ENOTSUP, "offer of pages: version %u, expected %d", p[4],
				 OFFER_VERSION);
	k->pages = get_be32(p + 8);
	if (k->pages > k->most)
		return error_set(err, EPROTO, "offer of pages: found %u, expected at most %" PRIu64,
				 k->pages, k->most);
	k->begun = true;
	if (k->pages == 0)
		return 0;
	k->digests = malloc(k->pages * sizeof(*k->digests));
	k->mask = places_for(k->pages) - 1;
	k->places = calloc(k->mask + 1, sizeof(*k->places));
	if (!k->digests || !k->places)
		return error_set(err, ENOMEM, "no memory for an offer of %u pages", k->pages);
	k->mac = page_mac_create(p + 16, err);
	return k->mac ? 0 : -1;
}

/* Where the digest is, or could be put; NULL: neither. */
static uint32_t *place_of(const struct known_pages *k, const uint8_t *digest)
{
	size_t at = (size_t)get_be64(digest);

	for (unsigned i = 0; i < PROBES; i++) {
		uint32_t *place = &k->places[(at + i) & k->mask];

		if (*place == 0 || memcmp(k->digests[*place - 1], digest, PAGE_MAC_SIZE) == 0)
			return place;
	}
	return NULL;
}

static void take_digest(struct known_pages *k)
{
	uint32_t number = k->came++;
	uint32_t *place;

	memcpy(k->digests[number], k->part, PAGE_MAC_SIZE);
	if (memcmp(k->part, none, PAGE_MAC_SIZE) == 0)
		return;
	place = place_of(k, k->part);
	if (place && *place == 0)
		*place = number + 1;
}

int known_pages_feed(struct known_pages *k, const uint8_t *bytes, size_t n, size_t *used,
		     struct error **err)
{
	*used = 0;
	while (*used < n && !known_pages_complete(k)) {
		size_t want = k->begun ? PAGE_MAC_SIZE : OFFER_HEADER_SIZE;
		size_t some = want - k->have < n - *used ? want - k->have : n - *used;

		memcpy(k->part + k->have, bytes + *used, some);
		k->have += some;
		*used += some;
		if (k->have < want)
			break;
		k->have = 0;
		if (k->begun)
			take_digest(k);
		else if (take_header(k, err) < 0)
			return -1;
	}
	return 0;
}

bool known_pages_complete(const struct known_pages *k)
{
	return k->begun && k->came == k->pages;
}

uint32_t known_pages_count(const struct known_pages *k)
{
	return k->pages;
}

uint32_t known_pages_find(struct known_pages *k, const uint8_t *content)
{
	uint8_t digest[PAGE_MAC_SIZE];
	const uint32_t *place;

	if (k->came == 0 || page_mac_of(k->mac, content, digest, NULL) < 0)
		return KNOWN_NOWHERE;
	place = place_of(k, digest);
	return place && *place ? *place - 1 : KNOWN_NOWHERE;
}
