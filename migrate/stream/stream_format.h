/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_STREAM_FORMAT_H
#define STREAM_STREAM_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/stream/byte_queue.h"

/*
 * A hypervisor's migration stream as the page scheduler sees it: blocks of guest memory, pages of
 * them in rounds, a last round while the guest is paused, and bytes of which nobody need know
 * anything. One object reads a stream and writes another one of the same format.
 *
 * Not thread-safe. Errors of reading are those of the format's reader: EPROTO, ENOTSUP.
 */
#define STREAM_PAGE	   4096u
#define STREAM_BLOCKS_MOST 256

/*
 * What is found, in the order of the stream. Each returns 0, or -1 with *err, which ends the
 * reading. Content is valid during the call only.
 */
struct stream_events {
	/* n > 0 bytes to be passed on unchanged, and not among pages that were written. */
	int (*opaque)(void *arg, const uint8_t *bytes, size_t n, struct error **err);

	/* A block of guest memory, of so many pages; all of them come before rounds. */
	int (*block)(void *arg, uint64_t pages, struct error **err);

	/* Once: pages follow. */
	int (*rounds)(void *arg, struct error **err);

	/*
	 * `page` counts from its block's start. content NULL: the page has none; what it is, `kind`
	 * tells those who know the format. Else `kind` is 0.
	 */
	int (*page)(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t kind,
		    struct error **err);

	/* Once: the guest is paused; pages that come from here on are the last. */
	int (*last)(void *arg, struct error **err);

	/* Once: there are no more pages. What follows is opaque, and comes after all of them. */
	int (*pages_end)(void *arg, struct error **err);
};

struct stream_rewriter;

struct stream_format {
	const char *name;

	/* A page without content takes the place of what was sent of it before. */
	bool kind_replaces;

	/* A page without content of the kind 0 is one that is all zeroes. */
	bool zero_kind;

	/*
	 * pages: of guest memory, for a format that does not tell (Xen's); else ignored. The
	 * events are called with arg. NULL: ENOMEM.
	 */
	struct stream_rewriter *(*create)(const struct stream_events *events, void *arg,
					  uint64_t pages, struct error **err);
	void (*destroy)(struct stream_rewriter *f); /* takes NULL */

	/* As the reader's: the next n bytes; the stream ended here. */
	int (*feed)(struct stream_rewriter *f, const uint8_t *bytes, size_t n, struct error **err);
	int (*feed_end)(struct stream_rewriter *f, struct error **err);

	/*
	 * All that comes before `rounds` was fed, and no more will be: pages are written that
	 * another object has read. EPROTO: it has not come that far.
	 */
	int (*begin_pages)(struct stream_rewriter *f, struct error **err);

	/*
	 * Appends a page to the queue, now or with others, in the last round if `last`; all that
	 * wait; or all and what ends the pages. From the event `rounds` on. ENOMEM.
	 */
	int (*write_page)(struct stream_rewriter *f, struct byte_queue *out, size_t block,
			  uint64_t page, const uint8_t *content, uint8_t kind, bool last,
			  struct error **err);
	int (*flush)(struct stream_rewriter *f, struct byte_queue *out, struct error **err);
	int (*end_pages)(struct stream_rewriter *f, struct byte_queue *out, struct error **err);

	/* Bytes that write_page has kept by now. */
	size_t (*unflushed)(const struct stream_rewriter *f);
};

extern const struct stream_format stream_format_qemu, stream_format_xen;

#endif
