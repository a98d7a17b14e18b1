/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU tells where the guest's memory lies in its address space; from then on it is read from
 * outside, whatever backs it. A sample of pages, one at random out of each of many equal
 * stretches, is digested at growing times after the first look:
 *
 *     0      0.1     0.3           1                          3 s
 *     |-------|-------|------------|--------------------------|
 *
 * A page counts as dirty within a time when a look up to then found another digest than the look
 * before. So a page that was written with what it held already is missed, unlike by a dirty
 * bitmap; but to have one the hypervisor would have to log, which slows the guest.
 *
 * A page that no process has touched is not read: that would make one, where memory is in huge
 * pages. /proc/PID/pagemap tells which are there.
 *
 * Error: of a share p of the sample of n pages 2 * sqrt(p * (1 - p) / n) at the most; with 16,384
 * pages that is 0.8 % of the memory for p = 0.5, 0.16 % for p = 0.01.
 */
#include "migrate/hypervisor/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "migrate/vm/vm_store.h"

#define PAGE	     4096
#define SAMPLES_MOST 16384
#define BATCH	     64 /* pages a system call */

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)

static const int64_t looks_ns[HV_DIRTY_POINTS] = {100 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_SEC,
						  3 * NS_PER_SEC, 10 * NS_PER_SEC};

struct page {
	uint64_t at; /* address in QEMU */
	uint64_t digest;
	bool there, dirty;
};

struct sample {
	pid_t pid;
	int pagemap;
	uint64_t zero; /* digest of a page of zeroes */
	size_t count;
	struct page *pages;
};

/* xorshift: the sample need not be unpredictable, only even. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int sample_create(struct sample *sample, pid_t pid, uint64_t base, uint64_t memory,
			 struct error **err)
{
	uint64_t pages = memory / PAGE, state = 0;
	static const uint8_t zeroes[PAGE];
	char path[64];

	sample->pid = pid;
	sample->count = pages < SAMPLES_MOST ? pages : SAMPLES_MOST;
	sample->pages = calloc(sample->count, sizeof(*sample->pages));
	sample->zero = XXH3_64bits(zeroes, PAGE);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	sample->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (!sample->pages)
		return error_set(err, ENOMEM, "no memory for a sample of %zu pages", sample->count);
	if (sample->pagemap < 0)
		return error_errno(err, "%s", path);
	if (getrandom(&state, sizeof(state), 0) != sizeof(state) || state == 0)
		state = (uint64_t)clock_ns();
	for (size_t i = 0; i < sample->count; i++) {
		uint64_t first = pages * i / sample->count;
		uint64_t beyond = pages * (i + 1) / sample->count;

		sample->pages[i].at =
			base + PAGE * (first + next_random(&state) % (beyond - first));
	}
	return 0;
}

static void sample_clear(struct sample *sample)
{
	if (sample->pagemap >= 0)
		close(sample->pagemap);
	free(sample->pages);
}

static bool page_is_there(const struct sample *sample, const struct page *page)
{
	uint64_t entry = 0;

	return pread(sample->pagemap, &entry, sizeof(entry), (off_t)(page->at / PAGE * 8)) ==
		       sizeof(entry) &&
	       (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED));
}

/* Reads some pages and compares them with the last look. */
static int look_at(struct sample *sample, struct page *const batch[BATCH], size_t n,
		   struct error **err)
{
	static _Thread_local uint8_t buffer[BATCH * PAGE];
	struct iovec to = {buffer, n * PAGE}, from[BATCH];

	for (size_t i = 0; i < n; i++)
		from[i] = (struct iovec){(void *)(uintptr_t)batch[i]->at, PAGE};
	if (process_vm_readv(sample->pid, &to, 1, from, n, 0) != (ssize_t)(n * PAGE))
		return error_errno(err, "reading the guest's memory");
	for (size_t i = 0; i < n; i++) {
		uint64_t digest = XXH3_64bits(buffer + i * PAGE, PAGE);

		batch[i]->dirty |= batch[i]->digest != digest;
		batch[i]->digest = digest;
	}
	return 0;
}

static int look(struct sample *sample, struct error **err)
{
	struct page *batch[BATCH];
	size_t n = 0;

	for (size_t i = 0; i < sample->count; i++) {
		struct page *page = &sample->pages[i];

		if (!page->there)
			page->there = page_is_there(sample, page);
		if (page->there)
			batch[n++] = page;
		if ((n == BATCH || i + 1 == sample->count) && n > 0) {
			if (look_at(sample, batch, n, err) < 0)
				return -1;
			n = 0;
		}
	}
	return 0;
}

static uint64_t extrapolate(const struct sample *sample, uint64_t memory, size_t pages)
{
	return (uint64_t)((double)memory * (double)pages / (double)sample->count);
}

