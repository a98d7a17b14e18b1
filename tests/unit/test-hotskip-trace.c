/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traces: written, read, replayed, damaged; and what is seen of a process that writes known pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "hotskip/sim/replay.h"
#include "hotskip/sim/trace.h"
#include "hotskip/sim/watch.h"
#include "hotskip/words.h"

#define PAGES	  1000
#define WORDS	  ((PAGES + 63) / 64)
#define INTERVALS 6
#define MS	  1000000ull

static char path[64];
static uint64_t maps[INTERVALS][WORDS];

static void write_trace(void)
{
	const struct trace_header header = {4096, PAGES, 100 * MS};
	struct trace_writer *writer = trace_create(path, &header, NULL);

	assert_non_null(writer);
	for (unsigned i = 0; i < INTERVALS; i++)
		assert_int_equal(trace_write(writer, (100 + i) * MS, maps[i], NULL), 0);
	assert_int_equal(trace_close(writer, NULL), 0);
}

/* Empty, full, ends, single pages, runs over words. */
static int fill_maps(void **unused)
{
	int fd;

	(void)unused;
	snprintf(path, sizeof(path), "/tmp/test-hotskip-trace.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	for (uint64_t page = 0; page < PAGES; page++) {
		bit_set(maps[1], page);
		if (page == 0 || page == PAGES - 1)
			bit_set(maps[2], page);
		if (page % 2)
			bit_set(maps[3], page);
		if (page >= 60 && page < 400)
			bit_set(maps[4], page);
		if (random() % 5 == 0)
			bit_set(maps[5], page);
	}
	return 0;
}

static int remove_file(void **unused)
{
	(void)unused;
	return unlink(path);
}

static void what_is_written_is_read(void **test)
{
	struct trace_header header;
	struct trace_reader *reader;
	uint64_t duration, map[WORDS];

	(void)test;
	write_trace();
	reader = trace_open(path, &header, NULL);
	assert_non_null(reader);
	assert_int_equal(header.page_size, 4096);
	assert_int_equal(header.pages, PAGES);
	assert_int_equal(header.interval_ns, 100 * MS);
	for (unsigned i = 0; i < INTERVALS; i++) {
		memset(map, 0xa5, sizeof(map));
		assert_int_equal(trace_next(reader, &duration, map, NULL), 1);
		assert_int_equal(duration, (100 + i) * MS);
		assert_memory_equal(map, maps[i], sizeof(map));
	}
	assert_int_equal(trace_next(reader, &duration, map, NULL), 0);
	trace_reader_destroy(reader);
}

/* Reads to the end: the intervals, or -1. */
static int read_through(void)
{
	struct trace_header header;
	struct error *err = NULL;
	struct trace_reader *reader = trace_open(path, &header, &err);
	auto_free uint64_t *map = NULL;
	uint64_t duration;
	int got = -1, n = 0;

	if (reader && header.pages <= 1 << 20) {
		map = calloc(words_of(header.pages), sizeof(*map));
		while ((got = trace_next(reader, &duration, map, &err)) > 0)
			n++;
	}
	assert_true(got == 0 || err || (reader && header.pages > 1 << 20));
	trace_reader_destroy(reader);
	error_free(err);
	return got == 0 ? n : -1;
}

static void put_file(const void *data, size_t size)
{
	auto_close fd = open(path, O_WRONLY | O_TRUNC);

	assert_int_equal(write_all(fd, data, size, NULL), 0);
}

static void no_damage_is_believed(void **test)
{
	auto_free uint8_t *whole = NULL;
	size_t size, ends[INTERVALS + 1] = {32};
	unsigned n = 0, good = 0;

	(void)test;
	write_trace();
	whole = (uint8_t *)read_file(path, 1 << 20, &size, NULL);
	assert_non_null(whole);
	for (unsigned i = 0; i < INTERVALS; i++)
		ends[i + 1] = ends[i] + 16 + get_be32(whole + ends[i] + 12);
	assert_int_equal(ends[INTERVALS], size);
	/* cut off anywhere: good only between intervals */
	for (size_t cut = 0; cut < size; cut++) {
		put_file(whole, cut);
		if (n <= INTERVALS && cut == ends[n])
			assert_int_equal(read_through(), n++);
		else
			assert_int_equal(read_through(), -1);
	}
	/* any byte altered: no crash, no bit beyond the pages (ASan), mostly an error */
	for (size_t i = 0; i < size; i++) {
		uint8_t kept = whole[i];

		whole[i] ^= (uint8_t)(1 + random() % 255);
		put_file(whole, size);
		good += read_through() >= 0;
		whole[i] = kept;
	}
	assert_true(good < size * 3 / 4);
}

