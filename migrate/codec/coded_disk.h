/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CODEC_CODED_DISK_H
#define CODEC_CODED_DISK_H

/*
 * A disk's stream as it crosses the WAN: what is written to the disk by what both ends know of it
 * (codec_format.h), all else as it is, and the two woven together again at the other end, byte for
 * byte. Integers are big-endian. A header, then records.
 *
 *	header	be32 magic, u8 version, 3 bytes 0
 *	record	u8 type, be24 bytes of body; body
 *
 *	text	items: be16 n, be16 pieces, not both 0, and n bytes. The n bytes are passed on, and
 *		after them so many KiB of units. At most CODED_TEXT_MOST.
 *	packed	be32 bytes that it becomes, at most CODED_TEXT_MOST; a text as a zstd frame
 *	units	a part of the codec's stream, cut anywhere; a unit is the number of a block of 4 KiB
 *		of the disk, of 1 to 4 pieces
 *	ask	at most once: for the other end's offer (way_back.h)
 *	end	of the stream
 *
 * All units that a text asks for come before the next text, and before the end.
 *
 * So only the encoder has to know the disk's protocol; what it takes out of it is its business.
 */
#define CODED_DISK_MAGIC       0x45484453u /* "EHDS" */
#define CODED_DISK_VERSION     1
#define CODED_DISK_HEADER_SIZE 8u
#define CODED_DISK_RECORD_SIZE 4u
#define CODED_DISK_BODY_MOST   ((1u << 24) - 1)
#define CODED_TEXT_MOST	       (64u << 10)
#define CODED_ITEM_SIZE	       4u
#define CODED_ITEM_MOST	       0xffffu /* bytes, and pieces */

enum coded_disk_record {
	CODED_DISK_TEXT = 1,
	CODED_DISK_PACKED,
	CODED_DISK_UNITS,
	CODED_DISK_END,
	CODED_DISK_ASK
};

#endif
