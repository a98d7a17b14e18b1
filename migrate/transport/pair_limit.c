/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/pair_limit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bucket.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/places.h"

/*
 * Theory of operation
 *
 * The bucket is one word: the time at which it was, or would have been, empty. What came in since
 * then is in it. To draw moves that time on, by as long as the bytes take at the rate. A file of
 * zeroes is a full bucket without a limit, so it needs no beginning.
 *
 * A time that lies ahead is none that a draw makes; it is what somebody has written to the file,
 * or another boot's, and taken for now.
 */
#define DEPTH_NS   (50 * NS_PER_MS)
#define LEAST_WAIT NS_PER_MS
#define AHEAD_MOST NS_PER_SEC

struct shared {
	_Atomic uint64_t rate; /* bytes/s */
	_Atomic int64_t empty_ns;
};

struct pair_limit {
	struct shared *shared;
};

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words that processes share take no locks");

static int make_file(const char *host, struct error **err)
{
	char path[PATH_MAX];
	int fd;

	if (place(path, err, PLACE_RUN) < 0)
		return -1;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_errno(err, "%s", path);
	if (place(path, err, PLACE_RUN "/limits") < 0)
		return -1;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_errno(err, "%s", path);
	if (place(path, err, PLACE_RUN "/limits/%s", host) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, "%s", path);
	if (ftruncate(fd, sizeof(struct shared)) == 0)
		return fd;
	error_errno(err, "%s", path);
	close(fd);
	return -1;
}

struct pair_limit *pair_limit_open(const char *host, struct error **err)
{
	auto_close fd = make_file(host, err);
	struct pair_limit *limit;
	void *at;

	if (fd < 0)
		return NULL;
	limit = calloc(1, sizeof(*limit));
	at = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (limit && at != MAP_FAILED) {
		limit->shared = at;
		return limit;
	}
	error_set(err, ENOMEM, "no memory for the rate limit to host %s", host);
	if (at != MAP_FAILED)
		munmap(at, sizeof(struct shared));
	free(limit);
	return NULL;
}

void pair_limit_close(struct pair_limit *limit)
{
	if (!limit)
		return;
	munmap(limit->shared, sizeof(struct shared));
	free(limit);
}

void pair_limit_set_rate(struct pair_limit *limit, uint64_t rate)
{
	atomic_store(&limit->shared->rate, rate);
}

uint64_t pair_limit_rate(const struct pair_limit *limit)
{
	return atomic_load(&limit->shared->rate);
}

static int64_t time_of(double bytes, uint64_t rate)
{
	return (int64_t)(bytes / (double)rate * NS_PER_SEC);
}

/* When it was empty, as seen now: no more is in it than it holds. */
static int64_t empty_since(int64_t empty_ns, uint64_t rate, int64_t now_ns)
{
	int64_t least = time_of(BUCKET_LEAST, rate), depth = least > DEPTH_NS ? least : DEPTH_NS;

	return empty_ns < now_ns - depth ? now_ns - depth : empty_ns;
}

uint64_t pair_limit_draw(struct pair_limit *limit, uint64_t want, int64_t now_ns, int64_t *wait_ns)
{
	struct shared *shared = limit->shared;
	uint64_t least = want < BUCKET_LEAST ? want : BUCKET_LEAST, rate = pair_limit_rate(limit);
	int64_t before = atomic_load(&shared->empty_ns);

	if (rate == 0)
		return want;
	if (before > now_ns + AHEAD_MOST &&
	    atomic_compare_exchange_strong(&shared->empty_ns, &before, now_ns))
		before = now_ns;
	for (;;) {
		int64_t since = empty_since(before, rate, now_ns);
		double tokens = (double)(now_ns - since) / NS_PER_SEC * (double)rate;
		uint64_t drawn;

		/* a byte less than it takes is no reason to wait: times are whole nanoseconds */
		if (tokens + 1 < (double)least) {
			*wait_ns = time_of((double)least - tokens, rate) + 1;
			if (*wait_ns < LEAST_WAIT)
				*wait_ns = LEAST_WAIT;
			return 0;
		}
		drawn = tokens + 1 < (double)want ? (uint64_t)(tokens + 1) : want;
		if (atomic_compare_exchange_weak(&shared->empty_ns, &before,
						 since + time_of((double)drawn, rate)))
			return drawn;
	}
}

void pair_limit_give_back(struct pair_limit *limit, uint64_t bytes)
{
	uint64_t rate = pair_limit_rate(limit);

	if (rate && bytes)
		atomic_fetch_sub(&limit->shared->empty_ns, time_of((double)bytes, rate));
}
