/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/stream_encoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/codec/pieces.h"
#include "migrate/codec/record.h"
#include "migrate/stream/stream_format.h"

/*
 * Theory of operation
 *
 * Three things wait, each in order: opaque bytes, runs of pages without content, and the page
 * encoder's batches. At most one of opaque and the two others is not empty: what is of the other
 * sort first has that sent. Of runs and batches, the runs are sent first; so a page without content
 * that is in a batch already (with an earlier version) has the batches sent before it becomes a
 * run.
 */
#define OPAQUE_SIZE (64u << 10)
#define PACK_LEAST  256u /* bytes of opaque that are worth a try */
#define RUNS_MOST   512u
#define SEEN_SLOTS  (2 * CODEC_UNITS_MOST)

struct run {
	uint64_t first;
	uint32_t pages;
	uint8_t kind;
};

struct stream_encoder {
	const struct stream_format *format;
	struct stream_rewriter *reader;
	struct page_encoder *pages;
	struct byte_queue *out; /* during a call */
	struct byte_queue units;
	uint8_t opaque[OPAQUE_SIZE];
	size_t opaque_size;
	struct run runs[RUNS_MOST];
	size_t run_count;
	uint64_t seen[SEEN_SLOTS]; /* units that may not be out yet, each with 1 added; 0: free */
	size_t batch;		   /* how many */
	enum coded_format name;
	uint64_t guest_pages;
	bool begun;	 /* the header is out */
	uint64_t before; /* bytes in `out` when the call began */
	struct stream_encoder_stats stats;
};

/* ---- What waits ---- */

static int send_opaque(struct stream_encoder *e, struct error **err)
{
	int packed = e->opaque_size >= PACK_LEAST
			     ? record_pack(e->out, CODED_PACKED, e->opaque, e->opaque_size, err)
			     : 0;

	if (packed < 0 || (!packed && e->opaque_size &&
			   record_put(e->out, CODED_OPAQUE, e->opaque, e->opaque_size, err) < 0))
		return -1;
	e->opaque_size = 0;
	return 0;
}

static int send_runs(struct stream_encoder *e, struct error **err)
{
	uint8_t body[RUNS_MOST * CODED_RUN_SIZE];

	for (size_t i = 0; i < e->run_count; i++) {
		uint8_t *at = body + i * CODED_RUN_SIZE;

		put_be64(at, e->runs[i].first);
		put_be32(at + 8, e->runs[i].pages);
		at[12] = e->runs[i].kind;
	}
	if (e->run_count &&
	    record_put(e->out, CODED_KINDS, body, e->run_count * CODED_RUN_SIZE, err) < 0)
		return -1;
	e->run_count = 0;
	return 0;
}

/* Runs go before the batch that is in `units` now. */
static int send_units(struct stream_encoder *e, struct error **err)
{
	size_t n = byte_queue_length(&e->units);

	if (n == 0)
		return 0;
	e->stats.content_out += n;
	if (send_runs(e, err) < 0 ||
	    record_put(e->out, CODED_UNITS, e->units.data + e->units.start, n, err) < 0)
		return -1;
	byte_queue_consume(&e->units, n);
	return 0;
}

static void forget_batch(struct stream_encoder *e)
{
	if (e->batch)
		memset(e->seen, 0, sizeof(e->seen));
	e->batch = 0;
}

static int send_batch(struct stream_encoder *e, struct error **err)
{
	if (e->batch && page_encoder_flush(e->pages, &e->units, err) < 0)
		return -1;
	forget_batch(e);
	return send_units(e, err);
}

static int send_pages(struct stream_encoder *e, struct error **err)
{
	return send_batch(e, err) < 0 ? -1 : send_runs(e, err);
}

/* ---- The units that wait ---- */

