/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decoder's end of known_pages.h. */
#include "migrate/codec/known_pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "migrate/codec/page_mac.h"

static const uint8_t none[PAGE_MAC_SIZE];

struct held_pages {
	int fd;
	uint64_t offset;
	uint8_t key[PAGE_MAC_KEY];
	struct page_mac *mac;
	bool begun; /* the header is made */
	uint32_t pages, offered;
	uint8_t (*digests)[PAGE_MAC_SIZE]; /* of those that were offered */
};

struct held_pages *held_pages_create(int fd, uint64_t offset, uint32_t pages, struct error **err)
{
	struct held_pages *h = calloc(1, sizeof(*h));

	if (h) {
		h->fd = fd;
		h->offset = offset;
		h->pages = pages;
		h->digests = malloc(((size_t)pages + 1) * sizeof(*h->digests));
	}
	if (!h || !h->digests) {
		error_set(err, ENOMEM, "no memory for digests of %u pages", pages);
	} else if (getrandom(h->key, sizeof(h->key), 0) != (ssize_t)sizeof(h->key)) {
		error_set(err, EIO, "no random key");
	} else {
		h->mac = page_mac_create(h->key, err);
		if (h->mac)
			return h;
	}
	if (!h)
		cleanup_close(&fd);
	held_pages_destroy(h);
	return NULL;
}

void held_pages_destroy(struct held_pages *h)
{
	if (!h)
		return;
	cleanup_close(&h->fd);
	page_mac_destroy(h->mac);
	explicit_bzero(h->key, sizeof(h->key));
	free(h->digests);
	free(h);
}

static int read_page(const struct held_pages *h, uint64_t page, uint8_t *content,
		     uint8_t digest[PAGE_MAC_SIZE], struct error **err)
{
	uint64_t at = h->offset + page * PAGE_MAC_CONTENT;

	if (pread(h->fd, content, PAGE_MAC_CONTENT, (off_t)at) != (ssize_t)PAGE_MAC_CONTENT)
		return error_set(err, EPROTO, "page %" PRIu64 " of the checkpoint can't be read",
				 page);
	return page_mac_of(h->mac, content, digest, err);
}

static size_t put_header(struct held_pages *h, uint8_t *to)
{
	memset(to, 0, OFFER_HEADER_SIZE);
	put_be32(to, OFFER_MAGIC);
	to[4] = OFFER_VERSION;
	put_be32(to + 8, h->pages);
	memcpy(to + 16, h->key, PAGE_MAC_KEY);
	h->begun = true;
	return OFFER_HEADER_SIZE;
}

size_t held_pages_offer(struct held_pages *h, uint8_t *to, size_t n)
{
	size_t used = h->begun ? 0 : put_header(h, to);
	uint8_t content[PAGE_MAC_CONTENT];

	for (; h->offered < h->pages && n - used >= PAGE_MAC_SIZE; h->offered++) {
		uint8_t *digest = h->digests[h->offered];

		if (read_page(h, h->offered, content, digest, NULL) < 0)
			memcpy(digest, none, PAGE_MAC_SIZE);
		memcpy(to + used, digest, PAGE_MAC_SIZE);
		used += PAGE_MAC_SIZE;
	}
	return used;
}

int held_pages_take(struct held_pages *h, uint64_t page, uint8_t *content, struct error **err)
{
	uint8_t digest[PAGE_MAC_SIZE];

	if (page >= h->offered || memcmp(h->digests[page], none, PAGE_MAC_SIZE) == 0)
		return error_set(err, EPROTO,
				 "a reference to page %" PRIu64
				 " of the checkpoint, of which %u were offered",
				 page, h->offered);
	if (read_page(h, page, content, digest, err) < 0)
		return -1;
	if (memcmp(h->digests[page], digest, PAGE_MAC_SIZE) != 0)
		return error_set(err, EPROTO,
				 "page %" PRIu64
				 " of the checkpoint is not what it was when it was offered",
				 page);
	return 0;
}
