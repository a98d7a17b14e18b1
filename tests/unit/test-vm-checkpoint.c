/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoints on the disk: what is in one, which one is taken, which have to go. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/places.h"
#include "migrate/vm/checkpoint.h"

#define VM    "5d0f6c3e-9a3b-4f5e-8a57-0c2c5d0f6c3e"
#define OTHER "11111111-2222-4333-8444-555555555555"
#define THIRD "22222222-2222-4333-8444-555555555555"
#define PAGE  4096u
#define PAGES 1000u

static char top[64];
static uint8_t memory[PAGES][PAGE];
static const struct fleet_checkpoints limits = {
	.size = 1 << 30, .total = 1 << 30, .age_ns = 3600 * NS_PER_SEC};
static atomic_bool stop;

/* Page i is of content i / 2, so each comes twice; some are filled. */
static void make_memory(uint8_t salt)
{
	for (unsigned i = 0; i < PAGES; i++) {
		memset(memory[i], i % 10 == 0 ? 0 : 0x77, PAGE);
		if (i % 10 < 2)
			continue;
		put_be32(memory[i] + 4000, i / 2);
		memory[i][17] = salt;
	}
}
#define CONTENTS (PAGES / 2 / 5 * 4)

static int set_up(void **unused)
{
	(void)unused;
	snprintf(top, sizeof(top), "/tmp/test-vm-checkpoint.XXXXXX");
	assert_non_null(mkdtemp(top));
	setenv("EDGEHOP_ROOT", top, 1);
	atomic_store(&stop, false);
	make_memory(1);
	return 0;
}

