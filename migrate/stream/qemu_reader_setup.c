/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What comes around the pages: sections' headers, the configuration, commands, and the devices that
 * are sent before the memory. The grammar and the states are described in qemu_reader.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/bytes.h"
#include "migrate/stream/qemu_reader_internal.h"

#define CONFIGURATION_AT 8u /* right after the file's header */
#define PAGE_BITS	 12u
#define MACHINE_MOST	 255u

/* Later versions' only device of this kind: fields of a fixed size, then a bitmap. */
#define VIRTIO_MEM	   "virtio-mem-device-early"
#define VIRTIO_MEM_VERSION 1u
#define VIRTIO_MEM_FIELDS  36u /* address:8 region:8 block:8 node:4 size:8 */

static_assert(QEMU_PAGE == 1u << PAGE_BITS, "a page has 2^PAGE_BITS bytes");

static bool named(const char *name, const uint8_t *bytes, size_t n)
{
	return n == strlen(name) && memcmp(bytes, name, n) == 0;
}

/* A device's section is named after its place too: "0000:00:02.0/NAME". */
static bool named_at_place(const char *name, const uint8_t *bytes, size_t n)
{
	size_t length = strlen(name);

	if (n <= length)
		return named(name, bytes, n);
	return bytes[n - length - 1] == '/' && named(name, bytes + n - length, length);
}

static int misplaced(const struct qemu_reader *r, struct error **err, const char *what,
		     const char *where)
{
	return qemu_refuse(r, err, EPROTO, "%s, expected %s", what, where);
}

/* What a section's first byte says, if it may come now. */
int qemu_take_section(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	bool configuring = r->configuring;

	r->configuring = false;
	switch (bytes[0]) {
	case QEMU_CONFIGURATION:
		if (r->cutter.offset != CONFIGURATION_AT)
			return misplaced(r, err, "a configuration", "only at offset 8");
		qemu_await(r, QEMU_AT_MACHINE_LENGTH, 4);
		return 0;
	case QEMU_SUBSECTION:
		if (!configuring)
			return misplaced(r, err, "a subsection", "only in the configuration");
		qemu_await(r, QEMU_AT_SUBSECTION_LENGTH, 1);
		return 0;
	case QEMU_COMMAND:
		qemu_await(r, QEMU_AT_COMMAND, 4);
		return 0;
	case QEMU_SECTION_START:
	case QEMU_SECTION_FULL:
		if (r->setup_over)
			return misplaced(r, err, "the start of a section", "only before the pages");
		r->full = bytes[0] == QEMU_SECTION_FULL;
		qemu_await(r, QEMU_AT_SECTION_ID, 5);
		return 0;
	case QEMU_SECTION_PART:
	case QEMU_SECTION_END:
		if (!r->ram_known)
			return misplaced(r, err, "a section's part",
					 "the start of section \"ram\" first");
		r->last = bytes[0] == QEMU_SECTION_END;
		qemu_await(r, QEMU_AT_PART_ID, 4);
		return 1;
	case QEMU_EOF:
		return qemu_refuse(r, err, EPROTO,
				   "the end mark, expected the memory's last round");
	default:
		return qemu_refuse(r, err, EPROTO, "0x%02x, expected what begins a section",
				   bytes[0]);
	}
}

/* ---- Configuration ---- */

int qemu_take_machine_length(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t length = get_be32(bytes);

	if (length == 0 || length > MACHINE_MOST)
		return qemu_refuse(r, err, EPROTO,
				   "the machine type's name has %" PRIu32
				   " bytes, expected 1 to %u",
				   length, MACHINE_MOST);
	r->configured = r->configuring = true;
	qemu_await_pass(r, length, QEMU_AT_SECTION, 1);
	return 0;
}

int qemu_take_subsection_length(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	if (bytes[0] == 0)
		return qemu_refuse(r, err, EPROTO, "a subsection of the configuration has no name");
	r->name_length = bytes[0];
	qemu_await(r, QEMU_AT_SUBSECTION_NAME, r->name_length + 4);
	return 0;
}

