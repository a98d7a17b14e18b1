/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/stream_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/stream/qemu_stream.h"

/* QEMU's: pages in sections; the last round is a section of its own kind. `kind` is the fill. */
#define PART_PAGES 256 /* pages in a section of ours */

struct stream_rewriter {
	const struct stream_events *events;
	void *arg;
	struct qemu_reader *reader;
	struct qemu_writer *writer;
	bool in_rounds;	  /* `rounds` was told */
	bool open, last;  /* a section that is being written */
	unsigned in_part; /* pages in it */
};

static int on_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct stream_rewriter *f = arg;

	return f->events->opaque(f->arg, bytes, n, err);
}

static int on_block(void *arg, size_t index, const struct qemu_block *block, struct error **err)
{
	struct stream_rewriter *f = arg;

	(void)index;
	return f->events->block(f->arg, block->bytes / QEMU_PAGE, err);
}

static int begin_pages(struct stream_rewriter *f, struct error **err)
{
	if (qemu_writer_format(f->writer, f->reader) < 0)
		return error_set(err, EPROTO, "the memory stream has pages before its blocks");
	f->in_rounds = true;
	return 0;
}

static int begin_rounds(struct stream_rewriter *f, struct error **err)
{
	return begin_pages(f, err) < 0 ? -1 : f->events->rounds(f->arg, err);
}

static int on_part_begin(void *arg, bool last, struct error **err)
{
	struct stream_rewriter *f = arg;

	if (!f->in_rounds && begin_rounds(f, err) < 0)
		return -1;
	return last ? f->events->last(f->arg, err) : 0;
}

static int on_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t fill,
		   struct error **err)
{
	struct stream_rewriter *f = arg;

	return f->events->page(f->arg, block, page, content, fill, err);
}

static int on_part_end(void *arg, bool last, struct error **err)
{
	struct stream_rewriter *f = arg;

	return last ? f->events->pages_end(f->arg, err) : 0;
}

static void destroy(struct stream_rewriter *f)
{
	if (!f)
		return;
	qemu_reader_destroy(f->reader);
	qemu_writer_destroy(f->writer);
	free(f);
}

static struct stream_rewriter *create(const struct stream_events *events, void *arg, uint64_t pages,
				      struct error **err)
{
	struct stream_rewriter *f = calloc(1, sizeof(*f));
	struct qemu_stream_sink sink = {on_opaque, on_block,	on_part_begin,
					on_page,   on_part_end, f};

	(void)pages;
	if (!f) {
		error_set(err, ENOMEM, "no memory for QEMU's stream");
		return NULL;
	}
	f->events = events;
	f->arg = arg;
	f->reader = qemu_reader_create(&sink, err);
	if (f->reader)
		f->writer = qemu_writer_create(err);
	if (!f->writer) {
		destroy(f);
		return NULL;
	}
	return f;
}

static int feed(struct stream_rewriter *f, const uint8_t *bytes, size_t n, struct error **err)
{
	return qemu_reader_feed(f->reader, bytes, n, err);
}

static int feed_end(struct stream_rewriter *f, struct error **err)
{
	return qemu_reader_end(f->reader, err);
}

static uint8_t *reserve(struct byte_queue *out, size_t n, struct error **err)
{
	uint8_t *place = byte_queue_reserve(out, n);

	if (!place)
		error_set(err, ENOMEM, "no memory for the memory stream");
	return place;
}

static int open_part(struct stream_rewriter *f, struct byte_queue *out, bool last,
		     struct error **err)
{
	uint8_t *place = reserve(out, QEMU_HEADER_MOST, err);

	if (!place)
		return -1;
	out->end += qemu_write_part_begin(f->writer, last, place);
	f->open = true;
	f->last = last;
	f->in_part = 0;
	return 0;
}

static int close_part(struct stream_rewriter *f, struct byte_queue *out, struct error **err)
{
	uint8_t *place;

	if (!f->open)
		return 0;
	place = reserve(out, QEMU_HEADER_MOST, err);
	if (!place)
		return -1;
	out->end += qemu_write_part_end(f->writer, f->last, place);
	f->open = false;
	return 0;
}

static int write_page(struct stream_rewriter *f, struct byte_queue *out, size_t block,
		      uint64_t page, const uint8_t *content, uint8_t kind, bool last,
		      struct error **err)
{
	uint8_t *place;
	size_t n;

	if (f->open && (f->last != last || (!last && f->in_part >= PART_PAGES)) &&
	    close_part(f, out, err) < 0)
		return -1;
	if (!f->open && open_part(f, out, last, err) < 0)
		return -1;
	place = reserve(out, QEMU_HEADER_MOST + QEMU_PAGE, err);
	if (!place)
		return -1;
	n = qemu_write_page(f->writer, block, page, !content, kind, place);
	if (content)
		memcpy(place + n, content, QEMU_PAGE);
	out->end += n + (content ? QEMU_PAGE : 0);
	f->in_part++;
	return 0;
}

/* There is one section that ends memory. */
static int flush(struct stream_rewriter *f, struct byte_queue *out, struct error **err)
{
	return f->last ? 0 : close_part(f, out, err);
}

/* It is there, whether there are pages for it or not. */
static int end_pages(struct stream_rewriter *f, struct byte_queue *out, struct error **err)
{
	if (flush(f, out, err) < 0)
		return -1;
	if (!f->open && open_part(f, out, true, err) < 0)
		return -1;
	return close_part(f, out, err);
}

static size_t unflushed(const struct stream_rewriter *f)
{
	(void)f;
	return 0;
}

const struct stream_format stream_format_qemu = {.name = "QEMU",
						 .kind_replaces = true,
						 .zero_kind = true,
						 .begin_pages = begin_pages,
						 .create = create,
						 .destroy = destroy,
						 .feed = feed,
						 .feed_end = feed_end,
						 .write_page = write_page,
						 .flush = flush,
						 .end_pages = end_pages,
						 .unflushed = unflushed};
