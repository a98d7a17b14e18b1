/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock-step.so, preloaded: the wall clock is off by as many seconds as the file CLOCK_STEP says, a
 * decimal number and blanks, 32 bytes. The file is mapped when the program starts, so that a
 * process without the right to open one follows it as well; it is written in place. Monotonic time
 * stays true, as on a host whose clock is set.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SIZE 32

static const char *step;

__attribute__((constructor)) static void map_step(void)
{
	const char *path = getenv("CLOCK_STEP");
	int fd = path && strcmp(program_invocation_short_name, "edgehop") == 0
			 ? open(path, O_RDONLY | O_CLOEXEC)
			 : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	step = map == MAP_FAILED ? NULL : map;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	long result = syscall(SYS_clock_gettime, clock, ts);

	if (result == 0 && step && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += strtoll(step, NULL, 10);
	return (int)result;
}

time_t time(time_t *now)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_REALTIME, &ts);
	if (now)
		*now = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) < 0)
		return -1;
	*tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
	return 0;
}