int qemu_take_subsection_name(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t version = get_be32(bytes + r->name_length);
	char text[QEMU_TEXT_MOST];

	qemu_text(text, bytes, r->name_length);
	if (version != 1)
		return qemu_refuse(r, err, ENOTSUP, "version %" PRIu32 " of %s, only 1 is known",
				   version, text);
	r->configuring = true;
	if (named("configuration/target-page-bits", bytes, r->name_length))
		qemu_await(r, QEMU_AT_PAGE_BITS, 4);
	else if (named("configuration/capabilities", bytes, r->name_length))
		qemu_await(r, QEMU_AT_CAPABILITY_COUNT, 4);
	else if (named("configuration/uuid", bytes, r->name_length))
		qemu_await_pass(r, 16, QEMU_AT_SECTION, 1);
	else
		return qemu_refuse(r, err, ENOTSUP, "%s is unknown", text);
	return 0;
}

int qemu_take_page_bits(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t bits = get_be32(bytes);

	if (bits != PAGE_BITS)
		return qemu_refuse(r, err, ENOTSUP,
				   "the machine's pages have 2^%" PRIu32
				   " bytes, only 2^%u is known",
				   bits, PAGE_BITS);
	qemu_await(r, QEMU_AT_SECTION, 1);
	return 0;
}

int qemu_take_capability_count(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	(void)err;
	if (get_be32(bytes) == 0)
		qemu_await(r, QEMU_AT_SECTION, 1);
	else
		qemu_await(r, QEMU_AT_CAPABILITY_LENGTH, 1);
	return 0;
}

int qemu_take_capability_length(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	if (bytes[0] == 0)
		return qemu_refuse(r, err, EPROTO, "a capability has no name");
	r->name_length = bytes[0];
	qemu_await(r, QEMU_AT_CAPABILITY_NAME, r->name_length);
	return 0;
}

/* QEMU lists only those that change what the stream looks like, so none can be overlooked. */
int qemu_take_capability_name(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	char text[QEMU_TEXT_MOST];

	return qemu_refuse(r, err, ENOTSUP,
			   "the source has the migration capability %s, which must be off",
			   qemu_text(text, bytes, r->name_length));
}

/* ---- Commands ---- */

static const struct command {
	const char *name;
	bool accepted;
	uint16_t length; /* of its data */
} commands[] = {
	[QEMU_CMD_OPEN_RETURN_PATH] = {"OPEN_RETURN_PATH", true, 0},
	[QEMU_CMD_PING] = {"PING", true, 4},
	[QEMU_CMD_POSTCOPY_ADVISE] = {"POSTCOPY_ADVISE (postcopy)"},
	[QEMU_CMD_POSTCOPY_LISTEN] = {"POSTCOPY_LISTEN (postcopy)"},
	[QEMU_CMD_POSTCOPY_RUN] = {"POSTCOPY_RUN (postcopy)"},
	[QEMU_CMD_POSTCOPY_RAM_DISCARD] = {"POSTCOPY_RAM_DISCARD (postcopy)"},
	[QEMU_CMD_PACKAGED] = {"PACKAGED (postcopy)"},
	[QEMU_CMD_ENABLE_COLO] = {"ENABLE_COLO (COLO)"},
	[QEMU_CMD_POSTCOPY_RESUME] = {"POSTCOPY_RESUME (postcopy)"},
	[QEMU_CMD_RECV_BITMAP] = {"RECV_BITMAP (postcopy)"},
	[QEMU_CMD_SWITCHOVER_START] = {"SWITCHOVER_START", true, 0},
};

int qemu_take_command(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint16_t number = get_be16(bytes), length = get_be16(bytes + 2);
	const struct command *command = &commands[number < ARRAY_SIZE(commands) ? number : 0];

	if (!command->name)
		return qemu_refuse(r, err, ENOTSUP, "command %u is unknown", number);
	if (!command->accepted)
		return qemu_refuse(r, err, ENOTSUP, "command %s, which must be off", command->name);
	if (length != command->length)
		return qemu_refuse(r, err, EPROTO, "command %s has %u bytes, expected %u",
				   command->name, length, command->length);
	qemu_await_pass(r, length, QEMU_AT_SECTION, 1);
	return 0;
}