static void refused(size_t at, uint64_t value, unsigned bytes)
{
	auto_free uint8_t *whole = NULL;
	size_t size;

	write_trace();
	whole = (uint8_t *)read_file(path, 1 << 20, &size, NULL);
	assert_non_null(whole);
	for (unsigned i = 0; i < bytes; i++)
		whole[at + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	put_file(whole, size);
	assert_int_equal(read_through(), -1);
}

static void each_field_is_checked(void **test)
{
	(void)test;
	refused(0, 'e', 1);	  /* magic */
	refused(10, 2, 2);	  /* lowest version */
	refused(12, 0, 4);	  /* page size */
	refused(12, 4097, 4);	  /* not a power of 2 */
	refused(12, 1u << 31, 4); /* too large */
	refused(16, 0, 8);	  /* pages */
	refused(16, (1ull << 32) + 1, 8);
	refused(16, 999, 8); /* the full interval has 1000 */
	refused(32, 0, 8);   /* length of an interval */
	refused(32, (1ull << 42) + 1, 8);
	refused(32 + 16 + 8, 2, 4);	  /* runs of the full interval */
	refused(32 + 16 + 12, 4, 4);	  /* bytes of it */
	refused(32 + 16 + 16, 1, 1);	  /* its gap */
	refused(32 + 16 + 17, 0x8000, 2); /* a run of 0 pages */
	refused(32 + 16 + 18, 0x87, 1);	  /* a number that goes on */
}

static void a_replay_writes_what_was_recorded(void **test)
{
	uint64_t active[WORDS] = {0};
	struct replay *replay;

	(void)test;
	write_trace();
	replay = replay_create(path, 3, NULL);
	assert_non_null(replay);
	assert_int_equal(replay_pages(replay), PAGES);
	replay_active(replay, active);
	assert_int_equal(words_count(active, WORDS), PAGES);
	for (uint64_t page = 0; page < PAGES; page++) {
		double start = 0;

		for (unsigned i = 0; i < INTERVALS; i++) {
			double end = start + (0.1 + 0.001 * i), half = (start + end) / 2;
			bool first = replay_written(replay, page, start, half);
			bool second = replay_written(replay, page, half, end);

			/* once, in one of the halves, and in each pass of the trace */
			assert_int_equal(first + second, bit_get(maps[i], page));
			assert_int_equal(replay_written(replay, page, 0.615 * 7 + start + 1e-9,
							0.615 * 7 + end - 1e-9),
					 bit_get(maps[i], page));
			start = end;
		}
		assert_true(replay_written(replay, page, 0.4, 0.4 + 0.615));
	}
	replay_destroy(replay);
}

static void an_empty_trace_is_no_guest(void **test)
{
	const struct trace_header header = {4096, PAGES, 100 * MS};
	struct error *err = NULL;

	(void)test;
	assert_int_equal(trace_close(trace_create(path, &header, NULL), NULL), 0);
	assert_null(replay_create(path, 1, &err));
	assert_non_null(err);
	error_free(err);
}

/* ---- A process that writes known pages ---- */

#define REGION (96ull << 20)

static int order[2], done[2];

/* For each byte that comes, writes every page whose number is a multiple of it, from page 100 on.
 */
static void write_pages(void)
{
	uint8_t *region =
		mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* as large, and nearer the beginning: code, as QEMU's translator has it */
	void *code = mmap(NULL, REGION, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t step, value = 0;

	if (region == MAP_FAILED || code == MAP_FAILED)
		_exit(1);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(order[0], &step, 1) == 1) {
		value++;
		for (size_t page = 100; page < 2000; page++)
			if (page % step == 0)
				region[page * 4096 + page] = value;
		if (write(done[1], &step, 1) != 1)
			break;
	}
	_exit(0);
}

static void have_written(uint8_t step)
{
	assert_int_equal(write(order[1], &step, 1), 1);
	assert_int_equal(read(done[0], &step, 1), 1);
}

static void a_process_is_seen_writing(void **test)
{
	static const uint8_t steps[] = {7, 3, 50};
	struct watch_range range;
	struct error *err = NULL;
	auto_free uint64_t *dirty = NULL;
	struct watch *watch;
	pid_t pid;

	(void)test;
	assert_int_equal(pipe(order) | pipe(done), 0);
	pid = fork();
	if (pid == 0) {
		close(order[1]);
		write_pages();
	}
	have_written(10);
	if (watch_find(pid, REGION, &range, NULL) < 0) {
		/* the kernel put it beside another: then by place it can't be told */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		skip();
	}
	watch = watch_create(pid, &range, NULL);
	assert_non_null(watch);
	assert_int_equal(watch_pages(watch), REGION / 4096);
	dirty = calloc(words_of(watch_pages(watch)), sizeof(*dirty));
	assert_int_equal(watch_look(watch, dirty, NULL), 0);
	assert_int_equal(words_count(dirty, words_of(watch_pages(watch))), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		have_written(steps[i]);
		assert_int_equal(watch_look(watch, dirty, NULL), 0);
		for (uint64_t page = 0; page < watch_pages(watch); page++)
			assert_int_equal(bit_get(dirty, page),
					 page >= 100 && page < 2000 && page % steps[i] == 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(watch_look(watch, dirty, &err), -1);
	assert_int_equal(err->code, ESRCH);
	error_free(err);
	err = NULL;
	assert_int_equal(watch_find(pid, 0, &range, &err), -1);
	assert_int_equal(err->code, ESRCH);
	error_free(err);
	watch_destroy(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(no_damage_is_believed),
		cmocka_unit_test(each_field_is_checked),
		cmocka_unit_test(a_replay_writes_what_was_recorded),
		cmocka_unit_test(an_empty_trace_is_no_guest),
		cmocka_unit_test(a_process_is_seen_writing),
	};

	return cmocka_run_group_tests(tests, fill_maps, remove_file);
}
