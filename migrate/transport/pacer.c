/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/pacer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/bucket.h"
#include "common/clock.h"

struct pacer {
	struct pacer *above;	 /* NULL: none */
	struct pair_limit *pair; /* NULL: none */
	pthread_mutex_t lock;	 /* of the bucket */
	struct bucket bucket;
};

struct pacer *pacer_create(struct error **err)
{
	return pacer_create_below(NULL, err);
}

struct pacer *pacer_create_below(struct pacer *above, struct error **err)
{
	struct pacer *pacer = calloc(1, sizeof(*pacer));

	if (!pacer) {
		error_set(err, ENOMEM, "no memory for a rate limit");
		return NULL;
	}
	pacer->above = above;
	pthread_mutex_init(&pacer->lock, NULL);
	return pacer;
}

void pacer_set_pair(struct pacer *pacer, struct pair_limit *pair)
{
	pacer->pair = pair;
}

void pacer_destroy(struct pacer *pacer)
{
	if (!pacer)
		return;
	pthread_mutex_destroy(&pacer->lock);
	free(pacer);
}

void pacer_set_rate(struct pacer *pacer, uint64_t rate)
{
	pthread_mutex_lock(&pacer->lock);
	bucket_set_rate(&pacer->bucket, rate, clock_ns());
	pthread_mutex_unlock(&pacer->lock);
}

uint64_t pacer_rate(struct pacer *pacer)
{
	uint64_t rate;

	pthread_mutex_lock(&pacer->lock);
	rate = pacer->bucket.rate;
	pthread_mutex_unlock(&pacer->lock);
	return rate;
}

static uint64_t draw_own(struct pacer *pacer, uint64_t want, int64_t *wait_ns)
{
	uint64_t drawn;

	pthread_mutex_lock(&pacer->lock);
	drawn = bucket_draw(&pacer->bucket, want, clock_ns(), wait_ns);
	pthread_mutex_unlock(&pacer->lock);
	return drawn;
}

static void give_back_own(struct pacer *pacer, uint64_t bytes)
{
	pthread_mutex_lock(&pacer->lock);
	bucket_give_back(&pacer->bucket, bytes);
	pthread_mutex_unlock(&pacer->lock);
}

static uint64_t draw_above(struct pacer *pacer, uint64_t want, int64_t *wait_ns)
{
	uint64_t drawn;

	if (pacer->pair)
		want = pair_limit_draw(pacer->pair, want, clock_ns(), wait_ns);
	if (!pacer->above || want == 0)
		return want;
	drawn = pacer_draw(pacer->above, want, wait_ns);
	if (pacer->pair)
		pair_limit_give_back(pacer->pair, want - drawn);
	return drawn;
}

uint64_t pacer_draw(struct pacer *pacer, uint64_t want, int64_t *wait_ns)
{
	uint64_t own = draw_own(pacer, want, wait_ns);
	uint64_t drawn = own ? draw_above(pacer, own, wait_ns) : 0;

	give_back_own(pacer, own - drawn);
	return drawn;
}

void pacer_give_back(struct pacer *pacer, uint64_t bytes)
{
	give_back_own(pacer, bytes);
	if (pacer->pair)
		pair_limit_give_back(pacer->pair, bytes);
	if (pacer->above)
		pacer_give_back(pacer->above, bytes);
}
