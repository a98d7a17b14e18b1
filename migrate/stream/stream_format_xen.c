/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/stream_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/stream/xen_stream.h"

/*
 * Xen's: one block, whose size the stream does not tell; pages in batches, whose list comes before
 * their contents, so a batch is put together here. The stream tells that the guest is paused only
 * after its last page, so there is no last round to be written. `kind` is the page's type.
 */
#define BATCH                                                                                      \
	32 /* pages that are written at once: a receiver maps them all, one batch after the other  \
	    */

struct stream_rewriter {
	const struct stream_events *events;
	void *arg;
	struct xen_reader *reader;
	uint64_t pages;
	bool memory; /* pages may come */

	/* the batch that is being put together */
	size_t count, contents;
	struct xen_page list[BATCH];
	uint8_t content[BATCH * XEN_PAGE_SIZE];
};

static int on_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct stream_rewriter *f = arg;

	return f->events->opaque(f->arg, bytes, n, err);
}

static int on_memory(void *arg, const struct xen_memory *memory, struct error **err)
{
	struct stream_rewriter *f = arg;

	(void)memory;
	f->memory = true;
	if (f->events->block(f->arg, f->pages, err) < 0)
		return -1;
	return f->events->rounds(f->arg, err);
}

static int on_batch(void *arg, const struct xen_page *pages, size_t count, struct error **err)
{
	(void)arg;
	(void)pages;
	(void)count;
	(void)err;
	return 0;
}

static int on_page(void *arg, const struct xen_page *page, const uint8_t *content,
		   struct error **err)
{
	struct stream_rewriter *f = arg;

	if (page->pfn >= f->pages)
		return error_set(err, EPROTO,
				 "Xen's stream has page %" PRIu64 ", the guest has %" PRIu64
				 " pages",
				 page->pfn, f->pages);
	return f->events->page(f->arg, 0, page->pfn, content, content ? 0 : (uint8_t)page->type,
			       err);
}

static int on_batch_end(void *arg, struct error **err)
{
	(void)arg;
	(void)err;
	return 0;
}

static int on_paused(void *arg, struct error **err)
{
	struct stream_rewriter *f = arg;

	if (f->events->last(f->arg, err) < 0)
		return -1;
	return f->events->pages_end(f->arg, err);
}

static int begin_pages(struct stream_rewriter *f, struct error **err)
{
	return f->memory ? 0 : error_set(err, EPROTO, "Xen's stream has pages before its memory");
}

static void destroy(struct stream_rewriter *f)
{
	if (!f)
		return;
	xen_reader_destroy(f->reader);
	free(f);
}

static struct stream_rewriter *create(const struct stream_events *events, void *arg, uint64_t pages,
				      struct error **err)
{
	struct stream_rewriter *f = calloc(1, sizeof(*f));
	struct xen_stream_sink sink = {on_opaque,    on_memory, on_batch, on_page,
				       on_batch_end, on_paused, f};

	if (!f) {
		error_set(err, ENOMEM, "no memory for Xen's stream");
		return NULL;
	}
	f->events = events;
	f->arg = arg;
	f->pages = pages;
	f->reader = xen_reader_create(&sink, err);
	if (!f->reader) {
		destroy(f);
		return NULL;
	}
	return f;
}

static int feed(struct stream_rewriter *f, const uint8_t *bytes, size_t n, struct error **err)
{
	return xen_reader_feed(f->reader, bytes, n, err);
}

static int feed_end(struct stream_rewriter *f, struct error **err)
{
	return xen_reader_end(f->reader, err);
}

static int flush(struct stream_rewriter *f, struct byte_queue *out, struct error **err)
{
	size_t bytes = f->contents * XEN_PAGE_SIZE;
	uint8_t *place;

	if (f->count == 0)
		return 0;
	place = byte_queue_reserve(out, XEN_BATCH_HEADER_MOST + bytes);
	if (!place)
		return error_set(err, ENOMEM, "no memory for the memory stream");
	place += xen_write_batch(f->list, f->count, place);
	memcpy(place, f->content, bytes);
	out->end = (size_t)(place + bytes - out->data);
	f->count = f->contents = 0;
	return 0;
}

static int write_page(struct stream_rewriter *f, struct byte_queue *out, size_t block,
		      uint64_t page, const uint8_t *content, uint8_t kind, bool last,
		      struct error **err)
{
	(void)block;
	(void)last;
	f->list[f->count++] =
		(struct xen_page){page, content ? XEN_PAGE_NOTAB : (enum xen_page_type)kind};
	if (content)
		memcpy(f->content + f->contents++ * XEN_PAGE_SIZE, content, XEN_PAGE_SIZE);
	return f->count == BATCH ? flush(f, out, err) : 0;
}

static size_t unflushed(const struct stream_rewriter *f)
{
	return f->contents * XEN_PAGE_SIZE;
}

const struct stream_format stream_format_xen = {.name = "Xen",
						.kind_replaces = false,
						.zero_kind = false,
						.begin_pages = begin_pages,
						.create = create,
						.destroy = destroy,
						.feed = feed,
						.feed_end = feed_end,
						.write_page = write_page,
						.flush = flush,
						.end_pages = flush,
						.unflushed = unflushed};
