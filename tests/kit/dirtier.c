/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirtier SET RATE: writes to one page after another of SET MiB of memory, in random order, RATE
 * MiB of pages a second, for ever. Each write changes
 * the page. Says "steady" once all of it is there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
#define TICK 10000000L /* ns */

static uint64_t state = 88172645463325252ull;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

int main(int argc, char **argv)
{
	size_t pages = (argc > 1 ? strtoul(argv[1], NULL, 10) : 0) << 8;
	double rate = argc > 2 ? strtod(argv[2], NULL) * 256 : 0; /* pages a second */
	struct timespec next_tick;
	double due = 0;
	uint8_t *memory;

	if (pages == 0 || rate <= 0) {
		fprintf(stderr, "usage: dirtier SET-MIB RATE-MIB-A-SECOND\n");
		return 2;
	}
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < pages * PAGE; i += 8)
		*(uint64_t *)(memory + i) = next();
	puts("steady");
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &next_tick);
	for (;;) {
		due += rate * TICK / 1e9;
		while (due >= 1) {
			due--;
			*(uint64_t *)(memory + next() % pages * PAGE + next() % 512 * 8) = next();
		}
		next_tick.tv_nsec += TICK;
		if (next_tick.tv_nsec >= 1000000000L) {
			next_tick.tv_nsec -= 1000000000L;
			next_tick.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next_tick, NULL);
	}
}
