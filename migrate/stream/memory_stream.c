/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/stream/memory_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "stream"

/*
 * Theory of operation
 *
 * One thread, non-blocking sockets, a poll loop. Out: the hypervisor is read as far as the
 * scheduler has room, the link gets what it puts out. Back: bytes are copied as they come. Little
 * is put into the link's own socket buffer (LINK_BUFFER), since what is in there can't be replaced
 * any more.
 *
 * The link's rate is what arrived in a window of time during which there always was something on
 * its way, smoothed over some windows. An idle link says nothing about its rate.
 *
 * The lock is held while the scheduler is at work, never in poll(): others ask and order in
 * between.
 */
#define TICK_MS	    10
#define WINDOW_NS   (250 * NS_PER_MS)
#define BUSY_LEAST  (64u << 10) /* bytes on their way: the link is not idle */
#define SMOOTHING   0.3		/* weight of the newest window */
#define LINK_BUFFER (128 << 10)
#define TURNS	    16 /* reads or writes until the other direction has its turn */
#define BACK_SIZE   4096

struct rate_meter {
	int64_t since_ns;
	uint64_t delivered; /* at the window's begin */
	bool busy;	    /* all the time since then */
	double rate;	    /* bytes/s; 0: not known yet */
};

struct memory_stream {
	int listen_fd, hypervisor, link;
	int wake; /* eventfd: stop */
	pthread_t thread;
	memory_stream_delivered *delivered;
	void *arg;

	/* the thread's own */
	uint8_t in[SCHEDULER_READ];
	uint8_t back[BACK_SIZE];
	size_t back_start, back_end;
	bool in_ended, out_ended, back_ended, back_shut;
	uint64_t given; /* bytes put into the link */
	int64_t wait_ns;
	struct rate_meter meter;

	pthread_mutex_t lock; /* of what follows */
	struct scheduler *scheduler;
	struct memory_stream_stats stats;
	struct error *why;
};

/* ---- The link's rate ---- */

static void measure(struct memory_stream *s, int64_t now)
{
	struct rate_meter *m = &s->meter;
	uint64_t delivered = s->delivered(s->arg);
	uint64_t in_flight = s->given > delivered ? s->given - delivered : 0;
	struct scheduler_link link;

	m->busy &= in_flight >= BUSY_LEAST;
	if (now - m->since_ns >= WINDOW_NS) {
		double seconds = (double)(now - m->since_ns) / 1e9;
		double rate = (double)(delivered - m->delivered) / seconds;

		if (m->busy && rate > 0)
			m->rate += (m->rate > 0 ? SMOOTHING : 1) * (rate - m->rate);
		*m = (struct rate_meter){now, delivered, in_flight >= BUSY_LEAST, m->rate};
	}
	link = (struct scheduler_link){.rate = (uint64_t)m->rate, .in_flight = in_flight};
	scheduler_set_link(s->scheduler, &link);
	s->stats.link = link;
	s->stats.sent = s->given;
}

/* ---- Moving bytes; all under lock ---- */

/* 1: there may be more to read; 0: not now; -1 failed. */
static int read_some(struct memory_stream *s, int64_t now, struct error **err)
{
	size_t room;
	ssize_t n;

	s->wait_ns = INT64_MAX;
	room = scheduler_room(s->scheduler, now, &s->wait_ns);
	if (room == 0)
		return 0;
	n = recv(s->hypervisor, s->in, room, MSG_DONTWAIT);
	scheduler_not_read(s->scheduler, room - (n > 0 ? (size_t)n : 0));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR
			       ? 0
			       : error_errno(err, "the hypervisor's memory stream");
	if (n == 0) {
		s->in_ended = true;
		return scheduler_feed_end(s->scheduler, err);
	}
	return scheduler_feed(s->scheduler, s->in, (size_t)n, now, err) < 0 ? -1 : 1;
}

