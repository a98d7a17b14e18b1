/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/channel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/channel_internal.h"

#define LOG_MODULE "listener"

/*
 * Theory of operation
 *
 * The thread owns `openings` (strangers, in the order of their arrival) and polls them all; each
 * wake-up moves every opening on by what its socket has. One that shook hands with the hop's key
 * and said a proper HELLO becomes a channel and goes to `open`, which is shared with the takers
 * under `lock`. A stranger can only fill a slot: for OPENING_TIME, or until a later one needs it.
 */
#define OPENINGS	64
#define OPEN_MOST	32
#define STRANGERS_TOLD	8
#define STRANGERS_EVERY 1000
#define OPENING_TIME	(10 * NS_PER_SEC)

struct listener {
	int fd;
	int wake; /* eventfd: stop */
	pthread_t thread;
	struct channel_key key;
	bool plain; /* offered to whoever wants it */

	struct opening *openings[OPENINGS];
	size_t n_openings;
	unsigned strangers; /* that were sent away */

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t arrived;
	struct channel *open[OPEN_MOST];
	size_t n_open;
};

static void opening_drop(struct listener *l, size_t i)
{
	channel_destroy(l->openings[i]->channel);
	free(l->openings[i]);
	l->n_openings--;
	for (; i < l->n_openings; i++)
		l->openings[i] = l->openings[i + 1];
}

static void accept_one(struct listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct opening *o;

	if (fd < 0)
		return;
	o = calloc(1, sizeof(*o));
	if (o)
		o->channel = calloc(1, sizeof(*o->channel));
	if (!o || !o->channel) {
		free(o);
		close(fd);
		return;
	}
	o->channel->fd = fd;
	o->channel->tls = tls_create(fd, TLS_SERVER, l->key.hop, l->key.key, NULL);
	if (!o->channel->tls) {
		channel_destroy(o->channel);
		free(o);
		return;
	}
	o->deadline_ns = clock_ns() + OPENING_TIME;
	o->features = HELLO_RESUME | (l->plain ? HELLO_PLAIN : 0);
	opening_prepare_hello(o, &l->key, "", 0, 0);
	if (l->n_openings == OPENINGS)
		opening_drop(l, 0);
	l->openings[l->n_openings++] = o;
}

static void offer(struct listener *l, struct opening *o)
{
	struct hello hello;
	auto_error why = NULL;

	if (opening_check_hello(o, &l->key, &hello, &why) < 0) {
		log_warn("a connection with the hop's key was refused: %s", error_text(why));
		return;
	}
	memcpy(o->channel->name, hello.channel, sizeof(o->channel->name));
	o->channel->generation = hello.generation;
	pthread_mutex_lock(&l->lock);
	if (l->n_open < OPEN_MOST) {
		l->open[l->n_open++] = o->channel;
		o->channel = NULL;
		pthread_cond_broadcast(&l->arrived);
	}
	pthread_mutex_unlock(&l->lock);
}

/* The first ones in full; a flood must not fill the log. */
static void note_stranger(struct listener *l, const char *why)
{
	l->strangers++;
	if (l->strangers <= STRANGERS_TOLD)
		log_info("a stranger's connection was closed: %s", why);
	else if (l->strangers % STRANGERS_EVERY == 0)
		log_info("%u strangers' connections were closed so far", l->strangers);
}

static void move_on(struct listener *l, size_t i)
{
	struct opening *o = l->openings[i];
	auto_error why = NULL;
	int step = opening_step(o, &why);

	if (step == 0 && clock_ns() < o->deadline_ns)
		return;
	if (step > 0)
		offer(l, o);
	else
		note_stranger(l, why ? why->message : "too slow");
	opening_drop(l, i);
}

static void *listener_main(void *arg)
{
	struct listener *l = arg;
	struct pollfd polled[OPENINGS + 2];

	for (;;) {
		size_t n = l->n_openings;

		polled[0] = (struct pollfd){.fd = l->wake, .events = POLLIN};
		polled[1] = (struct pollfd){.fd = l->fd, .events = POLLIN};
		for (size_t i = 0; i < n; i++)
			polled[i + 2] =
				(struct pollfd){.fd = l->openings[i]->channel->fd,
						.events = tls_wants(l->openings[i]->channel->tls)};
		if (poll(polled, n + 2, n ? 1000 : -1) < 0 && errno != EINTR)
			return NULL;
		if (polled[0].revents)
			return NULL;
		/* From the last to the first, as dropping one shifts those behind it. */
		for (size_t i = n; i-- > 0;)
			if (polled[i + 2].revents || clock_ns() >= l->openings[i]->deadline_ns)
				move_on(l, i);
		if (polled[1].revents)
			accept_one(l);
	}
}

struct listener *listener_start(int listen_fd, const struct channel_key *key, bool plain,
				struct error **err)
{
	struct listener *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;

	if (!l) {
		close(listen_fd);
		error_set(err, ENOMEM, "no memory for a listener");
		return NULL;
	}
	l->key = *key;
	l->plain = plain;
	l->fd = listen_fd;
	l->wake = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->arrived, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (l->wake < 0 || pthread_create(&l->thread, NULL, listener_main, l) != 0) {
		error_set(err, EAGAIN, "can't start the listener");
		close(l->fd);
		if (l->wake >= 0)
			close(l->wake);
		free(l);
		return NULL;
	}
	return l;
}

void listener_stop(struct listener *l)
{
	uint64_t one = 1;

	if (!l)
		return;
	if (write_all(l->wake, &one, sizeof(one), NULL) == 0)
		pthread_join(l->thread, NULL);
	while (l->n_openings)
		opening_drop(l, l->n_openings - 1);
	for (size_t i = 0; i < l->n_open; i++)
		channel_destroy(l->open[i]);
	close(l->fd);
	close(l->wake);
	pthread_cond_destroy(&l->arrived);
	pthread_mutex_destroy(&l->lock);
	explicit_bzero(&l->key, sizeof(l->key));
	free(l);
}

/* Under lock. A channel that was not opened again stands for itself: generation 0. */
static bool first_waits(const struct listener *l, const char *name)
{
	for (size_t i = 0; i < l->n_open; i++)
		if (!l->open[i]->generation && strcmp(l->open[i]->name, name) == 0)
			return true;
	return false;
}

struct channel *listener_take_again(struct listener *l)
{
	struct channel *found = NULL;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->n_open && !found; i++) {
		if (!l->open[i]->generation || first_waits(l, l->open[i]->name))
			continue;
		found = l->open[i];
		l->open[i] = l->open[--l->n_open];
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

struct channel *listener_take(struct listener *l, const char *name, int64_t deadline_ns,
			      struct error **err)
{
	struct timespec until = {deadline_ns / NS_PER_SEC, deadline_ns % NS_PER_SEC};
	struct channel *found = NULL;
	int waited = 0;

	pthread_mutex_lock(&l->lock);
	while (!found && waited != ETIMEDOUT) {
		for (size_t i = 0; i < l->n_open && !found; i++) {
			if (l->open[i]->generation || strcmp(l->open[i]->name, name) != 0)
				continue;
			found = l->open[i];
			l->open[i] = l->open[--l->n_open];
		}
		if (!found)
			waited = pthread_cond_timedwait(&l->arrived, &l->lock, &until);
	}
	pthread_mutex_unlock(&l->lock);
	if (!found)
		error_set(err, ETIMEDOUT, "channel %s: the source did not connect in time", name);
	return found;
}
