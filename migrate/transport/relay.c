/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "relay"

/*
 * Theory of operation
 *
 * One thread, two directions, no queue (but for what may have to be sent again, relay_resume.c):
 * `out` holds one frame on its way to the channel, `in` the decrypted bytes that the local stream
 * has not yet taken. The local stream is read only when `out` is empty, the channel only when `in`
 * has been drained, so a slow side holds the other one back through the sockets' own buffers, and
 * memory stays at two frames, and what is kept.
 *
 * A direction ends when its reader sees the end of its stream: it sends EOF; the writer at the
 * far side then shuts its local stream down for writing. When both have ended and what we sent is
 * acknowledged, the relay has ended in order. Anything else that ends it is a failure, told to
 * the far side by an ERROR frame where that still gets through.
 *
 * Ten times a second the sender looks at the connection's subflows, keeps the counters of each
 * (they vanish from the kernel's list with the subflow) and grows the buffers to what their rates
 * and round-trip times ask for; PING carries that wish to the receiver.
 */
#define TICK_MS 100
#define POLL_MS 100
/* Six signs of life. TCP would wait longer after a path is back. */
#define LOST_NS (6 * NS_PER_SEC)

static bool finished(const struct relay *r)
{
	return !r->over && r->eof_sent && r->eof_received && r->out_done == r->out_size &&
	       r->stats.delivered == r->stats.sent && r->acked_at == r->stats.received;
}

static int check_silence(struct relay *r, struct error **err)
{
	bool waits = r->resume && !r->resume->dials;
	int64_t now = clock_ns();

	if (now - r->last_heard < (waits ? r->patience_ns : r->silence_ns))
		return 0;
	r->broken = true;
	return error_set(err, ETIMEDOUT, "no sign of life from the far side for %.0f s",
			 (double)(now - r->last_heard) / 1e9);
}

/* For poll(): until the pacer lets more through, at most. */
static int time_to_wait(const struct relay *r)
{
	if (r->more)
		return 0;

	int64_t left = r->paced_ns ? r->paced_ns - clock_ns() : POLL_MS * NS_PER_MS;

	if (left > POLL_MS * NS_PER_MS)
		left = POLL_MS * NS_PER_MS;
	return left > 0 ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

/* Until the relay has ended (0), was told to stop (1) or failed (-1). */
static int relay_loop(struct relay *r, struct error **err)
{
	for (;;) {
		struct pollfd p[3] = {
			{.fd = r->wake, .events = POLLIN}, {.events = POLLIN}, {.fd = r->local}};
		eventfd_t count;
		int held;

		relay_take_offer(r);
		p[1].fd = r->channel->fd;
		if (clock_ns() - r->last_tick >= TICK_MS * NS_PER_MS) {
			relay_watch(r);
			r->last_tick = clock_ns();
		}
		r->more = false;
		held = relay_receive_some(r, err);
		if (held < 0 || relay_send_some(r, err) < 0)
			return -1;
		if (finished(r))
			return 0;
		if (held)
			r->last_heard = clock_ns(); /* nobody listens */
		if (check_silence(r, err) < 0)
			return -1;
		if (held) {
			p[1].events = 0;
			p[2].events |= POLLOUT;
		}
		if (r->out_done < r->out_size)
			p[1].events |= POLLOUT;
		else if (!r->local_ended && !r->paced_ns && !r->window_full)
			p[2].events |= POLLIN;
		if (!p[2].events)
			p[2].fd = -1; /* else POLLHUP of an ended stream would spin */
		if (!p[1].events)
			p[1].fd = -1;
		if (poll(p, 3, time_to_wait(r)) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
			(void)eventfd_read(r->wake, &count);
		if (r->stop)
			return 1;
	}
}

/* 0: the local stream is there; 1: told to stop; -1. */
static int await_local(struct relay *r, struct error **err)
{
	struct pollfd p[2] = {{.fd = r->wake, .events = POLLIN},
			      {.fd = r->listen_fd, .events = POLLIN}};
	eventfd_t count;

	while (r->local < 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
			(void)eventfd_read(r->wake, &count);
		if (r->stop)
			return 1;
		if (p[1].revents)
			r->local = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	}
	if (r->listen_fd >= 0)
		close(r->listen_fd);
	r->listen_fd = -1;
	r->last_heard = clock_ns();
	return 0;
}

static void set_end(struct relay *r, enum relay_end end, struct error *why)
{
	relay_watch(r);
	r->over = true;
	pthread_mutex_lock(&r->lock);
	r->end = end;
	r->why = why;
	pthread_mutex_unlock(&r->lock);
	/* Whoever reads or writes the local stream learns of it now. */
	if (r->local >= 0)
		shutdown(r->local, SHUT_RDWR);
}

/*
 * One that has ended in order stays as long as it can be resumed: the last acknowledgement may not
 * have come through.
 */
static void *relay_main(void *arg)
{
	struct relay *r = arg;
	struct error *why = NULL;
	int result = await_local(r, &why);

	while (result == 0) {
		result = relay_loop(r, &why);
		if (result == 0) {
			set_end(r, RELAY_ENDED, NULL);
			if (!r->resume)
				break;
		} else if (result < 0 && r->broken && r->resume) {
			result = relay_regain(r, steal_ptr(why), &why);
		}
	}
	if (result < 0 && !r->over) {
		error_wrap(&why, "channel %s", r->name);
		log_info("%s", error_text(why)); /* whether it matters, its owner knows */
		relay_say_farewell(r, why);
		set_end(r, RELAY_FAILED, steal_ptr(why));
	} else if (!r->over) {
		set_end(r, RELAY_ENDED, NULL);
	}
	error_free(why);
	pthread_mutex_lock(&r->lock);
	r->left = true;
	r->stats.lost_ns = 0;
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* What the relay is to know of its channel. */
static void take_channel(struct relay *r, struct channel *channel, int64_t silence_ms)
{
	r->channel = channel;
	memcpy(r->name, channel->name, sizeof(r->name));
	r->generation = channel->generation;
	r->silence_ns = r->least_patience_ns = silence_ms * NS_PER_MS;
	r->resume = steal_ptr(channel->resume);
	if (!r->resume)
		return;
	r->stats.window = r->resume->window;
	relay_set_patience(r, r->resume->patience_ns);
	if (r->resume->dials && r->silence_ns > LOST_NS)
		r->silence_ns = LOST_NS;
}

/* One of local_fd and listen_fd is -1. */
static struct relay *start(struct channel *channel, int local_fd, int listen_fd, int64_t silence_ms,
			   struct error **err)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r)
		r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!r || r->wake < 0) {
		free(r);
		close_if_open(local_fd);
		close_if_open(listen_fd);
		channel_destroy(channel);
		error_set(err, ENOMEM, "no memory for a relay");
		return NULL;
	}
	take_channel(r, channel, silence_ms);
	r->local = local_fd;
	r->listen_fd = listen_fd;
	r->last_heard = r->last_sent = clock_ns();
	pthread_mutex_init(&r->lock, NULL);
	if ((local_fd >= 0 &&
	     fcntl(local_fd, F_SETFL, fcntl(local_fd, F_GETFL) | O_NONBLOCK) < 0) ||
	    pthread_create(&r->thread, NULL, relay_main, r) != 0) {
		error_set(err, EAGAIN, "can't start a relay");
		r->end = RELAY_FAILED;
		r->thread = pthread_self();
		relay_destroy(r);
		return NULL;
	}
	return r;
}