/* ---- Headers of sections ---- */

/* What else QEMU sends in parts, none of which has a length. */
static const struct {
	const char *name, *what;
} iterables[] = {
	{"block", "disks in the memory's stream (block migration)"},
	{"dirty-bitmap", "dirty bitmaps (capability dirty-bitmaps)"},
	{"vfio", "a VFIO device's state"},
	{"htab", "a POWER machine's page table"},
	{"s390-stattrib", "an s390 machine's storage attributes"},
};

static int refuse_iterable(const struct qemu_reader *r, const uint8_t *name, struct error **err)
{
	char text[QEMU_TEXT_MOST];

	qemu_text(text, name, r->name_length);
	for (size_t i = 0; i < ARRAY_SIZE(iterables); i++)
		if (named_at_place(iterables[i].name, name, r->name_length))
			return qemu_refuse(r, err, ENOTSUP, "section \"%s\": %s is not supported",
					   text, iterables[i].what);
	return qemu_refuse(r, err, ENOTSUP,
			   "section \"%s\" is sent in parts, which only \"ram\" may be", text);
}

static int begin_ram(struct qemu_reader *r, uint32_t instance, uint32_t version, struct error **err)
{
	if (r->ram_known)
		return qemu_refuse(r, err, EPROTO, "a second section \"ram\"");
	if (instance != 0)
		return qemu_refuse(r, err, EPROTO,
				   "section \"ram\" of instance %" PRIu32 ", expected 0", instance);
	if (version != QEMU_RAM_VERSION)
		return qemu_refuse(r, err, ENOTSUP,
				   "version %" PRIu32 " of section \"ram\", only %u is known",
				   version, QEMU_RAM_VERSION);
	r->ram = r->section;
	qemu_await(r, QEMU_AT_RAM_BYTES, 8);
	return 0;
}

int qemu_take_section_id(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t id = get_be32(bytes);

	if (bytes[4] == 0)
		return qemu_refuse(r, err, EPROTO, "section %" PRIu32 " has no name", id);
	if (r->ram_known && id == r->ram)
		return qemu_refuse(r, err, EPROTO,
				   "another section with the id %" PRIu32 " of \"ram\"", id);
	r->section = id;
	r->name_length = bytes[4];
	qemu_await(r, QEMU_AT_SECTION_NAME, r->name_length + 8);
	return 0;
}

int qemu_take_section_name(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint32_t instance = get_be32(bytes + r->name_length);
	uint32_t version = get_be32(bytes + r->name_length + 4);
	char text[QEMU_TEXT_MOST];

	if (!r->full && named("ram", bytes, r->name_length))
		return begin_ram(r, instance, version, err);
	if (!r->full)
		return refuse_iterable(r, bytes, err);
	qemu_text(text, bytes, r->name_length);
	if (!named_at_place(VIRTIO_MEM, bytes, r->name_length))
		return qemu_refuse(r, err, ENOTSUP,
				   "section \"%s\": a device that is sent before the memory and "
				   "whose length is unknown",
				   text);
	if (version != VIRTIO_MEM_VERSION)
		return qemu_refuse(r, err, ENOTSUP,
				   "version %" PRIu32 " of section \"%s\", only %u is known",
				   version, text, VIRTIO_MEM_VERSION);
	qemu_await(r, QEMU_AT_EARLY_DEVICE, VIRTIO_MEM_FIELDS);
	return 0;
}

/* A bit for each of the region's blocks follows, in words of 8 bytes. */
int qemu_take_early_device(struct qemu_reader *r, const uint8_t *bytes, struct error **err)
{
	uint64_t region = get_be64(bytes + 8), block = get_be64(bytes + 16);
	uint64_t bits;

	if (block == 0 || region == 0 || region % block != 0)
		return qemu_refuse(r, err, EPROTO,
				   "virtio-mem: a region of %" PRIu64 " bytes in blocks of %" PRIu64
				   ", expected a multiple",
				   region, block);
	bits = region / block;
	qemu_await_section_end(r, (bits / 64 + (bits % 64 != 0)) * 8);
	return 0;
}