static int tear_down(void **unused)
{
	char command[128];

	(void)unused;
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

/* Fails behind the page *arg; NULL: never. */
static int read_memory(void *arg, uint64_t offset, void *buffer, size_t n)
{
	const unsigned *bad = arg;

	assert_true(offset + n <= sizeof(memory));
	if (bad && offset + n > (uint64_t)*bad * PAGE)
		return -1;
	memcpy(buffer, (const uint8_t *)memory + offset, n);
	return 0;
}

static int64_t write_with(const char *vm, const struct fleet_checkpoints *with, struct error **err)
{
	const struct checkpoint_memory all = {read_memory, NULL, sizeof(memory)};

	return checkpoint_write(vm, &all, with, &stop, err);
}

static void path_of(char path[PATH_MAX], const char *vm, const char *suffix)
{
	assert_int_equal(place(path, NULL, PLACE_STATE "/checkpoints/%s%s", vm, suffix), 0);
}

static bool there(const char *vm, const char *suffix)
{
	char path[PATH_MAX];

	path_of(path, vm, suffix);
	return access(path, F_OK) == 0;
}

/* 0 and the pages, or the error's code. */
static int open_it(const char *vm, uint32_t *pages)
{
	auto_error err = NULL;
	auto_close fd = checkpoint_open(vm, &limits, pages, &err);

	return fd < 0 ? err->code : 0;
}

static void set_age(const char *vm, int64_t seconds)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - seconds},
				    {.tv_sec = time(NULL) - seconds}};
	char path[PATH_MAX];

	path_of(path, vm, "");
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Each content once, in the order of the memory, but those that one word fills. */
static void test_what_is_in_it(void **unused)
{
	uint8_t page[PAGE];
	char path[PATH_MAX];
	uint32_t pages;
	struct stat st;

	(void)unused;
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	path_of(path, VM, "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, CHECKPOINT_HEADER_SIZE + CONTENTS * PAGE);
	assert_false(there(VM, ".part"));
	{
		auto_close fd = checkpoint_open(VM, &limits, &pages, NULL);
		unsigned at = 0;

		assert_true(fd >= 0);
		assert_int_equal(pages, CONTENTS);
		for (unsigned i = 0; i < PAGES; i += 2) {
			if (i % 10 < 2)
				continue;
			assert_int_equal(
				pread(fd, page, PAGE, CHECKPOINT_HEADER_SIZE + at++ * PAGE), PAGE);
			assert_memory_equal(page, memory[i], PAGE);
		}
		assert_int_equal(at, pages);
	}
}

static void test_size(void **unused)
{
	struct fleet_checkpoints with = limits;
	uint32_t pages;

	(void)unused;
	with.size = CHECKPOINT_HEADER_SIZE + 100 * PAGE + 5;
	assert_int_equal(write_with(VM, &with, NULL), 100);
	assert_int_equal(open_it(VM, &pages), 0);
	assert_int_equal(pages, 100);
	with = limits;
	with.total = CHECKPOINT_HEADER_SIZE + 50 * PAGE;
	assert_int_equal(write_with(VM, &with, NULL), 50);
	with.total = 17;
	assert_int_equal(write_with(VM, &with, NULL), 0);
	assert_int_equal(open_it(VM, &pages), 0);
	assert_int_equal(pages, 0);
}

/* The earlier one is there until the later one is whole. */
static void test_failures_leave_the_earlier(void **unused)
{
	unsigned bad = 500;
	const struct checkpoint_memory half = {read_memory, &bad, sizeof(memory)};
	auto_error unreadable = NULL;
	auto_error stopped = NULL;
	uint32_t pages;

	(void)unused;
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_int_equal(checkpoint_write(VM, &half, &limits, &stop, &unreadable), -1);
	assert_int_equal(unreadable->code, EIO);
	atomic_store(&stop, true);
	assert_int_equal(write_with(VM, &limits, &stopped), -1);
	assert_int_equal(stopped->code, ECANCELED);
	assert_false(there(VM, ".part"));
	assert_int_equal(open_it(VM, &pages), 0);
	assert_int_equal(pages, CONTENTS);
}

/* As a fault in the middle has it: all was written but the header. */
static void test_fault(void **unused)
{
	auto_error err = NULL;
	char path[PATH_MAX];
	uint32_t pages;

	(void)unused;
	assert_int_equal(place(path, NULL, PLACE_RUN), 0);
	assert_int_equal(make_dirs(path, NULL), 0);
	assert_int_equal(place(path, NULL, PLACE_RUN "/faults"), 0);
	assert_int_equal(write_file_durably(path, "checkpoint fail\n", 16, NULL), 0);
	assert_int_equal(write_with(VM, &limits, &err), -1);
	assert_false(there(VM, ""));
	assert_false(there(VM, ".part"));
	assert_int_equal(open_it(VM, &pages), ENOENT);
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
}

/* A writer that died left its file; one that lives has it locked. */
static void test_left_over(void **unused)
{
	char path[PATH_MAX], alive[PATH_MAX];

	(void)unused;
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	path_of(path, OTHER, ".part");
	assert_int_equal(write_file_durably(path, "half", 4, NULL), 0);
	path_of(alive, THIRD, ".part");

	auto_close fd = open(alive, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(flock(fd, LOCK_EX), 0);
	path_of(path, VM, ".part");
	assert_int_equal(write_file_durably(path, "half", 4, NULL), 0);
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_false(there(OTHER, ".part"));
	assert_false(there(VM, ".part"));
	assert_true(there(THIRD, ".part"));
}

static void damage(const char *vm, off_t at, const char *bytes, size_t n)
{
	char path[PATH_MAX];

	path_of(path, vm, "");

	auto_close fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	if (bytes)
		assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	else
		assert_int_equal(ftruncate(fd, at), 0);
}

/* It is refused once, and gone then. */
static void is_refused(int code)
{
	uint32_t pages = 7;

	assert_int_equal(open_it(VM, &pages), code);
	assert_false(there(VM, ""));
	assert_int_equal(open_it(VM, &pages), ENOENT);
	assert_int_equal(pages, 7);
}

static void test_damaged(void **unused)
{
	static const struct {
		off_t at;
		const char *bytes;
		size_t n;
		int code;
	} cases[] = {
		{0, "X", 1, EBADMSG},
		{5, "\2", 1, ENOTSUP},
		{9, "\1", 1, EBADMSG},		  /* more pages */
		{20, "0", 1, EBADMSG},		  /* another VM's */
		{60, "\1", 1, EBADMSG},		  /* zeroes */
		{70, "\0\0\0\0", 4, EBADMSG},	  /* the sum */
		{0, NULL, 0, EBADMSG},		  /* cut off: all, */
		{100, NULL, 0, EBADMSG},	  /* in the header, */
		{4096 * 9 + 1, NULL, 0, EBADMSG}, /* in a page, */
		{4096 * 9, NULL, 0, EBADMSG},	  /* between two */
		{4096 * 5000, NULL, 0, EBADMSG},  /* longer */
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
		damage(VM, cases[i].at, cases[i].bytes, cases[i].n);
		is_refused(cases[i].code);
	}
	/* whatever a page is, it is a page */
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	damage(VM, 4096 * 3, "damage", 6);
	{
		uint32_t pages;

		assert_int_equal(open_it(VM, &pages), 0);
	}
}

/* That of another VM under this one's name, and what is no file of ours at all. */
static void test_foreign(void **unused)
{
	char from[PATH_MAX], to[PATH_MAX];
	uint32_t pages;

	(void)unused;
	assert_int_equal(write_with(OTHER, &limits, NULL), CONTENTS);
	path_of(from, OTHER, "");
	path_of(to, VM, "");
	assert_int_equal(link(from, to), 0);
	is_refused(EBADMSG);
	assert_int_equal(symlink(from, to), 0);
	assert_int_equal(open_it(VM, &pages), ELOOP);
	assert_int_equal(unlink(to), 0);
	assert_int_equal(mkfifo(to, 0600), 0);
	is_refused(EBADMSG);
	assert_int_equal(open_it(OTHER, &pages), 0);
	assert_int_equal(open_it("../vms", &pages), EINVAL);
	assert_int_equal(checkpoint_remove("../vms", NULL), -1);
}

static void test_age(void **unused)
{
	uint32_t pages;

	(void)unused;
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_int_equal(write_with(OTHER, &limits, NULL), CONTENTS);
	set_age(VM, 3500);
	assert_int_equal(open_it(VM, &pages), 0);
	set_age(VM, 3700);
	set_age(OTHER, 3700);
	is_refused(ENOENT);
	/* of a clock that was wrong */
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_false(there(OTHER, ""));
	set_age(VM, -1000);
	is_refused(ENOENT);
}

static void test_total(void **unused)
{
	struct fleet_checkpoints with = limits;

	(void)unused;
	with.total = 5 * CONTENTS * PAGE / 2; /* two and a half */
	assert_int_equal(write_with(OTHER, &with, NULL), CONTENTS);
	set_age(OTHER, 100);
	assert_int_equal(write_with(THIRD, &with, NULL), CONTENTS);
	set_age(THIRD, 200);
	assert_int_equal(write_with(VM, &with, NULL), CONTENTS);
	assert_true(there(OTHER, ""));
	assert_false(there(THIRD, ""));
	/* its own goes with the new one, and is not counted twice */
	assert_int_equal(write_with(VM, &with, NULL), CONTENTS);
	assert_true(there(OTHER, ""));
}

/* Where none are to be kept, those that are there are neither taken nor left. */
static void test_turned_off(void **unused)
{
	struct fleet_checkpoints off = limits;
	auto_error err = NULL;
	uint32_t pages;

	(void)unused;
	off.size = 0;
	assert_int_equal(checkpoint_prune(&limits, NULL), 0); /* no folder yet */
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_int_equal(write_with(OTHER, &limits, NULL), CONTENTS);
	assert_int_equal(checkpoint_prune(&limits, NULL), 0);
	assert_true(there(VM, "") && there(OTHER, ""));
	assert_int_equal(checkpoint_open(VM, &off, &pages, &err), -1);
	assert_int_equal(err->code, ENOENT);
	assert_false(there(VM, ""));
	assert_int_equal(checkpoint_prune(&off, NULL), 0);
	assert_false(there(OTHER, ""));
}

static void test_remove(void **unused)
{
	(void)unused;
	assert_int_equal(checkpoint_remove(VM, NULL), 0);
	assert_int_equal(write_with(VM, &limits, NULL), CONTENTS);
	assert_int_equal(checkpoint_remove(VM, NULL), 0);
	assert_false(there(VM, ""));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_in_it),
		TEST(test_size),
		TEST(test_failures_leave_the_earlier),
		TEST(test_fault),
		TEST(test_left_over),
		TEST(test_damaged),
		TEST(test_foreign),
		TEST(test_age),
		TEST(test_total),
		TEST(test_remove),
		TEST(test_turned_off),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
