/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A digest of each page of a guest that stands still, into a file: 8 bytes for each page frame, 0
 * where there is nothing to compare. Frames are mapped as Xen has them, so what is digested is the
 * guest's memory and nothing that any stream has carried.
 *
 * Between the end of the guest's memory and 4 GiB are devices, and frames of Xen's own that the
 * guest has had mapped there, such as those of its grant table.
 *
 * What the guest has granted to another domain is left out: a backend may write to it although the
 * guest is suspended, as an answer to what it asked before, and the guest asks again where it
 * arrives. So is the page that Xen shares with the guest: Xen writes the time into it, and a guest
 * has it mapped anew where it arrives, over a page of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenctrl.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xenforeignmemory.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#define LOG_MODULE "digest"
#include "common/log.h"
#include "migrate/xen/domain_internal.h"

#define BATCH	    256
#define GRANT_PAGES 64
#define DEVICES	    0xf0000ull /* memory that has no room below this goes on above 4 GiB */
#define DEVICES_END 0x100000ull

struct digests {
	xenforeignmemory_handle *memory;
	uint32_t domain;
	uint64_t memory_end; /* below 4 GiB */
	uint64_t count;
	uint64_t *of; /* each page */
};

static void digest_batch(struct digests *d, uint64_t first, size_t n)
{
	xen_pfn_t frames[BATCH];
	int errors[BATCH];
	uint8_t *mapped;

	for (size_t i = 0; i < n; i++)
		frames[i] = first + i;
	mapped = xenforeignmemory_map(d->memory, d->domain, PROT_READ, n, frames, errors);
	if (!mapped)
		return; /* none of them is there */
	for (size_t i = 0; i < n; i++)
		if (errors[i] == 0) {
			uint64_t hash = XXH3_64bits(mapped + i * XC_PAGE_SIZE, XC_PAGE_SIZE);

			d->of[first + i] = hash ? hash : 1;
		}
	xenforeignmemory_unmap(d->memory, mapped, n);
}

static void digest_all(struct digests *d)
{
	for (uint64_t first = 0; first < d->count; first += BATCH) {
		uint64_t left = d->count - first;

		if (first >= d->memory_end && first < DEVICES_END)
			continue;
		digest_batch(d, first, left < BATCH ? (size_t)left : BATCH);
	}
}

/* Version 1 of the table's entries, which is what guests use. */
static void leave_out_granted(struct digests *d)
{
	void *table = NULL;
	xenforeignmemory_resource_handle *resource = xenforeignmemory_map_resource(
		d->memory, d->domain, XENMEM_resource_grant_table,
		XENMEM_resource_grant_table_id_shared, 0, GRANT_PAGES, &table, PROT_READ, 0);
	const grant_entry_v1_t *entries = table;
	size_t left_out = 0;

	if (!resource) {
		log_warn("the guest's grants can't be read: %s", strerror(errno));
		return;
	}
	for (size_t i = 0; i < GRANT_PAGES * XC_PAGE_SIZE / sizeof(*entries); i++)
		if ((entries[i].flags & GTF_type_mask) == GTF_permit_access &&
		    entries[i].frame < d->count && d->of[entries[i].frame]) {
			d->of[entries[i].frame] = 0;
			left_out++;
		}
	log_info("%zu pages are granted, and left out", left_out);
	xenforeignmemory_unmap_resource(d->memory, resource);
}

static int leave_out_shared_info(struct digests *d, xc_interface *xc, struct error **err)
{
	xc_dominfo_t info;

	if (xc_domain_getinfo(xc, d->domain, 1, &info) != 1 || info.domid != d->domain)
		return error_errno(err, "domain %u", d->domain);
	if (info.shared_info_frame < d->count)
		d->of[info.shared_info_frame] = 0;
	log_info("the page shared with Xen is frame %lx", info.shared_info_frame);
	return 0;
}

static int write_digests(const struct digests *d, const char *path, struct error **err)
{
	auto_close fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? error_errno(err, "%s", path)
		      : write_all(fd, d->of, d->count * sizeof(*d->of), err);
}

int domain_digest(struct domain *domain, const char *path, struct error **err)
{
	struct digests d = {.domain = domain->id, .memory_end = domain->def->memory / XC_PAGE_SIZE};
	xen_pfn_t last;
	int result = -1;

	if (d.memory_end > DEVICES)
		d.memory_end = DEVICES;
	if (domain->now.state != HV_PAUSED && domain->now.state != HV_SENT)
		return error_set(err, EBUSY, "found it %s, expected it to stand still",
				 hv_state_name(domain->now.state));
	if (xc_domain_maximum_gpfn(domain->xc, domain->id, &last) < 0)
		return error_errno(err, "the guest's last page");
	d.count = last + 1;
	d.of = calloc(d.count, sizeof(*d.of));
	d.memory = xenforeignmemory_open(NULL, 0);
	if (!d.of || !d.memory) {
		error_errno(err, "the guest's memory");
	} else {
		digest_all(&d);
		leave_out_granted(&d);
		result = leave_out_shared_info(&d, domain->xc, err) < 0
				 ? -1
				 : write_digests(&d, path, err);
	}
	if (d.memory)
		xenforeignmemory_close(d.memory);
	free(d.of);
	return result;
}
