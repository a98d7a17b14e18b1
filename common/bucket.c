/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/bucket.h"

#define NS_PER_S   1e9
#define DEPTH_S	   0.05
#define LEAST_WAIT 1000000 /* ns; a shorter sleep costs more than it gains */

static double depth(const struct bucket *bucket)
{
	double bytes = (double)bucket->rate * DEPTH_S;

	return bytes > BUCKET_LEAST ? bytes : BUCKET_LEAST;
}

static void fill(struct bucket *bucket, int64_t now_ns)
{
	double seconds = (double)(now_ns - bucket->filled_ns) / NS_PER_S;

	if (seconds > 0)
		bucket->tokens += seconds * (double)bucket->rate;
	if (bucket->tokens > depth(bucket))
		bucket->tokens = depth(bucket);
	bucket->filled_ns = now_ns;
}

void bucket_set_rate(struct bucket *bucket, uint64_t rate, int64_t now_ns)
{
	fill(bucket, now_ns);
	bucket->rate = rate;
	fill(bucket, now_ns);
}

uint64_t bucket_draw(struct bucket *bucket, uint64_t want, int64_t now_ns, int64_t *wait_ns)
{
	uint64_t least = want < BUCKET_LEAST ? want : BUCKET_LEAST;
	uint64_t drawn;

	if (bucket->rate == 0)
		return want;
	fill(bucket, now_ns);
	if (bucket->tokens < (double)least) {
		double missing = (double)least - bucket->tokens;

		*wait_ns = (int64_t)(missing / (double)bucket->rate * NS_PER_S) + 1;
		if (*wait_ns < LEAST_WAIT)
			*wait_ns = LEAST_WAIT;
		return 0;
	}
	drawn = bucket->tokens < (double)want ? (uint64_t)bucket->tokens : want;
	bucket->tokens -= (double)drawn;
	return drawn;
}

void bucket_give_back(struct bucket *bucket, uint64_t bytes)
{
	if (bucket->rate)
		bucket->tokens += (double)bytes;
}
