/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_PAGE_MAC_H
#define CODEC_PAGE_MAC_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A keyed digest that stands for a page which the other end can't compare: SHA-256 over the key,
 * padded to a block, and the page, cut to 128 bits. All that is digested is of one length, so a
 * prefix is as good as HMAC. The key is of one hop, drawn when the contents are there already:
 * whoever writes them, a guest, can't look for two that have the same digest.
 *
 * 2.7 us a page with the processor's SHA instructions, BLAKE2b 5.3, BLAKE2s 7.8 (`openssl speed
 * -bytes 4096`). Not thread-safe.
 */
#define PAGE_MAC_KEY	 32u
#define PAGE_MAC_SIZE	 16u
#define PAGE_MAC_CONTENT 4096u

struct page_mac;

/* ENOMEM. The first one of a process has OpenSSL read what it needs of the disk. */
struct page_mac *page_mac_create(const uint8_t key[PAGE_MAC_KEY], struct error **err);
void page_mac_destroy(struct page_mac *m); /* takes NULL */

/* EIO: the library failed. */
int page_mac_of(struct page_mac *m, const uint8_t content[PAGE_MAC_CONTENT],
		uint8_t digest[PAGE_MAC_SIZE], struct error **err);

#endif