/* As read_some. */
static int write_some(struct memory_stream *s, int64_t now, struct error **err)
{
	const uint8_t *bytes;
	size_t size;
	ssize_t n;

	if (scheduler_output(s->scheduler, now, &bytes, &size, err) < 0)
		return -1;
	if (size == 0) {
		if (scheduler_drained(s->scheduler) && !s->out_ended) {
			shutdown(s->link, SHUT_WR);
			s->out_ended = true;
		}
		return 0;
	}
	n = send(s->link, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0
							 : error_errno(err, "the memory channel");
	scheduler_sent(s->scheduler, (size_t)n);
	s->given += (uint64_t)n;
	return 1;
}

static int copy_back(struct memory_stream *s, struct error **err)
{
	ssize_t n;

	if (s->back_start == s->back_end && !s->back_ended) {
		n = recv(s->link, s->back, sizeof(s->back), MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return error_errno(err, "the memory channel");
		s->back_ended = n == 0;
		s->back_start = 0;
		s->back_end = n > 0 ? (size_t)n : 0;
	}
	if (s->back_start < s->back_end) {
		n = send(s->hypervisor, s->back + s->back_start, s->back_end - s->back_start,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			s->back_start += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR && !s->in_ended)
			return error_errno(err, "the hypervisor's return path");
		else if (s->in_ended)
			s->back_start = s->back_end; /* nobody is there to hear it */
	}
	if (s->back_ended && s->back_start == s->back_end && !s->back_shut) {
		shutdown(s->hypervisor, SHUT_WR);
		s->back_shut = true;
	}
	return 0;
}

/* Everything that can be done now. 1: both directions have ended; -1. */
static int work(struct memory_stream *s, struct error **err)
{
	int64_t now = clock_ns();
	int read = !s->in_ended, wrote = 1;

	measure(s, now);
	for (int turn = 0; turn < TURNS && (read || wrote); turn++) {
		if (read && !s->in_ended)
			read = read_some(s, now, err);
		if (read < 0)
			return -1;
		wrote = s->out_ended ? 0 : write_some(s, now, err);
		if (wrote < 0)
			return -1;
	}
	if (copy_back(s, err) < 0)
		return -1;
	scheduler_stats(s->scheduler, now, &s->stats.pages);
	return s->out_ended && s->back_shut;
}

/* ---- The thread ---- */

static short output_waits(struct memory_stream *s)
{
	const uint8_t *bytes;
	size_t n = 0;

	(void)scheduler_output(s->scheduler, clock_ns(), &bytes, &n, NULL);
	return n > 0 ? POLLOUT : 0;
}

static int time_to_wait(const struct memory_stream *s)
{
	return s->wait_ns < TICK_MS * NS_PER_MS ? (int)(s->wait_ns / NS_PER_MS) + 1 : TICK_MS;
}

static int stream_loop(struct memory_stream *s, struct error **err)
{
	for (;;) {
		struct pollfd p[3] = {
			{.fd = s->wake, .events = POLLIN}, {.fd = s->hypervisor}, {.fd = s->link}};
		int result;

		pthread_mutex_lock(&s->lock);
		result = work(s, err);
		if (result == 0) {
			if (!s->in_ended && s->wait_ns == INT64_MAX &&
			    scheduler_wants(s->scheduler))
				p[1].events |= POLLIN;
			if (s->back_start < s->back_end)
				p[1].events |= POLLOUT;
			else if (!s->back_ended)
				p[2].events |= POLLIN;
			p[2].events |= s->out_ended ? 0 : output_waits(s);
		}
		pthread_mutex_unlock(&s->lock);
		if (result != 0)
			return result < 0 ? -1 : 0;
		for (int i = 1; i < 3; i++)
			if (!p[i].events)
				p[i].fd = -1; /* else the end of a stream would spin */
		if (poll(p, 3, time_to_wait(s)) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
			return 0;
	}
}

/* 0: it has connected; 1: told to stop; -1. */
static int await_hypervisor(struct memory_stream *s, struct error **err)
{
	struct pollfd p[2] = {{.fd = s->wake, .events = POLLIN},
			      {.fd = s->listen_fd, .events = POLLIN}};

	while (s->hypervisor < 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
			return 1;
		if (p[1].revents)
			s->hypervisor =
				accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	s->meter.since_ns = clock_ns();
	return 0;
}

static void *stream_main(void *arg)
{
	struct memory_stream *s = arg;
	struct error *why = NULL;
	int result = await_hypervisor(s, &why);

	if (result == 0)
		result = stream_loop(s, &why);
	if (result < 0)
		log_info("%s", error_text(why)); /* whether it matters, its owner knows */
	pthread_mutex_lock(&s->lock);
	s->why = why;
	pthread_mutex_unlock(&s->lock);
	/* whoever is at the other ends learns of it */
	if (s->hypervisor >= 0)
		shutdown(s->hypervisor, SHUT_RDWR);
	shutdown(s->link, SHUT_RDWR);
	return NULL;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void stream_free(struct memory_stream *s)
{
	scheduler_destroy(s->scheduler);
	close_if_open(s->listen_fd);
	close_if_open(s->hypervisor);
	close_if_open(s->link);
	close_if_open(s->wake);
	error_free(s->why);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct memory_stream *memory_stream_start(int listen_fd, int link_fd,
					  const struct scheduler_options *options,
					  memory_stream_delivered *delivered, void *arg,
					  struct error **err)
{
	struct memory_stream *s = calloc(1, sizeof(*s));
	int size = LINK_BUFFER;

	if (!s) {
		close(listen_fd);
		close(link_fd);
		error_set(err, ENOMEM, "no memory for a memory stream");
		return NULL;
	}
	*s = (struct memory_stream){.listen_fd = listen_fd,
				    .hypervisor = -1,
				    .link = link_fd,
				    .wake = eventfd(0, EFD_CLOEXEC),
				    .delivered = delivered,
				    .arg = arg};
	pthread_mutex_init(&s->lock, NULL);
	setsockopt(link_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	s->scheduler = scheduler_create(options, err);
	if (!s->scheduler) {
		stream_free(s);
		return NULL;
	}
	if (s->wake < 0 || fcntl(link_fd, F_SETFL, fcntl(link_fd, F_GETFL) | O_NONBLOCK) < 0 ||
	    pthread_create(&s->thread, NULL, stream_main, s) != 0) {
		error_set(err, EAGAIN, "can't start a memory stream");
		stream_free(s);
		return NULL;
	}
	return s;
}

void memory_stream_destroy(struct memory_stream *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (write_all(s->wake, &one, sizeof(one), NULL) == 0)
		pthread_join(s->thread, NULL);
	stream_free(s);
}

int memory_stream_check(struct memory_stream *s, struct error **err)
{
	int result = 0;

	pthread_mutex_lock(&s->lock);
	if (s->why)
		result = error_set(err, s->why->code, "%s", s->why->message);
	pthread_mutex_unlock(&s->lock);
	return result;
}

void memory_stream_set_remaining(struct memory_stream *s, uint64_t bytes, unsigned looks,
				 int64_t asked_ns)
{
	pthread_mutex_lock(&s->lock);
	scheduler_set_remaining(s->scheduler, bytes, looks, asked_ns);
	pthread_mutex_unlock(&s->lock);
}

void memory_stream_set_downtime(struct memory_stream *s, int64_t downtime_ns)
{
	pthread_mutex_lock(&s->lock);
	scheduler_set_downtime(s->scheduler, downtime_ns);
	pthread_mutex_unlock(&s->lock);
}

void memory_stream_finish(struct memory_stream *s)
{
	pthread_mutex_lock(&s->lock);
	scheduler_finish(s->scheduler);
	pthread_mutex_unlock(&s->lock);
}

void memory_stream_stats(struct memory_stream *s, struct memory_stream_stats *stats)
{
	pthread_mutex_lock(&s->lock);
	*stats = s->stats;
	pthread_mutex_unlock(&s->lock);
}
