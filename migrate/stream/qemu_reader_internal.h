/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_QEMU_READER_INTERNAL_H
#define MIGRATE_STREAM_QEMU_READER_INTERNAL_H

#include <assert.h>

#include "common/cleanup.h"
#include "migrate/stream/cutter.h"
#include "migrate/stream/qemu_format.h"
#include "migrate/stream/qemu_stream.h"

/* What the reader waits for next. qemu_reader.c has the table of what each does. */
enum qemu_state {
	QEMU_AT_FILE_HEADER,
	QEMU_AT_SECTION, /* the byte that tells what comes */
	QEMU_AT_FOOTER,
	QEMU_AT_FOOTER_ID,
	/* qemu_reader_setup.c: what comes before the first page */
	QEMU_AT_MACHINE_LENGTH,
	QEMU_AT_SUBSECTION_LENGTH,
	QEMU_AT_SUBSECTION_NAME,
	QEMU_AT_PAGE_BITS,
	QEMU_AT_CAPABILITY_COUNT,
	QEMU_AT_CAPABILITY_LENGTH,
	QEMU_AT_CAPABILITY_NAME,
	QEMU_AT_COMMAND,
	QEMU_AT_SECTION_ID,
	QEMU_AT_SECTION_NAME,
	QEMU_AT_EARLY_DEVICE,
	/* qemu_reader_ram.c */
	QEMU_AT_RAM_BYTES,
	QEMU_AT_BLOCK_LENGTH,
	QEMU_AT_BLOCK_NAME,
	QEMU_AT_RAM_SETUP_END,
	QEMU_AT_PART_ID,
	QEMU_AT_PAGE_HEADER,
	QEMU_AT_PAGE_BLOCK_LENGTH,
	QEMU_AT_PAGE_BLOCK_NAME,
	QEMU_AT_PAGE_CONTENT,
	QEMU_AT_PAGE_FILL,
	QEMU_AT_DEVICES, /* to the end of the stream */
	QEMU_STATES,
};

enum qemu_footers {
	QEMU_FOOTERS_UNKNOWN, /* until the first section has ended */
	QEMU_FOOTERS_SENT,
	QEMU_FOOTERS_NONE,
};

#define QEMU_NO_BLOCK SIZE_MAX

struct qemu_reader {
	struct qemu_stream_sink sink;
	struct cutter cutter;

	/* Sections. */
	bool configured;    /* the stream has a configuration section */
	bool configuring;   /* its subsections may follow */
	bool full;	    /* the section is a SECTION_FULL, not a SECTION_START */
	uint32_t section;   /* id of the section that is open */
	size_t name_length; /* of what is named next */
	enum qemu_footers footers;

	/* RAM. */
	bool ram_known; /* its SECTION_START has been seen, with the blocks */
	uint32_t ram;	/* its section id */
	uint64_t ram_left;
	bool setup_over; /* the first section of pages has begun */
	bool in_part, last;
	size_t block; /* of the page before, or of this one */
	bool renamed;
	uint32_t page_flags;
	uint64_t page;

	/* Devices: where the description will end, if one has begun. */
	uint64_t recent; /* the last eight bytes */
	uint64_t description_end;

	size_t block_count;
	struct qemu_block blocks[QEMU_BLOCKS_MOST];
	uint8_t block_lengths[QEMU_BLOCKS_MOST]; /* of their names */
};

/*
 * What a state does with the bytes that it waited for: checks them, sets the next state. Returns 0
 * if they are opaque and are to be passed on, 1 if not, -1 with *err.
 */
typedef int qemu_take(struct qemu_reader *r, const uint8_t *bytes, struct error **err);

qemu_take qemu_take_section;
qemu_take qemu_take_machine_length, qemu_take_subsection_length, qemu_take_subsection_name;
qemu_take qemu_take_page_bits, qemu_take_capability_count, qemu_take_capability_length;
qemu_take qemu_take_capability_name, qemu_take_command, qemu_take_section_id;
qemu_take qemu_take_section_name, qemu_take_early_device;
qemu_take qemu_take_ram_bytes, qemu_take_block_length, qemu_take_block_name;
qemu_take qemu_take_ram_setup_end, qemu_take_part_id, qemu_take_page_header;
qemu_take qemu_take_page_block_length, qemu_take_page_block_name, qemu_take_page_content;
qemu_take qemu_take_page_fill;

/* The next state, and how many bytes (1 to QEMU_PAGE) it takes at once. */
static inline void qemu_await(struct qemu_reader *r, enum qemu_state state, size_t need)
{
	cutter_await(&r->cutter, 0, state, need);
}

/* Passes on n bytes as they come, then goes to the state. */
static inline void qemu_await_pass(struct qemu_reader *r, uint64_t n, enum qemu_state state,
				   size_t need)
{
	cutter_await(&r->cutter, n, state, need);
}

/* The section's content is complete: a footer comes, or the next section. */
int qemu_section_done(struct qemu_reader *r, struct error **err);

/* The same after n more bytes, which are passed on. Not of a section of pages. */
void qemu_await_section_end(struct qemu_reader *r, uint64_t n);

/* Sets *err: "QEMU's stream, offset N: FMT", N being where the present bytes begin. Returns -1. */
int qemu_refuse(const struct qemu_reader *r, struct error **err, int code, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* A name of the stream as text for a message. Returns text. */
#define QEMU_TEXT_MOST 256
const char *qemu_text(char text[QEMU_TEXT_MOST], const uint8_t *name, size_t n);

#endif