static size_t count_dirty(const struct sample *sample)
{
	size_t n = 0;

	for (size_t i = 0; i < sample->count; i++)
		n += sample->pages[i].dirty;
	return n;
}

static int first_look(struct sample *sample, struct hv_survey *survey, struct error **err)
{
	size_t nonzero = 0;

	for (size_t i = 0; i < sample->count; i++)
		sample->pages[i].digest = sample->zero;
	if (look(sample, err) < 0)
		return -1;
	for (size_t i = 0; i < sample->count; i++) {
		nonzero += sample->pages[i].digest != sample->zero;
		sample->pages[i].dirty = false;
	}
	survey->nonzero = extrapolate(sample, survey->memory, nonzero);
	return 0;
}

static void sleep_until(int64_t when_ns)
{
	int64_t left = when_ns - clock_ns();

	if (left > 0)
		clock_sleep_ms((left + NS_PER_MS - 1) / NS_PER_MS);
}

static int survey_memory(struct sample *sample, int64_t time_ns, struct hv_survey *survey,
			 struct error **err)
{
	int64_t begun = clock_ns();

	if (first_look(sample, survey, err) < 0)
		return -1;
	/* Each page is looked at as long after its first look as the looks are apart. */
	for (size_t i = 0; i < HV_DIRTY_POINTS && looks_ns[i] <= time_ns; i++) {
		struct hv_dirty *dirty = &survey->dirty[survey->dirty_count++];
		int64_t now;

		sleep_until(begun + looks_ns[i]);
		now = clock_ns();
		if (look(sample, err) < 0)
			return -1;
		dirty->within_ns = now - begun;
		dirty->bytes = extrapolate(sample, survey->memory, count_dirty(sample));
	}
	sleep_until(begun + time_ns);
	return 0;
}

/* Bytes that the guest has written to each disk since QEMU started. */
static int ask_written(struct hv_vm *vm, uint64_t written[VM_DISKS_MOST], struct error **err)
{
	auto_json answer = qemu_ask(vm, "query-blockstats", NULL, err);
	const json_t *device;
	size_t i;

	if (!answer)
		return -1;
	memset(written, 0, VM_DISKS_MOST * sizeof(*written));
	json_array_foreach (answer, i, device) {
		const char *qdev = json_string_value(json_object_get(device, "qdev"));
		const json_t *stats = json_object_get(device, "stats");

		for (size_t d = 0; qdev && d < vm->def->disk_count; d++) {
			char node[QEMU_NODE_SIZE];

			if (strstr(qdev, qemu_node(d, "-device", node)))
				written[d] = (uint64_t)json_integer_value(
					json_object_get(stats, "wr_bytes"));
		}
	}
	return 0;
}

static int survey_disks(const struct hv_vm *vm, struct hv_survey *survey, struct error **err)
{
	survey->disk_count = vm->def->disk_count;
	for (size_t i = 0; i < vm->def->disk_count; i++) {
		char path[PATH_MAX];
		struct stat st;

		if (vm_store_path(path, vm->def->name, vm->def->disks[i].file, err) < 0)
			return -1;
		if (stat(path, &st) < 0)
			return error_errno(err, "%s", path);
		survey->disks[i].size = (uint64_t)st.st_size;
		survey->disks[i].allocated = (uint64_t)st.st_blocks * 512;
	}
	return 0;
}

static int survey_running(struct hv_vm *vm, int64_t time_ns, struct sample *sample,
			  struct hv_survey *survey, struct error **err)
{
	uint64_t before[VM_DISKS_MOST], after[VM_DISKS_MOST];
	struct hv_guest_memory memory;
	int64_t begun;

	if (qemu_guest_memory(vm, &memory, err) < 0 || ask_written(vm, before, err) < 0)
		return -1;
	begun = clock_ns();
	qemu_drop_monitor(vm);
	if (sample_create(sample, memory.pid, memory.address, survey->memory, err) < 0 ||
	    survey_memory(sample, time_ns, survey, err) < 0 || ask_written(vm, after, err) < 0)
		return -1;
	survey->sampled = sample->count;
	for (size_t i = 0; i < survey->disk_count; i++)
		survey->disks[i].write_rate = (uint64_t)((double)(after[i] - before[i]) * 1e9 /
							 (double)(clock_ns() - begun));
	qemu_drop_monitor(vm);
	return 0;
}

int qemu_survey(struct hv_vm *vm, int64_t time_ns, struct hv_survey *survey, struct error **err)
{
	struct sample sample = {.pagemap = -1};
	int result;

	memset(survey, 0, sizeof(*survey));
	survey->memory = vm->def->memory;
	survey->page = PAGE;
	if (survey_disks(vm, survey, err) < 0)
		return -1;
	result = survey_running(vm, time_ns, &sample, survey, err);
	sample_clear(&sample);
	return result;
}
