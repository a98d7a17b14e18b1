/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef FUZZ_XEN_STREAM_RIG_H
#define FUZZ_XEN_STREAM_RIG_H

/*
 * Reader and writer back to back: what is fed comes out again, to be compared. Used by the fuzz
 * target and by the unit tests.
 */
#include <errno.h>
#include <string.h>

#include "migrate/stream/xen_stream.h"
#include "tests/fuzz/rig.h"

struct copy {
	struct xen_reader *reader;
	const struct xen_memory *memory; /* as the sink was told */
	uint8_t *out;
	size_t size, room;
	uint64_t events; /* digest of all calls but opaque, with the place in `out` where each came
			  */
	size_t batches, pages, contents;
	const struct xen_page *batch; /* that is open */
	size_t count, next;	      /* its pages, and the one that has to come next */
	bool paused;
	struct error *err; /* of the first call that failed */
};

static inline void copy_bytes(struct copy *copy, const uint8_t *bytes, size_t n)
{
	if (copy->size + n > copy->room) {
		copy->room = (copy->size + n) * 2;
		copy->out = realloc(copy->out, copy->room);
		rig_check(copy->out);
	}
	memcpy(copy->out + copy->size, bytes, n);
	copy->size += n;
}

static inline void copy_event(struct copy *copy, uint64_t kind, uint64_t a, uint64_t b)
{
	const uint64_t words[] = {kind, a, b, copy->size};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		copy->events = (copy->events ^ words[i]) * 0x100000001b3u + 0x9e3779b97f4a7c15u;
}

static inline int copy_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(n > 0 && !copy->batch);
	copy_bytes(copy, bytes, n);
	return 0;
}

static inline int copy_memory(void *arg, const struct xen_memory *memory, struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(!copy->memory && memory == xen_reader_memory(copy->reader));
	rig_check(memory->xen_major && memory->pfns == 0 && !memory->complete);
	copy->memory = memory;
	copy_event(copy, 'm', memory->xen_major, memory->xen_minor);
	return 0;
}

static inline int copy_batch_begin(void *arg, const struct xen_page *pages, size_t count,
				   struct error **err)
{
	struct copy *copy = arg;
	uint8_t header[XEN_BATCH_HEADER_MOST];
	size_t n = xen_write_batch(pages, count, header);

	(void)err;
	rig_check(copy->memory && !copy->batch && !copy->paused);
	rig_check(n > 0 && n <= sizeof(header));
	copy->batch = pages;
	copy->count = count;
	copy->next = 0;
	copy->batches++;
	copy_event(copy, 'b', count, 0);
	copy_bytes(copy, header, n);
	return 0;
}

static inline int copy_page(void *arg, const struct xen_page *page, const uint8_t *content,
			    struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(copy->batch && copy->next < copy->count && page == &copy->batch[copy->next]);
	rig_check(page->pfn < copy->memory->pfns && copy->memory->pfns <= XEN_PFNS_MOST);
	rig_check(!content == !xen_page_has_content(page->type));
	copy->next++;
	copy->pages++;
	copy_event(copy, 'p', page->pfn, page->type);
	if (content) {
		copy_bytes(copy, content, XEN_PAGE_SIZE);
		copy->contents++;
	}
	return 0;
}

static inline int copy_batch_end(void *arg, struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(copy->batch && copy->next == copy->count);
	copy->batch = NULL;
	copy_event(copy, 'e', 0, 0);
	return 0;
}

static inline int copy_paused(void *arg, struct error **err)
{
	struct copy *copy = arg;

	(void)err;
	rig_check(copy->memory && !copy->batch && !copy->paused);
	copy->paused = true;
	copy_event(copy, 's', 0, 0);
	return 0;
}

static const struct xen_stream_sink copy_sink = {
	.opaque = copy_opaque,
	.memory = copy_memory,
	.batch_begin = copy_batch_begin,
	.page = copy_page,
	.batch_end = copy_batch_end,
	.paused = copy_paused,
};

static inline void copy_start(struct copy *copy)
{
	struct xen_stream_sink sink = copy_sink;

	memset(copy, 0, sizeof(*copy));
	sink.arg = copy;
	copy->reader = xen_reader_create(&sink, NULL);
	rig_check(copy->reader);
}

static inline int copy_feed(struct copy *copy, const uint8_t *bytes, size_t n)
{
	int status = xen_reader_feed(copy->reader, bytes, n, &copy->err);

	rig_check(status == 0 ? !copy->err : status == -1 && copy->err);
	return status;
}

static inline int copy_end(struct copy *copy)
{
	return xen_reader_end(copy->reader, &copy->err);
}

static inline void copy_stop(struct copy *copy)
{
	xen_reader_destroy(copy->reader);
	error_free(copy->err);
	free(copy->out);
}

/*
 * Feeds all of it, in pieces of 1 to `most` bytes (0: at once), and ends the stream. Returns 0 or
 * the code of the error, which is in copy->err.
 */
static inline int copy_all(struct copy *copy, const uint8_t *bytes, size_t n, size_t most,
			   uint64_t seed)
{
	uint64_t state = seed | 1;

	copy_start(copy);
	for (size_t i = 0; i < n;) {
		size_t cut = most ? 1 + (size_t)(rig_random(&state) % most) : n;

		if (cut > n - i)
			cut = n - i;
		if (copy_feed(copy, bytes + i, cut) < 0)
			return copy->err->code;
		i += cut;
	}
	return copy_end(copy) < 0 ? copy->err->code : 0;
}

#endif
