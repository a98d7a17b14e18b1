/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Goal: everything that a source QEMU sends is either a page, with its place, or passed on as it
 * is. Nothing is kept but the list of memory blocks, and at most one page that a feed cut.
 *
 * The stream (lengths in bytes; every integer is big-endian):
 *
 *   stream   = "QEVM" version:4 [config] {command | early} ram-start {command | part} ram-end
 *              devices
 *   config   = 07 length:4 machine-type {05 length:1 name version:4 fields}
 *   command  = 08 command:2 length:2 data
 *   early    = 04 section          a device whose state is sent before the memory's
 *   ram-start= 01 section          its content: the list of memory blocks
 *   part     = 02 id:4 {page} eos [footer]
 *   ram-end  = 03 id:4 {page} eos [footer]
 *   section  = id:4 length:1 name instance:4 version:4 content [footer]
 *   footer   = 7e id:4             of all sections or, with machine types before 2.4, of none
 *   blocks   = sum|04:8 {length:1 name bytes:8} eos
 *   page     = address|flags:8 [length:1 name] (content:4096 | fill:1)
 *   eos      = 10:8
 *   devices  = ... 00 [06 length:4 JSON]
 *
 * States: one per item of these (enum qemu_state), each of which says how many bytes it needs
 * (cutter.h). A state's function checks the bytes, calls the sink, and sets the next state; it
 * allocates nothing. Fields of a known length that say nothing to us are passed on as they come,
 * and so are the devices, to the end.
 *
 * Two things persist. A page without a name (flag CONTINUE) is of the same block as the page
 * before, be that in an earlier section. And whether there are footers shows after the first
 * section; from then on they are demanded, or not.
 *
 * Limits: a section that we don't know has no length, so it can't be skipped. Before the memory's
 * end it is refused by name; after it all is passed on to the end, unread but for the description
 * that tells where the end is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "migrate/stream/qemu_reader_internal.h"

int qemu_refuse(const struct qemu_reader *r, struct error **err, int code, const char *fmt, ...)
{
	char what[768];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return error_set(err, code, "QEMU's stream, offset %" PRIu64 ": %s", r->cutter.offset,
			 what);
}

const char *qemu_text(char text[QEMU_TEXT_MOST], const uint8_t *name, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < QEMU_TEXT_MOST - 1; i++)
		text[i] = name[i] >= ' ' && name[i] <= '~' ? (char)name[i] : '?';
	text[i] = '\0';
	return text;
}

static int take_file_header(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t magic = get_be32(bytes), version = get_be32(bytes + 4);

	if (magic != QEMU_FILE_MAGIC)
		return qemu_refuse(r, err, EPROTO,
				   "it begins with 0x%08" PRIx32 ", expected 0x%08x (\"QEVM\")",
				   magic, QEMU_FILE_MAGIC);
	if (version != QEMU_FILE_VERSION)
		return qemu_refuse(r, err, ENOTSUP,
				   "version %" PRIu32 " of the file format, only %u is known",
				   version, QEMU_FILE_VERSION);
	qemu_await(r, QEMU_AT_SECTION, 1);
	return 0;
}

/* A section of pages is over for good: only now is the sink told. */
static int close_part(struct qemu_reader *r, struct error **err)
{
	if (!r->in_part)
		return 0;
	r->in_part = false;
	if (r->last)
		qemu_await_pass(r, UINT64_MAX, QEMU_AT_DEVICES, 1);
	return r->sink.part_end(r->sink.arg, r->last, err);
}

int qemu_section_done(struct qemu_reader *r, struct error **err)
{
	if (r->footers != QEMU_FOOTERS_NONE) {
		qemu_await(r, QEMU_AT_FOOTER, 1);
		return 0;
	}
	qemu_await(r, QEMU_AT_SECTION, 1);
	return close_part(r, err);
}

void qemu_await_section_end(struct qemu_reader *r, uint64_t n)
{
	bool footer = r->footers != QEMU_FOOTERS_NONE;

	qemu_await_pass(r, n, footer ? QEMU_AT_FOOTER : QEMU_AT_SECTION, 1);
}

/* No other section begins with the footer's mark, so the first section shows if there are any. */
static int take_footer(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	if (bytes[0] == QEMU_FOOTER) {
		r->footers = QEMU_FOOTERS_SENT;
		qemu_await(r, QEMU_AT_FOOTER_ID, 4);
		return r->in_part;
	}
	if (r->footers == QEMU_FOOTERS_SENT)
		return qemu_refuse(r, err, EPROTO,
				   "0x%02x, expected the footer (0x%02x) of section %" PRIu32,
				   bytes[0], QEMU_FOOTER, r->section);
	r->footers = QEMU_FOOTERS_NONE;
	return qemu_take_section(r, bytes, err);
}

static int take_footer_id(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t id = get_be32(bytes);
	int kept = r->in_part;

	if (id != r->section)
		return qemu_refuse(r, err, EPROTO,
				   "footer of section %" PRIu32 ", expected section %" PRIu32, id,
				   r->section);
	qemu_await(r, QEMU_AT_SECTION, 1);
	return close_part(r, err) < 0 ? -1 : kept;
}