struct relay *relay_start(struct channel *channel, int local_fd, int64_t silence_ms,
			  struct error **err)
{
	return start(channel, local_fd, -1, silence_ms, err);
}

struct relay *relay_start_on_accept(struct channel *channel, int listen_fd, int64_t silence_ms,
				    struct error **err)
{
	return start(channel, -1, listen_fd, silence_ms, err);
}

void relay_destroy(struct relay *r)
{
	uint64_t one = 1;

	if (!r)
		return;
	r->stop = true;
	if (!pthread_equal(r->thread, pthread_self()) &&
	    write_all(r->wake, &one, sizeof(one), NULL) == 0)
		pthread_join(r->thread, NULL);
	channel_destroy(r->channel);
	channel_destroy(r->offered);
	channel_resume_free(r->resume);
	unacked_clear(&r->unacked);
	close_if_open(r->local);
	close_if_open(r->listen_fd);
	close(r->wake);
	error_free(r->why);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

enum relay_end relay_poll(struct relay *r, struct error **err)
{
	enum relay_end end;

	pthread_mutex_lock(&r->lock);
	end = r->end;
	if (end == RELAY_FAILED)
		error_set(err, r->why ? r->why->code : EIO, "%s", error_text(r->why));
	pthread_mutex_unlock(&r->lock);
	return end;
}

void relay_set_pacer(struct relay *r, struct pacer *pacer)
{
	r->pacer = pacer;
}

void relay_stats(struct relay *r, struct relay_stats *stats)
{
	pthread_mutex_lock(&r->lock);
	*stats = r->stats;
	pthread_mutex_unlock(&r->lock);
}

int relay_start_pair(struct channel *channel, int64_t silence_ms, struct relay **relay,
		     struct error **err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		channel_destroy(channel);
		return error_errno(err, "socket pair");
	}
	*relay = relay_start(channel, ends[0], silence_ms, err);
	if (!*relay) {
		close(ends[1]);
		return -1;
	}
	return ends[1];
}