static uint64_t *seen_place(struct stream_encoder *e, uint64_t unit)
{
	size_t at = (size_t)(unit * 0x9e3779b97f4a7c15ull >> 40) % SEEN_SLOTS;

	while (e->seen[at] && e->seen[at] != unit + 1)
		at = (at + 1) % SEEN_SLOTS;
	return &e->seen[at];
}

static int put_unit(struct stream_encoder *e, uint64_t unit, const uint8_t *content,
		    struct error **err)
{
	uint64_t *place;

	if (page_encoder_put(e->pages, unit, content, CODEC_PAGE_PIECES, &e->units, err) < 0)
		return -1;
	if (byte_queue_length(&e->units)) {
		/* with nothing left behind, all units before this one came out */
		if (!page_encoder_behind(e->pages))
			forget_batch(e);
		if (send_units(e, err) < 0)
			return -1;
	}
	place = seen_place(e, unit);
	e->batch += *place == 0;
	*place = unit + 1;
	/* so many that the table would fill */
	return e->batch < CODEC_UNITS_MOST ? 0 : send_batch(e, err);
}

static int put_kind(struct stream_encoder *e, uint64_t unit, uint8_t kind, struct error **err)
{
	struct run *last = e->run_count ? &e->runs[e->run_count - 1] : NULL;

	if (e->batch && *seen_place(e, unit) && send_batch(e, err) < 0)
		return -1;
	if (last && e->run_count && last->kind == kind && last->first + last->pages == unit &&
	    last->pages < UINT32_MAX) {
		last->pages++;
		return 0;
	}
	if (e->run_count == RUNS_MOST && send_runs(e, err) < 0)
		return -1;
	e->runs[e->run_count++] = (struct run){unit, 1, kind};
	return 0;
}

/* ---- What the reader finds ---- */

static int on_opaque(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct stream_encoder *e = arg;

	if (send_pages(e, err) < 0)
		return -1;
	while (n) {
		size_t some = OPAQUE_SIZE - e->opaque_size;

		if (some > n)
			some = n;
		memcpy(e->opaque + e->opaque_size, bytes, some);
		e->opaque_size += some;
		bytes += some;
		n -= some;
		if (e->opaque_size == OPAQUE_SIZE && send_opaque(e, err) < 0)
			return -1;
	}
	return 0;
}

static int on_block(void *arg, uint64_t pages, struct error **err)
{
	(void)arg;
	if (pages >> CODED_PAGE_BITS)
		return error_set(err, ENOTSUP, "a block of %llu pages", (unsigned long long)pages);
	return 0;
}

static int on_rounds(void *arg, struct error **err)
{
	struct stream_encoder *e = arg;

	return send_opaque(e, err) < 0 ? -1 : record_put(e->out, CODED_ROUNDS, NULL, 0, err);
}

static int on_page(void *arg, size_t block, uint64_t page, const uint8_t *content, uint8_t kind,
		   struct error **err)
{
	static const uint8_t zeroes[STREAM_PAGE];
	struct stream_encoder *e = arg;
	uint64_t unit = coded_unit(block, page);

	if (e->opaque_size && send_opaque(e, err) < 0)
		return -1;
	if (!content && e->format->zero_kind && kind == 0)
		content = zeroes;
	if (!content)
		return put_kind(e, unit, kind, err);
	e->stats.pages++;
	return put_unit(e, unit, content, err);
}

static int on_last(void *arg, struct error **err)
{
	struct stream_encoder *e = arg;

	return send_pages(e, err) < 0 || send_opaque(e, err) < 0
		       ? -1
		       : record_put(e->out, CODED_LAST, NULL, 0, err);
}

static int on_pages_end(void *arg, struct error **err)
{
	struct stream_encoder *e = arg;

	return send_pages(e, err) < 0 || send_opaque(e, err) < 0
		       ? -1
		       : record_put(e->out, CODED_DONE, NULL, 0, err);
}

static const struct stream_events events = {
	.opaque = on_opaque,
	.block = on_block,
	.rounds = on_rounds,
	.page = on_page,
	.last = on_last,
	.pages_end = on_pages_end,
};

