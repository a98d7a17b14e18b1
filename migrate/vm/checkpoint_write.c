/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/vm/checkpoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/fault.h"
#include "common/places.h"
#include "migrate/codec/pieces.h"

/*
 * Theory of operation
 *
 * The memory is read by the span, and its pages go into a buffer of the same size, which is written
 * when it is full. Which contents there were is remembered as hashes of 64 bits: where two that
 * differ have the same, the second one is missing, which costs no more than its transfer. Now and
 * then what was written is put on the disk, dropped from the page cache, and the room that is left
 * looked at: the disk belongs to the VMs.
 */
#define SPAN	     (64 * (size_t)CHECKPOINT_PAGE)
#define SETTLE_EVERY (32u << 20)
#define FREE_TENTHS  1u

struct writer {
	const struct checkpoint_memory *memory;
	const atomic_bool *stop;
	int fd;
	uint64_t seed;
	uint64_t *seen; /* hashes, open addressing; 0: free */
	size_t mask;
	uint8_t *in, *out;
	size_t out_size;
	uint64_t written, settled; /* bytes of the file */
	uint32_t pages, most;
};

static int settle(struct writer *w, struct error **err)
{
	struct statvfs fs;

	if (fdatasync(w->fd) < 0)
		return error_errno(err, "sync");
	posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
	w->settled = w->written;
	if (fstatvfs(w->fd, &fs) < 0)
		return error_errno(err, "fstatvfs");
	if (fs.f_bavail < fs.f_blocks / 10 * FREE_TENTHS)
		return error_set(err, ENOSPC, "less than a tenth of the disk is free");
	return 0;
}

static int write_out(struct writer *w, struct error **err)
{
	if (write_all(w->fd, w->out, w->out_size, err) < 0)
		return -1;
	w->written += w->out_size;
	w->out_size = 0;
	return w->written - w->settled < SETTLE_EVERY ? 0 : settle(w, err);
}

/* Whether this content comes for the first time. */
static bool is_new(struct writer *w, const uint8_t *page)
{
	uint64_t hash = XXH3_64bits_withSeed(page, CHECKPOINT_PAGE, w->seed) | 1;
	size_t at = (size_t)(hash >> 1) & w->mask;

	while (w->seen[at] && w->seen[at] != hash)
		at = (at + 1) & w->mask;
	if (w->seen[at])
		return false;
	w->seen[at] = hash;
	return true;
}

static int take_span(struct writer *w, size_t size, struct error **err)
{
	uint64_t word;

	for (size_t at = 0; at < size && w->pages < w->most; at += CHECKPOINT_PAGE) {
		const uint8_t *page = w->in + at;

		if (pieces_filled(page, CHECKPOINT_PAGE, &word) || !is_new(w, page))
			continue;
		memcpy(w->out + w->out_size, page, CHECKPOINT_PAGE);
		w->out_size += CHECKPOINT_PAGE;
		w->pages++;
		if (w->out_size == SPAN && write_out(w, err) < 0)
			return -1;
	}
	return 0;
}

static int take_memory(struct writer *w, struct error **err)
{
	uint64_t bytes = w->memory->bytes / CHECKPOINT_PAGE * CHECKPOINT_PAGE;

	for (uint64_t at = 0; at < bytes && w->pages < w->most; at += SPAN) {
		size_t size = bytes - at < SPAN ? (size_t)(bytes - at) : SPAN;

		if (atomic_load(w->stop))
			return error_set(err, ECANCELED, "there is no time for it");
		if (w->memory->read(w->memory->arg, at, w->in, size) < 0)
			return error_set(err, EIO, "the guest's memory can't be read");
		if (take_span(w, size, err) < 0)
			return -1;
	}
	return write_out(w, err);
}

/* The header is what makes it one, and comes last. */
static int fill(struct writer *w, const char *vm, struct error **err)
{
	uint8_t header[CHECKPOINT_HEADER_SIZE] = {0};

	if (write_all(w->fd, header, sizeof(header), err) < 0)
		return -1;
	w->written = sizeof(header);
	if (settle(w, err) < 0 || take_memory(w, err) < 0 || fault_point("checkpoint", err) < 0)
		return -1;
	checkpoint_header(header, vm, w->pages);
	if (pwrite(w->fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) || fsync(w->fd) < 0)
		return error_errno(err, "its header");
	return settle(w, err);
}

static int prepare(struct writer *w, const struct fleet_checkpoints *limits, struct error **err)
{
	uint64_t pages = w->memory->bytes / CHECKPOINT_PAGE;
	uint64_t room = limits->size < limits->total ? limits->size : limits->total;
	size_t places = 64;

	room = room > CHECKPOINT_HEADER_SIZE ? (room - CHECKPOINT_HEADER_SIZE) / CHECKPOINT_PAGE
					     : 0;
	w->most = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
	while (places < 2 * pages)
		places *= 2;
	w->mask = places - 1;
	w->seen = calloc(places, sizeof(*w->seen));
	w->in = malloc(2 * SPAN);
	if (!w->seen || !w->in)
		return error_set(err, ENOMEM, "no memory for a list of its pages");
	w->out = w->in + SPAN;
	if (getrandom(&w->seed, sizeof(w->seed), 0) != (ssize_t)sizeof(w->seed))
		return error_errno(err, "random seed");
	return 0;
}

/* A temporary file that is locked, so that nobody takes it for a dead writer's. */
static int open_part(const char *path, struct error **err)
{
	auto_close fd = -1;

	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(err, "%s", path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_errno(err, "%s", path);
	return steal_fd(&fd);
}

static int write_part(struct writer *w, const char *vm, const struct fleet_checkpoints *limits,
		      struct error **err)
{
	int result = prepare(w, limits, err);

	if (result == 0)
		result = fill(w, vm, err);
	free(w->seen);
	free(w->in);
	return result;
}

int64_t checkpoint_write(const char *vm, const struct checkpoint_memory *memory,
			 const struct fleet_checkpoints *limits, const atomic_bool *stop,
			 struct error **err)
{
	struct writer w = {.memory = memory, .stop = stop};
	char part[PATH_MAX], path[PATH_MAX];

	if (checkpoint_path(part, vm, CHECKPOINT_PART, err) < 0 ||
	    place(path, err, PLACE_STATE "/checkpoints") < 0 || make_dirs(path, err) < 0 ||
	    checkpoint_path(path, vm, "", err) < 0 || checkpoint_make_room(vm, 0, limits, err) < 0)
		return -1;

	auto_close fd = open_part(part, err);

	w.fd = fd;
	if (fd < 0)
		return -1;
	if (write_part(&w, vm, limits, err) < 0 ||
	    checkpoint_make_room(vm, w.written, limits, err) < 0) {
		unlink(part);
		return error_wrap(err, "%s", part);
	}
	if (rename(part, path) < 0) {
		error_errno(err, "%s", path);
		unlink(part);
		return -1;
	}
	return sync_parent(path, err) < 0 ? -1 : (int64_t)w.pages;
}
