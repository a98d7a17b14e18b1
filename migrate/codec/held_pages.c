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

/* Pages that follow each other in a file. */
struct stretch {
	int fd;
	uint32_t first, pages; /* as they are numbered in the offer */
	uint64_t offset;
};

struct held_pages {
	int fds[HELD_FILES_MOST];
	size_t files;
	struct stretch *stretches;
	size_t count, room;
	uint8_t key[PAGE_MAC_KEY];
	struct page_mac *mac;
	bool begun; /* the header is made */
	uint32_t pages, offered;
	uint8_t (*digests)[PAGE_MAC_SIZE]; /* of those that were offered */
};

/* ---- What there is ---- */

static int add_stretch(struct held_pages *h, int fd, uint64_t offset, uint64_t pages, uint64_t most)
{
	uint64_t left = most - h->pages;

	if (pages > left)
		pages = left;
	if (pages == 0)
		return 0;
	if (h->count == h->room) {
		size_t room = h->room ? 2 * h->room : 16;
		struct stretch *more = realloc(h->stretches, room * sizeof(*more));

		if (!more)
			return -1;
		h->stretches = more;
		h->room = room;
	}
	h->stretches[h->count++] = (struct stretch){fd, h->pages, (uint32_t)pages, offset};
	h->pages += (uint32_t)pages;
	return 0;
}

/* A file system that tells of no holes has one stretch; one that can't be asked, nothing. */
static int add_image(struct held_pages *h, int fd, uint64_t most)
{
	off_t from = 0, to;

	while (h->pages < most && (from = lseek(fd, from, SEEK_DATA)) >= 0) {
		to = lseek(fd, from, SEEK_HOLE);
		from -= from % (off_t)PAGE_MAC_CONTENT;
		if (to <= from)
			break;
		if (add_stretch(h, fd, (uint64_t)from, (uint64_t)(to - from) / PAGE_MAC_CONTENT,
				most) < 0)
			return -1;
		from = to;
	}
	return 0;
}

static int add_files(struct held_pages *h, const struct held_file *files, uint64_t most,
		     struct error **err)
{
	int result = 0;

	for (size_t i = 0; i < h->files && result == 0; i++)
		result = files[i].pages ? add_stretch(h, files[i].fd, files[i].offset,
						      files[i].pages, most)
					: add_image(h, files[i].fd, most);
	if (result == 0)
		h->digests = malloc(((size_t)h->pages + 1) * sizeof(*h->digests));
	return h->digests ? 0 : error_set(err, ENOMEM, "no memory for digests of what is here");
}

static int draw_key(struct held_pages *h, struct error **err)
{
	if (getrandom(h->key, sizeof(h->key), 0) != (ssize_t)sizeof(h->key))
		return error_set(err, EIO, "no random key");
	h->mac = page_mac_create(h->key, err);
	return h->mac ? 0 : -1;
}

struct held_pages *held_pages_create(const struct held_file *files, size_t count, uint64_t most,
				     struct error **err)
{
	struct held_pages *h = calloc(1, sizeof(*h));

	if (!h) {
		for (size_t i = 0; i < count; i++)
			close(files[i].fd);
		error_set(err, ENOMEM, "no memory for digests of what is here");
		return NULL;
	}
	for (; h->files < count; h->files++)
		h->fds[h->files] = files[h->files].fd;
	if (add_files(h, files, most < OFFER_MOST ? most : OFFER_MOST, err) == 0 &&
	    draw_key(h, err) == 0)
		return h;
	held_pages_destroy(h);
	return NULL;
}

void held_pages_destroy(struct held_pages *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->files; i++)
		close(h->fds[i]);
	page_mac_destroy(h->mac);
	explicit_bzero(h->key, sizeof(h->key));
	free(h->stretches);
	free(h->digests);
	free(h);
}

/* ---- Its pages ---- */

/* The last stretch that begins at the page or before it. */
static const struct stretch *stretch_of(const struct held_pages *h, uint64_t page)
{
	size_t low = 0, high = h->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (h->stretches[middle].first <= page)
			low = middle;
		else
			high = middle;
	}
	return &h->stretches[low];
}

static int read_page(const struct held_pages *h, uint64_t page, uint8_t *content,
		     uint8_t digest[PAGE_MAC_SIZE], struct error **err)
{
	const struct stretch *s = stretch_of(h, page);
	uint64_t at = s->offset + (page - s->first) * PAGE_MAC_CONTENT;

	if (pread(s->fd, content, PAGE_MAC_CONTENT, (off_t)at) != (ssize_t)PAGE_MAC_CONTENT)
		return error_set(err, EPROTO, "page %" PRIu64 " of what was offered can't be read",
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
				 " of what is here, of which %u were offered",
				 page, h->offered);
	if (read_page(h, page, content, digest, err) < 0)
		return -1;
	if (memcmp(h->digests[page], digest, PAGE_MAC_SIZE) != 0)
		return error_set(err, EPROTO,
				 "page %" PRIu64 " of what was offered is not what it was then",
				 page);
	return 0;
}
