/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/page_mac.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#define BLOCK 64u /* of SHA-256: what follows the key lies as the function wants it */

struct page_mac {
	EVP_MD *kind;
	EVP_MD_CTX *context;
	uint8_t key[BLOCK];
};

struct page_mac *page_mac_create(const uint8_t key[PAGE_MAC_KEY], struct error **err)
{
	struct page_mac *m = calloc(1, sizeof(*m));

	if (m) {
		m->kind = EVP_MD_fetch(NULL, "SHA256", NULL);
		m->context = EVP_MD_CTX_new();
		memcpy(m->key, key, PAGE_MAC_KEY);
	}
	if (m && m->kind && m->context)
		return m;
	page_mac_destroy(m);
	error_set(err, ENOMEM, "no memory for digests of pages");
	return NULL;
}

void page_mac_destroy(struct page_mac *m)
{
	if (!m)
		return;
	EVP_MD_free(m->kind);
	EVP_MD_CTX_free(m->context);
	explicit_bzero(m->key, sizeof(m->key));
	free(m);
}

int page_mac_of(struct page_mac *m, const uint8_t content[PAGE_MAC_CONTENT],
		uint8_t digest[PAGE_MAC_SIZE], struct error **err)
{
	uint8_t whole[EVP_MAX_MD_SIZE];

	if (!EVP_DigestInit_ex2(m->context, m->kind, NULL) ||
	    !EVP_DigestUpdate(m->context, m->key, BLOCK) ||
	    !EVP_DigestUpdate(m->context, content, PAGE_MAC_CONTENT) ||
	    !EVP_DigestFinal_ex(m->context, whole, NULL))
		return error_set(err, EIO, "OpenSSL makes no SHA-256");
	memcpy(digest, whole, PAGE_MAC_SIZE);
	return 0;
}
