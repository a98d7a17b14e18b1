/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sets HOT PERIOD WARM RATE COLD: memory in three sets of so many MiB, of random bytes. The hot one
 * is rewritten from end to end every PERIOD ms; of the warm one, RATE MiB/s are, from its first
 * page to its last and again from the first; the cold one stays. A write changes the page. Says
 * "steady" once all of it is there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	 4096
#define PER_MIB	 256
#define TICK_NS	 10000000L
#define NS_PER_S 1000000000L

static uint64_t state = 88172645463325252ull;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

struct set {
	uint8_t *memory;
	size_t pages, at;
	double rate, due; /* pages a second; pages that are to be written by now */
};

static int fill(struct set *set, double mib, double rate_mib)
{
	*set = (struct set){.pages = (size_t)(mib * PER_MIB), .rate = rate_mib * PER_MIB};
	if (set->pages == 0)
		return 0;
	set->memory = mmap(NULL, set->pages * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (set->memory == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < set->pages * PAGE; i += 8)
		*(uint64_t *)(set->memory + i) = next();
	return 0;
}

/* No set is written to more than once in a tick. */
static void tick(struct set *set)
{
	if (set->pages == 0)
		return;
	set->due += set->rate * TICK_NS / NS_PER_S;
	if (set->due > (double)set->pages)
		set->due = (double)set->pages;
	for (; set->due >= 1; set->due--) {
		*(uint64_t *)(set->memory + set->at * PAGE + next() % 512 * 8) = next();
		set->at = (set->at + 1) % set->pages;
	}
}

int main(int argc, char **argv)
{
	double v[5] = {0};
	struct set hot, warm, cold;
	struct timespec at;

	for (int i = 0; i < 5 && i + 1 < argc; i++)
		v[i] = strtod(argv[i + 1], NULL);
	if (argc != 6 || v[1] <= 0) {
		fprintf(stderr, "usage: sets HOT-MIB PERIOD-MS WARM-MIB MIB-A-SECOND COLD-MIB\n");
		return 2;
	}
	if (fill(&hot, v[0], v[0] * 1000 / v[1]) < 0 || fill(&warm, v[2], v[3]) < 0 ||
	    fill(&cold, v[4], 0) < 0)
		return 1;
	puts("steady");
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &at);
	for (;;) {
		tick(&hot);
		tick(&warm);
		at.tv_nsec += TICK_NS;
		if (at.tv_nsec >= NS_PER_S) {
			at.tv_nsec -= NS_PER_S;
			at.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	}
}
