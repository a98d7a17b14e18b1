/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_STREAM_QEMU_FORMAT_H
#define MIGRATE_STREAM_QEMU_FORMAT_H

/*
 * The numbers of QEMU's migration stream, all big-endian on the wire. Where they mean something is
 * drawn in qemu_reader.c.
 */
#define QEMU_FILE_MAGIC	  0x5145564du /* "QEVM" */
#define QEMU_FILE_VERSION 3u
#define QEMU_RAM_VERSION  4u

/* What a section begins with: one byte. */
enum qemu_section {
	QEMU_EOF = 0x00,
	QEMU_SECTION_START = 0x01, /* of something that is sent in parts */
	QEMU_SECTION_PART = 0x02,
	QEMU_SECTION_END = 0x03,
	QEMU_SECTION_FULL = 0x04,
	QEMU_SUBSECTION = 0x05,
	QEMU_DESCRIPTION = 0x06, /* be32 length and JSON: names every field of the devices */
	QEMU_CONFIGURATION = 0x07,
	QEMU_COMMAND = 0x08,
	QEMU_FOOTER = 0x7e, /* and the section's id, where the machine type is of 2.4 or later */
};

/* What QEMU tells its peer inside the stream: be16 command, be16 length. */
enum qemu_command {
	QEMU_CMD_OPEN_RETURN_PATH = 1,
	QEMU_CMD_PING = 2, /* be32, which comes back on the return path */
	QEMU_CMD_POSTCOPY_ADVISE = 3,
	QEMU_CMD_POSTCOPY_LISTEN = 4,
	QEMU_CMD_POSTCOPY_RUN = 5,
	QEMU_CMD_POSTCOPY_RAM_DISCARD = 6,
	QEMU_CMD_PACKAGED = 7,
	QEMU_CMD_ENABLE_COLO = 8,
	QEMU_CMD_POSTCOPY_RESUME = 9,
	QEMU_CMD_RECV_BITMAP = 10,
	QEMU_CMD_SWITCHOVER_START = 11, /* since 10.0: all that follows is the last round */
};

/* The low bits of a page's address in its block; the address is a multiple of QEMU_PAGE. */
enum qemu_ram_flag {
	QEMU_RAM_FILLED = 0x002,
	QEMU_RAM_MEM_SIZE = 0x004,
	QEMU_RAM_PAGE = 0x008,
	QEMU_RAM_EOS = 0x010,
	QEMU_RAM_CONTINUE = 0x020, /* of the block of the page before: no name follows */
	QEMU_RAM_XBZRLE = 0x040,
	QEMU_RAM_HOOK = 0x080, /* RDMA */
	QEMU_RAM_COMPRESS = 0x100,
	QEMU_RAM_MULTIFD_FLUSH = 0x200,
	QEMU_RAM_FLAGS = 0xfff,
};

#endif
