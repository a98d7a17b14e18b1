/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/page_digest.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PAGE 4096
#define KEY  32
#define NOTHING                                                                                    \
	((struct digest){{0}}) /* not noted; one that comes out so is sent again, no harm          \
				*/

struct digest {
	uint8_t bytes[16];
};

struct page_digests {
	EVP_MAC *mac;
	EVP_MAC_CTX *context;
	uint8_t key[KEY];
	struct digest *of;
};

struct page_digests *page_digests_create(uint64_t pages, struct error **err)
{
	struct page_digests *d = calloc(1, sizeof(*d));

	if (d)
		d->of = calloc(pages, sizeof(*d->of));
	if (!d || !d->of) {
		page_digests_destroy(d);
		error_set(err, ENOMEM, "no memory for the digests of %" PRIu64 " pages", pages);
		return NULL;
	}
	d->mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	d->context = d->mac ? EVP_MAC_CTX_new(d->mac) : NULL;
	if (!d->context || getrandom(d->key, KEY, 0) != KEY) {
		page_digests_destroy(d);
		error_set(err, ENOSYS, "OpenSSL has no Poly1305, or there is no random key for it");
		return NULL;
	}
	return d;
}

void page_digests_destroy(struct page_digests *d)
{
	if (!d)
		return;
	EVP_MAC_CTX_free(d->context);
	EVP_MAC_free(d->mac);
	explicit_bzero(d->key, KEY);
	free(d->of);
	free(d);
}

static struct digest digest_of(struct page_digests *d, const uint8_t *content)
{
	struct digest digest = NOTHING;
	size_t n = 0;

	if (EVP_MAC_init(d->context, d->key, KEY, NULL) != 1 ||
	    EVP_MAC_update(d->context, content, PAGE) != 1 ||
	    EVP_MAC_final(d->context, digest.bytes, &n, sizeof(digest)) != 1 || n != sizeof(digest))
		return NOTHING;
	return digest;
}

static bool is_nothing(const struct digest *digest)
{
	static const struct digest nothing;

	return memcmp(digest, &nothing, sizeof(nothing)) == 0;
}

void page_digests_note(struct page_digests *d, uint64_t page, const uint8_t *content)
{
	d->of[page] = digest_of(d, content);
}

void page_digests_forget(struct page_digests *d, uint64_t page)
{
	if (!is_nothing(&d->of[page]))
		d->of[page] = NOTHING;
}

bool page_digests_same(struct page_digests *d, uint64_t page, const uint8_t *content)
{
	struct digest now;

	if (is_nothing(&d->of[page]))
		return false;
	now = digest_of(d, content);
	return !is_nothing(&now) && memcmp(&now, &d->of[page], sizeof(now)) == 0;
}