static const struct {
	const char *name; /* of what is cut when the stream ends there */
	qemu_take *take;
} states[] = {
	[QEMU_AT_FILE_HEADER] = {"its first 8 bytes", take_file_header},
	[QEMU_AT_SECTION] = {"the setup or rounds of memory", qemu_take_section},
	[QEMU_AT_FOOTER] = {"a section's footer", take_footer},
	[QEMU_AT_FOOTER_ID] = {"a section's footer", take_footer_id},
	[QEMU_AT_MACHINE_LENGTH] = {"the configuration", qemu_take_machine_length},
	[QEMU_AT_SUBSECTION_LENGTH] = {"the configuration", qemu_take_subsection_length},
	[QEMU_AT_SUBSECTION_NAME] = {"the configuration", qemu_take_subsection_name},
	[QEMU_AT_PAGE_BITS] = {"the configuration", qemu_take_page_bits},
	[QEMU_AT_CAPABILITY_COUNT] = {"the configuration", qemu_take_capability_count},
	[QEMU_AT_CAPABILITY_LENGTH] = {"the configuration", qemu_take_capability_length},
	[QEMU_AT_CAPABILITY_NAME] = {"the configuration", qemu_take_capability_name},
	[QEMU_AT_COMMAND] = {"a command", qemu_take_command},
	[QEMU_AT_SECTION_ID] = {"a section's header", qemu_take_section_id},
	[QEMU_AT_SECTION_NAME] = {"a section's header", qemu_take_section_name},
	[QEMU_AT_EARLY_DEVICE] = {"an early device's state", qemu_take_early_device},
	[QEMU_AT_RAM_BYTES] = {"the list of memory blocks", qemu_take_ram_bytes},
	[QEMU_AT_BLOCK_LENGTH] = {"the list of memory blocks", qemu_take_block_length},
	[QEMU_AT_BLOCK_NAME] = {"the list of memory blocks", qemu_take_block_name},
	[QEMU_AT_RAM_SETUP_END] = {"the list of memory blocks", qemu_take_ram_setup_end},
	[QEMU_AT_PART_ID] = {"the header of a section of pages", qemu_take_part_id},
	[QEMU_AT_PAGE_HEADER] = {"a section of pages", qemu_take_page_header},
	[QEMU_AT_PAGE_BLOCK_LENGTH] = {"a page's header", qemu_take_page_block_length},
	[QEMU_AT_PAGE_BLOCK_NAME] = {"a page's header", qemu_take_page_block_name},
	[QEMU_AT_PAGE_CONTENT] = {"a page", qemu_take_page_content},
	[QEMU_AT_PAGE_FILL] = {"a page", qemu_take_page_fill},
	[QEMU_AT_DEVICES] = {"the devices", NULL},
};
static_assert(ARRAY_SIZE(states) == QEMU_STATES, "a state has a row");

/*
 * Looks for the description's header, an end mark and "06 length:4 {". A device's bytes may look
 * like one; the last one counts, and there is none inside the description, since text has no zero.
 */
static void watch_devices(struct qemu_reader *r, const uint8_t *bytes, size_t n)
{
	const uint64_t mask = 0x00ffff00000000ff, header = 0x000006000000007b;
	uint64_t at = r->cutter.offset - n; /* of bytes */

	for (size_t i = 0; i < n; i++) {
		r->recent = r->recent << 8 | bytes[i];
		if ((r->recent & mask) == header)
			r->description_end = at + i + (uint32_t)(r->recent >> 8);
	}
}

static int take_item(void *arg, const uint8_t *bytes, struct error **err)
{
	struct qemu_reader *r = arg;

	return states[r->cutter.state].take(r, bytes, err);
}

static int pass_on(void *arg, const uint8_t *bytes, size_t n, struct error **err)
{
	struct qemu_reader *r = arg;

	if (r->cutter.state == QEMU_AT_DEVICES)
		watch_devices(r, bytes, n);
	return r->sink.opaque(r->sink.arg, bytes, n, err);
}

int qemu_reader_feed(struct qemu_reader *r, const uint8_t *bytes, size_t n, struct error **err)
{
	static const struct cutter_calls calls = {take_item, pass_on};

	if (r->cutter.failed)
		return qemu_refuse(r, err, EPROTO, "reading failed here before");
	return cutter_feed(&r->cutter, &calls, r, bytes, n, err);
}

int qemu_reader_end(struct qemu_reader *r, struct error **err)
{
	const struct cutter *c = &r->cutter;
	uint64_t end = qemu_reader_offset(r);

	if (c->failed)
		return qemu_refuse(r, err, EPROTO, "reading failed here before");
	if (c->state != QEMU_AT_DEVICES)
		return qemu_refuse(r, err, EPROTO, "the stream ends after %" PRIu64 " bytes, in %s",
				   end,
				   c->pass ? "a field of known length" : states[c->state].name);
	if (r->description_end == end && end)
		return 0;
	if (r->configured)
		return qemu_refuse(r, err, EPROTO,
				   "the stream ends in the devices, before the end of their "
				   "description, which this machine type sends last");
	if ((r->recent & 0xff) != QEMU_EOF)
		return qemu_refuse(r, err, EPROTO, "the stream ends in the devices");
	return 0;
}

struct qemu_reader *qemu_reader_create(const struct qemu_stream_sink *sink, struct error **err)
{
	struct qemu_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		error_set(err, ENOMEM, "no memory for a reader of QEMU's stream");
		return NULL;
	}
	r->sink = *sink;
	r->block = QEMU_NO_BLOCK;
	/* Nothing before the devices looks like an end mark of theirs. */
	r->recent = UINT64_MAX;
	qemu_await(r, QEMU_AT_FILE_HEADER, 8);
	return r;
}

void qemu_reader_destroy(struct qemu_reader *r)
{
	free(r);
}

uint64_t qemu_reader_offset(const struct qemu_reader *r)
{
	return cutter_offset(&r->cutter);
}

const struct qemu_block *qemu_reader_blocks(const struct qemu_reader *r, size_t *count)
{
	*count = r->block_count;
	return r->blocks;
}

bool qemu_reader_renamed(const struct qemu_reader *r)
{
	return r->renamed;
}
