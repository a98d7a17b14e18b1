/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "hotskip/words.h"

#define HEADER	      32
#define RECORD	      16
#define NUMBER	      10 /* bytes of the longest number */
#define VERSION	      1
#define PAGES_MOST    (1ull << 32)
#define DURATION_MOST (1ull << 42)

static const char magic[8] = "EDGEDIRT";

struct trace_writer {
	FILE *file;
	char *path;
	uint64_t pages;
	uint8_t *runs; /* of one interval */
	size_t size, room;
};

struct trace_reader {
	FILE *file;
	char *path;
	uint64_t pages;
	uint64_t interval; /* from 1, for messages */
};

/* ---- Writing ---- */

static void writer_destroy(struct trace_writer *writer)
{
	if (!writer)
		return;
	if (writer->file)
		fclose(writer->file);
	free(writer->path);
	free(writer->runs);
	free(writer);
}

struct trace_writer *trace_create(const char *path, const struct trace_header *header,
				  struct error **err)
{
	struct trace_writer *writer = calloc(1, sizeof(*writer));
	uint8_t bytes[HEADER];

	if (!writer || !(writer->path = strdup(path))) {
		error_set(err, ENOMEM, "%s: no memory to write it", path);
		writer_destroy(writer);
		return NULL;
	}
	writer->pages = header->pages;
	memcpy(bytes, magic, sizeof(magic));
	put_be16(bytes + 8, VERSION);
	put_be16(bytes + 10, VERSION);
	put_be32(bytes + 12, header->page_size);
	put_be64(bytes + 16, header->pages);
	put_be64(bytes + 24, header->interval_ns);
	writer->file = fopen(path, "wbe");
	if (!writer->file || fwrite(bytes, HEADER, 1, writer->file) != 1) {
		error_errno(err, "%s", path);
		writer_destroy(writer);
		return NULL;
	}
	return writer;
}

static int add_number(struct trace_writer *writer, uint64_t number, struct error **err)
{
	if (writer->room - writer->size < NUMBER) {
		size_t room = writer->room ? writer->room * 2 : 4096;
		uint8_t *runs = realloc(writer->runs, room);

		if (!runs)
			return error_set(err, ENOMEM, "%s: no memory for %zu bytes of runs",
					 writer->path, room);
		writer->runs = runs;
		writer->room = room;
	}
	for (; number > 0x7f; number >>= 7)
		writer->runs[writer->size++] = (uint8_t)(number | 0x80);
	writer->runs[writer->size++] = (uint8_t)number;
	return 0;
}

/* The first page from `page` on whose bit is `value`, or all pages. */
static uint64_t find_bit(const uint64_t *map, uint64_t pages, uint64_t page, bool value)
{
	while (page < pages) {
		uint64_t word = value ? map[page / 64] : ~map[page / 64];

		word &= ~0ull << page % 64;
		if (word) {
			page = page / 64 * 64 + (uint64_t)__builtin_ctzll(word);
			break;
		}
		page = (page / 64 + 1) * 64;
	}
	return page < pages ? page : pages;
}

int trace_write(struct trace_writer *writer, uint64_t duration_ns, const uint64_t *dirty,
		struct error **err)
{
	uint64_t end = 0, runs = 0, first;
	uint8_t record[RECORD];

	writer->size = 0;
	while ((first = find_bit(dirty, writer->pages, end, true)) < writer->pages) {
		uint64_t beyond = find_bit(dirty, writer->pages, first, false);

		if (add_number(writer, first - end, err) < 0 ||
		    add_number(writer, beyond - first, err) < 0)
			return -1;
		end = beyond;
		runs++;
	}
	put_be64(record, duration_ns);
	put_be32(record + 8, (uint32_t)runs);
	put_be32(record + 12, (uint32_t)writer->size);
	if (fwrite(record, RECORD, 1, writer->file) != 1 ||
	    (writer->size && fwrite(writer->runs, writer->size, 1, writer->file) != 1))
		return error_errno(err, "%s", writer->path);
	return 0;
}

int trace_close(struct trace_writer *writer, struct error **err)
{
	int status = 0;

	if (!writer)
		return 0;
	if (fflush(writer->file) != 0)
		status = error_errno(err, "%s", writer->path);
	writer_destroy(writer);
	return status;
}

/* ---- Reading ---- */

void trace_reader_destroy(struct trace_reader *reader)
{
	if (!reader)
		return;
	if (reader->file)
		fclose(reader->file);
	free(reader->path);
	free(reader);
}

