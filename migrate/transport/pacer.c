/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/pacer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/bucket.h"
#include "common/clock.h"

struct pacer {
	pthread_mutex_t lock;
	struct bucket bucket;
};

struct pacer *pacer_create(struct error **err)
{
	struct pacer *pacer = calloc(1, sizeof(*pacer));

	if (!pacer) {
		error_set(err, ENOMEM, "no memory for a rate limit");
		return NULL;
	}
	pthread_mutex_init(&pacer->lock, NULL);
	return pacer;
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

uint64_t pacer_draw(struct pacer *pacer, uint64_t want, int64_t *wait_ns)
{
	uint64_t drawn;

	pthread_mutex_lock(&pacer->lock);
	drawn = bucket_draw(&pacer->bucket, want, clock_ns(), wait_ns);
	pthread_mutex_unlock(&pacer->lock);
	return drawn;
}

void pacer_give_back(struct pacer *pacer, uint64_t bytes)
{
	pthread_mutex_lock(&pacer->lock);
	bucket_give_back(&pacer->bucket, bytes);
	pthread_mutex_unlock(&pacer->lock);
}