/* ---- From outside ---- */

struct stream_encoder *stream_encoder_create(enum coded_format format, uint64_t pages,
					     const struct codec_options *options,
					     struct error **err)
{
	struct stream_encoder *e = calloc(1, sizeof(*e));

	if (!e) {
		error_set(err, ENOMEM, "no memory for the coded stream");
		return NULL;
	}
	e->name = format;
	e->guest_pages = pages;
	e->format = coded_stream_formats[format];
	e->reader = e->format->create(&events, e, pages, err);
	if (e->reader)
		e->pages = page_encoder_create(options, err);
	if (e->pages)
		return e;
	stream_encoder_destroy(e);
	return NULL;
}

void stream_encoder_destroy(struct stream_encoder *e)
{
	if (!e)
		return;
	if (e->reader)
		e->format->destroy(e->reader);
	page_encoder_destroy(e->pages);
	byte_queue_clear(&e->units);
	free(e);
}

void stream_encoder_know(struct stream_encoder *e, struct known_pages *known)
{
	page_encoder_know(e->pages, known);
}

void stream_encoder_use(struct stream_encoder *e, struct codec_way way)
{
	page_encoder_use(e->pages, way);
}

static int begin_call(struct stream_encoder *e, struct byte_queue *out, struct error **err)
{
	uint8_t *header;

	e->out = out;
	e->before = byte_queue_length(out);
	if (e->begun)
		return 0;
	header = record_reserve(out, CODED_HEADER_SIZE, err);
	if (!header)
		return -1;
	put_be32(header, CODED_MAGIC);
	header[4] = CODED_VERSION;
	header[5] = (uint8_t)e->name;
	put_be16(header + 6, 0);
	put_be64(header + 8, e->guest_pages);
	out->end += CODED_HEADER_SIZE;
	e->begun = true;
	return 0;
}

static int end_call(struct stream_encoder *e, int result)
{
	e->stats.bytes_out += byte_queue_length(e->out) - e->before;
	e->out = NULL;
	return result;
}

int stream_encoder_feed(struct stream_encoder *e, const uint8_t *bytes, size_t n,
			struct byte_queue *out, struct error **err)
{
	if (begin_call(e, out, err) < 0)
		return -1;
	e->stats.bytes_in += n;
	return end_call(e, e->format->feed(e->reader, bytes, n, err));
}

bool stream_encoder_waits(const struct stream_encoder *e)
{
	return e->opaque_size || e->run_count || e->batch;
}

int stream_encoder_flush(struct stream_encoder *e, struct byte_queue *out, struct error **err)
{
	if (begin_call(e, out, err) < 0)
		return -1;
	return end_call(e, send_pages(e, err) < 0 ? -1 : send_opaque(e, err));
}

static int finish(struct stream_encoder *e, struct error **err)
{
	if (e->format->feed_end(e->reader, err) < 0 || send_pages(e, err) < 0 ||
	    send_opaque(e, err) < 0 || page_encoder_end(e->pages, &e->units, err) < 0 ||
	    send_units(e, err) < 0)
		return -1;
	return record_put(e->out, CODED_END, NULL, 0, err);
}

int stream_encoder_end(struct stream_encoder *e, struct byte_queue *out, struct error **err)
{
	return begin_call(e, out, err) < 0 ? -1 : end_call(e, finish(e, err));
}

void stream_encoder_stats(const struct stream_encoder *e, struct stream_encoder_stats *stats)
{
	*stats = e->stats;
	page_encoder_stats(e->pages, &stats->front);
	stats->content_in =
		PIECE * ((stats->front.units - stats->front.known) * CODEC_PAGE_PIECES -
			 stats->front.pieces[PIECE_ZERO] - stats->front.pieces[PIECE_FILLED]);
	stats->times = page_encoder_times(e->pages);
}
