/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hotskip/sim/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/cleanup.h"
#include "hotskip/words.h"

#define PAGE  4096
#define BATCH 512 /* pages a system call: 2 MiB */

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

struct watch {
	pid_t pid;
	struct watch_range range;
	int pagemap;
	uint64_t pages;
	uint64_t zero; /* digest of a page of zeroes: what is not there reads like that */
	uint64_t *digests;
	uint8_t *buffer;
};

uint64_t watch_pages(const struct watch *watch)
{
	return watch->pages;
}

uint32_t watch_page_size(void)
{
	return PAGE;
}

int watch_find(pid_t pid, uint64_t bytes, struct watch_range *range, struct error **err)
{
	auto_file maps = NULL;
	char path[64], line[8192];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return error_set(err, errno == ENOENT ? ESRCH : errno, "process %d: %s: %s",
				 (int)pid, path, strerror(errno));
	*range = (struct watch_range){0, 0};
	while (fgets(line, sizeof(line), maps)) {
		uint64_t from, to;
		char may[5];

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, may) != 3 ||
		    strncmp(may, "rw-", 3) != 0 || (bytes && to - from != bytes))
			continue;
		if (to - from > range->bytes)
			*range = (struct watch_range){from, to - from};
	}
	if (range->bytes == 0)
		return error_set(err, ENOENT, "process %d: found no writable mapping%s", (int)pid,
				 bytes ? " of the size asked for" : "");
	return 0;
}

void watch_destroy(struct watch *watch)
{
	if (!watch)
		return;
	if (watch->pagemap >= 0)
		close(watch->pagemap);
	free(watch->digests);
	free(watch->buffer);
	free(watch);
}

static int open_pagemap(struct watch *watch, struct error **err)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)watch->pid);
	watch->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return watch->pagemap < 0 ? error_errno(err, "%s", path) : 0;
}

struct watch *watch_create(pid_t pid, const struct watch_range *range, struct error **err)
{
	static const uint8_t zeroes[PAGE];
	struct watch *watch = calloc(1, sizeof(*watch));
	auto_free uint64_t *dirty = words_create(range->bytes / PAGE);

	if (watch) {
		watch->pid = pid;
		watch->range = *range;
		watch->pages = range->bytes / PAGE;
		watch->pagemap = -1;
		watch->zero = XXH3_64bits(zeroes, PAGE);
		watch->digests = malloc(watch->pages * sizeof(*watch->digests));
		watch->buffer = malloc((size_t)BATCH * PAGE);
	}
	if (!watch || !dirty || !watch->digests || !watch->buffer) {
		error_set(err, ENOMEM, "no memory to watch %" PRIu64 " MiB", range->bytes >> 20);
		watch_destroy(watch);
		return NULL;
	}
	for (uint64_t i = 0; i < watch->pages; i++)
		watch->digests[i] = watch->zero;
	if (open_pagemap(watch, err) < 0 || watch_look(watch, dirty, err) < 0) {
		watch_destroy(watch);
		return NULL;
	}
	return watch;
}

static void compare(struct watch *watch, uint64_t page, const uint8_t *content, uint64_t *dirty)
{
	uint64_t digest = content ? XXH3_64bits(content, PAGE) : watch->zero;

	if (digest == watch->digests[page])
		return;
	watch->digests[page] = digest;
	bit_set(dirty, page);
}

/* The pages of one batch that are there, run by run, in one system call. */
static int look_at_batch(struct watch *watch, uint64_t first, size_t n, uint64_t *dirty,
			 struct error **err)
{
	uint64_t entries[BATCH] = {0};
	struct iovec from[BATCH], to = {watch->buffer, 0};
	off_t at = (off_t)((watch->range.at / PAGE + first) * sizeof(*entries));
	const uint8_t *content = watch->buffer;
	size_t runs = 0;

	if (pread(watch->pagemap, entries, n * sizeof(*entries), at) !=
	    (ssize_t)(n * sizeof(*entries)))
		return error_set(err, ESRCH, "process %d has ended", (int)watch->pid);
	for (size_t i = 0; i < n; i++) {
		uint64_t address = watch->range.at + (first + i) * PAGE;

		if (!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
			continue;
		if (i == 0 || !(entries[i - 1] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)))
			from[runs++] = (struct iovec){(void *)(uintptr_t)address, 0};
		from[runs - 1].iov_len += PAGE;
		to.iov_len += PAGE;
	}
	if (runs && process_vm_readv(watch->pid, &to, 1, from, runs, 0) != (ssize_t)to.iov_len)
		return error_errno(err, "reading the memory of process %d", (int)watch->pid);
	for (size_t i = 0; i < n; i++) {
		bool there = entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);

		compare(watch, first + i, there ? content : NULL, dirty);
		content += there ? PAGE : 0;
	}
	return 0;
}

int watch_look(struct watch *watch, uint64_t *dirty, struct error **err)
{
	memset(dirty, 0, words_of(watch->pages) * sizeof(*dirty));
	for (uint64_t first = 0; first < watch->pages; first += BATCH) {
		uint64_t left = watch->pages - first;

		if (look_at_batch(watch, first, left < BATCH ? left : BATCH, dirty, err) < 0)
			return -1;
	}
	return 0;
}
