/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/codec/payload_lanes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/clock.h"

/*
 * Theory of operation
 *
 * A ring of jobs. Job n goes to lane n modulo lanes and is in place n modulo places, which is a
 * multiple of that, so a lane finds its jobs in every so manieth place. A job's state says whose it
 * is: nobody touches another's but for the state, which the lock guards.
 */
enum job_state {
	JOB_FREE,  /* the front's */
	JOB_GIVEN, /* its lane's */
	JOB_CODED  /* the stream's */
};

struct job {
	enum job_state state;
	struct unit_batch *batch;
	struct payload_way way;
	uint8_t *room;
	struct coded_batch coded;
	struct error *why;
};

struct lane {
	struct payload_lanes *all;
	unsigned number;
	struct payload_coder *coder;
	bool threaded;
	pthread_t thread;
};

struct payload_lanes {
	unsigned lanes, places;
	uint64_t given, taken; /* jobs so far */
	int64_t waited_ns;
	struct lane lane[CODEC_LANES_MOST];
	struct job jobs[CODEC_LANES_MOST * PAYLOAD_BATCHES];

	pthread_mutex_t lock; /* of the jobs' states, and of: */
	pthread_cond_t changed;
	bool ends;
};

static void code(struct lane *lane, struct job *job)
{
	const struct unit_batch *b = job->batch;
	int64_t begun = clock_ns();

	job->coded = (struct coded_batch){
		.batch = b, .coded = job->room, .method = job->way.method, .lane = lane->number};
	payload_code(lane->coder, job->way, b->payload, b->payload_size, job->room,
		     &job->coded.coded_size, &job->coded.flags, &job->why);
	job->coded.coder_s = (double)(clock_ns() - begun) / NS_PER_SEC;
}

static void set_state(struct payload_lanes *l, struct job *job, enum job_state state)
{
	pthread_mutex_lock(&l->lock);
	job->state = state;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

/* Waits until the job is in that state; false: it is over. */
static bool await(struct payload_lanes *l, const struct job *job, enum job_state state)
{
	bool there;

	pthread_mutex_lock(&l->lock);
	while (job->state != state && !l->ends)
		pthread_cond_wait(&l->changed, &l->lock);
	there = job->state == state && !l->ends;
	pthread_mutex_unlock(&l->lock);
	return there;
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct payload_lanes *l = lane->all;

	for (unsigned at = lane->number;; at = (at + l->lanes) % l->places) {
		struct job *job = &l->jobs[at];

		if (!await(l, job, JOB_GIVEN))
			return NULL;
		code(lane, job);
		set_state(l, job, JOB_CODED);
	}
}

static int start_lane(struct payload_lanes *l, unsigned n, unsigned window, struct error **err)
{
	struct lane *lane = &l->lane[n];

	lane->all = l;
	lane->number = n;
	lane->coder = payload_coder_create(window, err);
	if (!lane->coder)
		return -1;
	if (l->lanes == 1)
		return 0;
	if (pthread_create(&lane->thread, NULL, lane_main, lane) != 0)
		return error_set(err, EAGAIN, "can't start a coder's thread");
	lane->threaded = true;
	return 0;
}

static int make_job(struct job *job, size_t batch_bytes, struct error **err)
{
	job->batch = unit_batch_create(batch_bytes, err);
	if (!job->batch)
		return -1;
	job->room = malloc(payload_bound(batch_bytes + CODEC_UNIT_PIECES * 1024));
	return job->room ? 0 : error_set(err, ENOMEM, "no memory for a coder's batches");
}

struct payload_lanes *payload_lanes_create(unsigned lanes, unsigned window, size_t batch_bytes,
					   struct error **err)
{
	struct payload_lanes *l = calloc(1, sizeof(*l));
	int result = 0;

	if (!l) {
		error_set(err, ENOMEM, "no memory for coders");
		return NULL;
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	l->lanes = lanes;
	l->places = lanes == 1 ? 1 : lanes * PAYLOAD_BATCHES;
	for (unsigned i = 0; i < l->places && result == 0; i++)
		result = make_job(&l->jobs[i], batch_bytes, err);
	for (unsigned i = 0; i < lanes && result == 0; i++)
		result = start_lane(l, i, window, err);
	if (result == 0)
		return l;
	payload_lanes_destroy(l);
	return NULL;
}

void payload_lanes_destroy(struct payload_lanes *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->ends = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < l->lanes; i++) {
		if (l->lane[i].threaded)
			pthread_join(l->lane[i].thread, NULL);
		payload_coder_destroy(l->lane[i].coder);
	}
	for (unsigned i = 0; i < l->places; i++) {
		unit_batch_destroy(l->jobs[i].batch);
		free(l->jobs[i].room);
		error_free(l->jobs[i].why);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

unsigned payload_lanes_behind(const struct payload_lanes *l)
{
	return (unsigned)(l->given - l->taken);
}

struct unit_batch *payload_lanes_batch(struct payload_lanes *l)
{
	return payload_lanes_behind(l) < l->places ? l->jobs[l->given % l->places].batch : NULL;
}

void payload_lanes_give(struct payload_lanes *l, struct payload_way way)
{
	struct job *job = &l->jobs[l->given % l->places];

	job->way = way;
	l->given++;
	if (l->lanes > 1) {
		set_state(l, job, JOB_GIVEN);
		return;
	}
	code(&l->lane[0], job);
	job->state = JOB_CODED;
}

static bool is_coded(struct payload_lanes *l, const struct job *job)
{
	bool coded;

	pthread_mutex_lock(&l->lock);
	coded = job->state == JOB_CODED;
	pthread_mutex_unlock(&l->lock);
	return coded;
}

static bool await_coded(struct payload_lanes *l, const struct job *job)
{
	int64_t begun = clock_ns();
	bool coded = await(l, job, JOB_CODED);

	l->waited_ns += clock_ns() - begun;
	return coded;
}

int payload_lanes_next(struct payload_lanes *l, bool wait, struct coded_batch *coded,
		       struct error **err)
{
	struct job *job = &l->jobs[l->taken % l->places];

	if (l->taken == l->given || !(wait ? await_coded(l, job) : is_coded(l, job)))
		return 0;
	if (job->why)
		return error_set(err, job->why->code, "%s", job->why->message);
	*coded = job->coded;
	return 1;
}

void payload_lanes_taken(struct payload_lanes *l)
{
	set_state(l, &l->jobs[l->taken++ % l->places], JOB_FREE);
}

double payload_lanes_waited(const struct payload_lanes *l)
{
	return (double)l->waited_ns / NS_PER_SEC;
}