static int read_header(struct trace_reader *reader, struct trace_header *header, struct error **err)
{
	uint8_t bytes[HEADER];

	if (fread(bytes, HEADER, 1, reader->file) != 1 || memcmp(bytes, magic, sizeof(magic)) != 0)
		return error_set(err, EPROTO, "%s: not a trace of edgehop-hotskip", reader->path);
	if (get_be16(bytes + 10) > VERSION)
		return error_set(err, EPROTO, "%s: found version %u, this program reads up to %d",
				 reader->path, get_be16(bytes + 8), VERSION);
	header->page_size = get_be32(bytes + 12);
	header->pages = get_be64(bytes + 16);
	header->interval_ns = get_be64(bytes + 24);
	if (header->page_size < 512 || header->page_size > 1u << 30 ||
	    (header->page_size & (header->page_size - 1)))
		return error_set(err, EPROTO, "%s: found pages of %u bytes", reader->path,
				 header->page_size);
	if (header->pages < 1 || header->pages > PAGES_MOST)
		return error_set(err, EPROTO, "%s: found %llu pages, expected 1 to 2^32",
				 reader->path, (unsigned long long)header->pages);
	reader->pages = header->pages;
	return 0;
}

struct trace_reader *trace_open(const char *path, struct trace_header *header, struct error **err)
{
	struct trace_reader *reader = calloc(1, sizeof(*reader));

	if (!reader || !(reader->path = strdup(path))) {
		error_set(err, ENOMEM, "%s: no memory to read it", path);
		trace_reader_destroy(reader);
		return NULL;
	}
	reader->file = fopen(path, "rbe");
	if (!reader->file)
		error_errno(err, "%s", path);
	if (!reader->file || read_header(reader, header, err) < 0) {
		trace_reader_destroy(reader);
		return NULL;
	}
	return reader;
}

/* A number of at most *left bytes; false: there is none, or it exceeds 63 bits. */
static bool read_number(FILE *file, uint64_t *left, uint64_t *number)
{
	unsigned shift = 0;

	*number = 0;
	while (*left > 0 && shift < 63) {
		int byte = getc(file);

		if (byte == EOF)
			return false;
		--*left;
		*number |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
		shift += 7;
	}
	return false;
}

static void set_run(uint64_t *dirty, uint64_t first, uint64_t count)
{
	for (uint64_t page = first; page < first + count; page++)
		bit_set(dirty, page);
}

static int read_runs(struct trace_reader *reader, uint64_t runs, uint64_t size, uint64_t *dirty,
		     struct error **err)
{
	uint64_t end = 0;

	for (uint64_t i = 0; i < runs; i++) {
		uint64_t gap, count;

		if (!read_number(reader->file, &size, &gap) ||
		    !read_number(reader->file, &size, &count))
			return error_set(err, EPROTO, "%s: interval %llu is cut off", reader->path,
					 (unsigned long long)reader->interval);
		if (count == 0 || (i > 0 && gap == 0) || gap > reader->pages - end ||
		    count > reader->pages - end - gap)
			return error_set(err, EPROTO, "%s: interval %llu: run %llu is out of place",
					 reader->path, (unsigned long long)reader->interval,
					 (unsigned long long)i);
		if (dirty)
			set_run(dirty, end + gap, count);
		end += gap + count;
	}
	if (size > 0)
		return error_set(err, EPROTO, "%s: interval %llu has more bytes than runs",
				 reader->path, (unsigned long long)reader->interval);
	return 1;
}

int trace_next(struct trace_reader *reader, uint64_t *duration_ns, uint64_t *dirty,
	       struct error **err)
{
	uint8_t record[RECORD];
	size_t n = fread(record, 1, RECORD, reader->file);

	reader->interval++;
	if (n == 0 && !ferror(reader->file))
		return 0;
	if (n != RECORD)
		return error_set(err, EPROTO, "%s: interval %llu is cut off", reader->path,
				 (unsigned long long)reader->interval);
	*duration_ns = get_be64(record);
	if (*duration_ns < 1 || *duration_ns > DURATION_MOST)
		return error_set(err, EPROTO, "%s: interval %llu: found a length of %llu ns",
				 reader->path, (unsigned long long)reader->interval,
				 (unsigned long long)*duration_ns);
	if (dirty)
		memset(dirty, 0, words_of(reader->pages) * sizeof(*dirty));
	return read_runs(reader, get_be32(record + 8), get_be32(record + 12), dirty, err);
}
