/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/error.h"

/*
 * Integers on the wire (big-endian; little-endian where a hypervisor says so) and whole transfers
 * on descriptors. The only place that knows of byte order, EINTR and short reads and writes.
 */
static inline void put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
	put_be16(p, (uint16_t)(v >> 16));
	put_be16(p + 2, (uint16_t)v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}

static inline uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static inline uint64_t get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)get_le16(p + 2) << 16 | get_le16(p);
}

static inline uint64_t get_le64(const uint8_t *p)
{
	return (uint64_t)get_le32(p + 4) << 32 | get_le32(p);
}

/* Writes all of it, or fails. */
int write_all(int fd, const void *data, size_t size, struct error **err);

/* Reads exactly size bytes, or fails (ECONNRESET when the stream ends early). */
int read_all(int fd, void *data, size_t size, struct error **err);

/*
 * Reads a whole file of at most `most` bytes. The result is NUL-terminated (not counted in *size,
 * which may be NULL) and the caller's to free.
 */
char *read_file(const char *path, size_t most, size_t *size, struct error **err);

/*
 * Replaces a file so that after a crash there is the old or the new content: temporary file in
 * the same folder, fsync, rename, fsync of the folder.
 */
int write_file_durably(const char *path, const void *data, size_t size, struct error **err);

/* fsync of the folder that holds path, so that a new or renamed entry is durable. */
int sync_parent(const char *path, struct error **err);

/* Creates the folder and those above it, mode 0700 for new ones. */
int make_dirs(const char *path, struct error **err);

#endif
