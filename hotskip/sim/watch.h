/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOTSKIP_SIM_WATCH_H
#define HOTSKIP_SIM_WATCH_H

#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/*
 * Which pages of another process's memory change, seen from outside: the process is neither stopped
 * nor asked, and its dirty log is left alone. All pages are read and digested (XXH3, 64 bits), and
 * compared with the look before. So a page that was written with what it held is missed, and one
 * that is not there is not read, which would make it. A look costs a pass over the memory that is
 * there: some GB/s. 8 bytes a page.
 */
struct watch;

struct watch_range {
	uint64_t at;	/* address in the process */
	uint64_t bytes; /* a multiple of the page size */
};

/*
 * The largest mapping of a process that is writable and not executable (QEMU's translator has one
 * of 1 GiB that is), which is a QEMU's guest's memory; if bytes is not 0, the first that has just
 * that size. ESRCH: no such process; ENOENT: no such mapping.
 */
int watch_find(pid_t pid, uint64_t bytes, struct watch_range *range, struct error **err);

/* Takes a first look. */
struct watch *watch_create(pid_t pid, const struct watch_range *range, struct error **err);
void watch_destroy(struct watch *watch); /* takes NULL */

uint64_t watch_pages(const struct watch *watch);
uint32_t watch_page_size(void);

/*
 * A bitmap (words as in words.h) of the pages that changed since the look before. ESRCH when the
 * process has ended.
 */
int watch_look(struct watch *watch, uint64_t *dirty, struct error **err);

#endif
