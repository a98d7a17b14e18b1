/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_KNOWN_PAGES_H
#define CODEC_KNOWN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * Pages, or blocks of a disk, that the decoder's end has from elsewhere: a checkpoint of the
 * guest's last stay, the disk that it left then, base images. It offers their digests (page_mac.h),
 * and where the encoder has a page of that digest, a reference is sent in its place, whatever
 * number the page had there.
 *
 * The offer comes on the way back (way_back.h). Integers are big-endian:
 *
 *	be32 magic, u8 version, 3 * u8 0, be32 pages (0: there is nothing), be32 0, the key;
 *	for each page its digest; zeroes: this one can't be had after all
 */
#define OFFER_MAGIC	  0x4548434bu /* "EHCK" */
#define OFFER_VERSION	  1
#define OFFER_HEADER_SIZE 48u
#define OFFER_PAGE	  4096u

/*
 * For so many pages of a guest, or blocks of its disk, so many may be offered: at 16 bytes each
 * never more than 1.6 % of what they might spare.
 */
#define OFFER_FACTOR 4u
#define OFFER_MOST   (1u << 30)
static inline uint64_t offer_most(uint64_t pages)
{
	return pages < OFFER_MOST / OFFER_FACTOR ? pages * OFFER_FACTOR : OFFER_MOST;
}

/*
 * The encoder's end: what was offered.
 *
 * Memory: 24 to 32 bytes for each page of the offer, taken when its header has come. A look costs
 * page_mac.h's and a line of the processor's cache. An offer that was made to fill one part of the
 * table has what does not fit there forgotten, and costs no more. Not thread-safe.
 */
struct known_pages;

#define KNOWN_NOWHERE UINT32_MAX

/* most: pages that may be offered, at most OFFER_MOST. ENOMEM. */
struct known_pages *known_pages_create(uint64_t most, struct error **err);
void known_pages_destroy(struct known_pages *k); /* takes NULL */

/*
 * The next bytes of the offer, cut anywhere; *used of them were its. ENOMEM; EPROTO, ENOTSUP: this
 * is no offer that can be taken. Afterwards only destroy is of use.
 */
int known_pages_feed(struct known_pages *k, const uint8_t *bytes, size_t n, size_t *used,
		     struct error **err);

/* All of it has come. */
bool known_pages_complete(const struct known_pages *k);

/* How many pages were offered. */
uint32_t known_pages_count(const struct known_pages *k);

/* The page of the offer that has this content (4096 bytes), or KNOWN_NOWHERE. */
uint32_t known_pages_find(struct known_pages *k, const uint8_t *content);

/*
 * The decoder's end: pages in files, which it offers, and takes by their number.
 *
 * Nothing of a file is trusted to stay as it is: what is taken is digested again. Memory: 16 bytes
 * for each page, 32 for each of an image's stretches between holes. Not thread-safe.
 */
struct held_pages;

#define HELD_FILES_MOST 8u

/* A file of which pages of 4096 bytes are offered; read by pread. */
struct held_file {
	int fd;
	uint64_t offset; /* of the first one */
	uint32_t pages;	 /* 0: an image, all there are up to its end, but for holes */
};

/*
 * Files, in this order, at most HELD_FILES_MOST; their descriptors are taken over, also on failure.
 * Of more than `most` pages the last ones are left out. A key is drawn. ENOMEM, EIO.
 */
struct held_pages *held_pages_create(const struct held_file *files, size_t count, uint64_t most,
				     struct error **err);
void held_pages_destroy(struct held_pages *h); /* takes NULL */

/*
 * The next bytes of the offer, as many as fit into n (at least OFFER_HEADER_SIZE); returns how
 * many, 0: it is complete. A page is read and digested for each 16 bytes. What can't be read is not
 * offered.
 */
size_t held_pages_offer(struct held_pages *h, uint8_t *to, size_t n);

/* EPROTO: it was not offered, or is not in the file any more as it was when it was. */
int held_pages_take(struct held_pages *h, uint64_t page, uint8_t *content, struct error **err);

#endif
