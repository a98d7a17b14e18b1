/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rate limit that processes share, and outlives each of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bucket.h"
#include "common/clock.h"
#include "migrate/transport/pacer.h"
#include "migrate/transport/pair_limit.h"

#define FRAME 65536

static char root[] = "/tmp/test-pair-limit-XXXXXX";

/* Draws as a relay does, for some time of an imagined clock; bytes that came through. */
static uint64_t drawn_in(struct pair_limit *limit, int64_t *now, int64_t ns)
{
	int64_t end = *now + ns;
	uint64_t sum = 0;

	while (*now < end) {
		int64_t wait = 0;
		uint64_t n = pair_limit_draw(limit, FRAME, *now, &wait);

		sum += n;
		if (!n) {
			assert_true(wait > 0);
			*now += wait;
		}
	}
	return sum;
}

static void keeps_to_the_rate(void **test)
{
	static const uint64_t rates[] = {8000, 125000, 6250000, 125000000};
	struct pair_limit *limit = pair_limit_open("west", NULL);
	int64_t now = 1000 * NS_PER_SEC;

	(void)test;
	assert_non_null(limit);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t sum, most = rates[i] / 20 > BUCKET_LEAST ? rates[i] / 20 : BUCKET_LEAST;

		pair_limit_set_rate(limit, rates[i]);
		now += 3600 * NS_PER_SEC; /* idle time is not saved up */
		sum = drawn_in(limit, &now, 10 * NS_PER_SEC);
		assert_in_range(sum, 10 * rates[i] - most - rates[i] / 100,
				10 * rates[i] + most + rates[i] / 100);
	}
	pair_limit_set_rate(limit, 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(pair_limit_draw(limit, FRAME, now, NULL), FRAME);
	pair_limit_close(limit);
}

static void what_is_given_back_can_be_drawn(void **test)
{
	struct pair_limit *limit = pair_limit_open("east", NULL);
	int64_t now = NS_PER_SEC, wait;
	uint64_t all;

	(void)test;
	pair_limit_set_rate(limit, 1000000);
	now += NS_PER_SEC;
	all = pair_limit_draw(limit, FRAME, now, &wait);
	assert_in_range(all, 49999, 50001);
	assert_int_equal(pair_limit_draw(limit, FRAME, now, &wait), 0);
	pair_limit_give_back(limit, 20000);
	assert_in_range(pair_limit_draw(limit, FRAME, now, &wait), 19998, 20002);
	pair_limit_close(limit);
}

/* Whatever stands in the file, it goes on: at the rate, from then on. */
static void takes_any_file(void **test)
{
	static const int64_t found[] = {INT64_MAX, INT64_MIN, -1, 0};
	struct pair_limit *limit = pair_limit_open("odd", NULL);
	char path[sizeof(root) + 64];
	int fd;

	(void)test;
	snprintf(path, sizeof(path), "%s/run/edgehop/limits/odd", root);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
		int64_t words[] = {1000000, found[i]}, now = 5000 * NS_PER_SEC;

		assert_int_equal(pwrite(fd, words, sizeof(words), 0), sizeof(words));
		assert_int_equal(pair_limit_rate(limit), 1000000);
		assert_in_range(drawn_in(limit, &now, 10 * NS_PER_SEC), 9900000, 10100000);
	}
	close(fd);
	pair_limit_close(limit);
}

static void fails_without_a_place(void **test)
{
	struct error *why = NULL;

	(void)test;
	assert_null(pair_limit_open("no/such/host", &why));
	assert_non_null(strstr(why->message, "limits/no/such/host"));
	error_free(why);
}

/* A hop's process: draws by its pacer without an end, and counts. */
static pid_t start_hop(_Atomic uint64_t *sum)
{
	pid_t pid = fork();
	struct pair_limit *limit;
	struct pacer *pacer;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	limit = pair_limit_open("west", NULL);
	pacer = pacer_create(NULL);
	pacer_set_pair(pacer, limit);
	for (;;) {
		int64_t wait = 0;
		uint64_t n = pacer_draw(pacer, FRAME, &wait);

		*sum += n / 2;
		pacer_give_back(pacer, n - n / 2); /* there was not more to send */
		if (!n)
			clock_sleep_ms(wait / NS_PER_MS + 1);
	}
}

static double rate_of(_Atomic uint64_t *sums, size_t n, int64_t ms)
{
	uint64_t before = 0, after = 0;
	int64_t begun = clock_ns();

	for (size_t i = 0; i < n; i++)
		before += sums[i];
	clock_sleep_ms(ms);
	for (size_t i = 0; i < n; i++)
		after += sums[i];
	return (double)(after - before) * 1e9 / (double)(clock_ns() - begun);
}

static void all_hops_together(void **test)
{
	struct pair_limit *limit = pair_limit_open("west", NULL);
	_Atomic uint64_t *sums =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t hops[3];
	double rate;

	(void)test;
	pair_limit_set_rate(limit, 4000000);
	for (int i = 0; i < 3; i++)
		hops[i] = start_hop(&sums[i]);
	clock_sleep_ms(200);
	rate = rate_of(sums, 3, 1000);
	print_message("three hops: %.0f bytes/s of 4000000\n", rate);
	assert_true(rate > 3200000 && rate < 4300000);
	for (int i = 0; i < 3; i++)
		assert_true(sums[i] > 100000); /* each has some */
	/* cut off wherever they are: the one that is left has all of it */
	for (int i = 1; i < 3; i++) {
		kill(hops[i], SIGKILL);
		waitpid(hops[i], NULL, 0);
	}
	clock_sleep_ms(100);
	rate = rate_of(sums, 1, 1000);
	print_message("one is left: %.0f bytes/s\n", rate);
	assert_true(rate > 3200000 && rate < 4300000);
	pair_limit_set_rate(limit, 1000000);
	clock_sleep_ms(200);
	rate = rate_of(sums, 1, 1000);
	print_message("another limit: %.0f bytes/s of 1000000\n", rate);
	assert_true(rate > 800000 && rate < 1100000);
	kill(hops[0], SIGKILL);
	waitpid(hops[0], NULL, 0);
	pair_limit_close(limit);
}

static int make_root(void **state)
{
	char path[sizeof(root) + 16];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	setenv("EDGEHOP_ROOT", root, 1);
	snprintf(path, sizeof(path), "%s/run", root);
	return mkdir(path, 0755);
}

static int remove_root(void **state)
{
	char command[sizeof(root) + 16];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_to_the_rate),
		cmocka_unit_test(what_is_given_back_can_be_drawn),
		cmocka_unit_test(takes_any_file),
		cmocka_unit_test(fails_without_a_place),
		cmocka_unit_test(all_hops_together),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
