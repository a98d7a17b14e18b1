/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/transport/frame.h"

#define LOG_MODULE "relay"

/*
 * Theory of operation
 *
 * One thread, two directions, no queue: `out` holds one frame on its way to the channel, `in` the
 * decrypted bytes that the local stream has not yet taken. The local stream is read only when
 * `out` is empty, the channel only when `in` has been drained, so a slow side holds the other one
 * back through the sockets' own buffers, and memory stays at two frames.
 *
 * A direction ends when its reader sees the end of its stream: it sends EOF; the writer at the
 * far side then shuts its local stream down for writing. When both have ended and what we sent is
 * acknowledged, the relay has ended in order. Anything else that ends it is a failure, told to
 * the far side by an ERROR frame where that still gets through.
 *
 * Twice a second the sender looks at the connection's subflows, keeps the counters of each (they
 * vanish from the kernel's list with the subflow) and grows the buffers to what their rates and
 * round-trip times ask for; PING carries that wish to the receiver.
 */
#define TICK_MS	   500
#define ACK_BYTES  (1u << 20)
#define ACK_NS	   (200 * NS_PER_MS)
#define PING_NS	   NS_PER_SEC
#define BUFFER_CAP ((uint64_t)64 << 20)

struct relay {
	struct channel *channel;
	int local;     /* -1: still to come, from listen_fd */
	int listen_fd; /* -1: not needed (any more) */
	int wake;      /* eventfd: stop */
	pthread_t thread;
	int64_t silence_ns;

	/* the thread's own */
	uint8_t out[FRAME_HEADER_SIZE + FRAME_MOST];
	size_t out_size, out_done;
	uint8_t in[FRAME_HEADER_SIZE + FRAME_MOST];
	size_t in_size, in_done;
	struct frame frame; /* being received; in_frame bytes of its payload are still to come */
	size_t in_frame;
	bool local_ended; /* our stream gave its end */
	bool eof_sent, eof_received;
	bool wants_ping;
	char *farewell;	   /* sent as ERROR before the relay fails */
	uint64_t acked_at; /* bytes received when we last sent ACK */
	int64_t last_heard, last_sent, last_ack, last_tick;
	uint64_t wanted_buffer;

	pthread_mutex_t lock; /* of what follows */
	struct relay_stats stats;
	enum relay_end end;
	struct error *why;
};

static bool same_subflow(const struct subflow *a, const struct subflow *b)
{
	return a->local_port == b->local_port && a->remote_port == b->remote_port &&
	       ip_same(&a->local, &b->local) && ip_same(&a->remote, &b->remote);
}

/* Under lock. */
static void remember_subflow(struct relay_stats *stats, const struct subflow *now)
{
	size_t i = 0;

	while (i < stats->n_subflows && !same_subflow(&stats->subflows[i], now))
		i++;
	if (i == MPTCP_MAX_SUBFLOWS)
		return;
	if (i == stats->n_subflows)
		stats->n_subflows++;
	if (now->bytes_acked + now->bytes_received !=
	    stats->subflows[i].bytes_acked + stats->subflows[i].bytes_received)
		stats->progress_ns[i] = clock_ns();
	stats->subflows[i] = *now;
}

static void look_at_connection(struct relay *r)
{
	struct mptcp_state state;
	uint64_t rate = 0, rtt = 0;
	uint64_t wanted;

	if (mptcp_state(r->channel->fd, &state, NULL) < 0)
		return;
	pthread_mutex_lock(&r->lock);
	r->stats.negotiated = state.negotiated;
	r->stats.why_not = state.why_not;
	for (size_t i = 0; i < state.n_subflows; i++) {
		const struct subflow *s = &state.subflows[i];

		remember_subflow(&r->stats, s);
		rate += s->delivery_rate * 8;
		if (s->min_rtt_us > rtt && s->min_rtt_us != UINT32_MAX)
			rtt = s->min_rtt_us;
	}
	pthread_mutex_unlock(&r->lock);
	wanted = mptcp_buffer_for(rate, rtt);
	if (wanted > BUFFER_CAP)
		wanted = BUFFER_CAP;
	if (wanted > r->wanted_buffer + r->wanted_buffer / 4) {
		r->wanted_buffer = wanted;
		mptcp_grow_buffers(r->channel->fd, wanted);
		r->wants_ping = true;
	}
}

static void compose(struct relay *r, enum frame_type type, uint32_t length, uint64_t sequence)
{
	struct frame frame = {.type = type, .length = length, .sequence = sequence};

	frame_encode(&frame, r->out);
	r->out_size = FRAME_HEADER_SIZE + length;
	r->out_done = 0;
}

/* Fills `out` with whatever is due next. Returns 1: there is something; 0: nothing; -1 failed. */
static int compose_next(struct relay *r, struct error **err)
{
	uint64_t received = r->stats.received; /* only this thread writes it */
	int64_t now = clock_ns();
	ssize_t n;

	if (r->farewell) {
		size_t length = strnlen(r->farewell, 512);

		memcpy(r->out + FRAME_HEADER_SIZE, r->farewell, length);
		compose(r, FRAME_ERROR, (uint32_t)length, 0);
		return 1;
	}
	if (received - r->acked_at >= ACK_BYTES ||
	    (received > r->acked_at && now - r->last_ack >= ACK_NS) ||
	    (received > r->acked_at && r->eof_received)) {
		compose(r, FRAME_ACK, 0, received);
		r->acked_at = received;
		r->last_ack = now;
		return 1;
	}
	if (r->wants_ping || now - r->last_sent >= PING_NS) {
		put_be64(r->out + FRAME_HEADER_SIZE, r->wanted_buffer);
		compose(r, FRAME_PING, 8, 0);
		r->wants_ping = false;
		return 1;
	}
	if (r->local_ended) {
		if (r->eof_sent)
			return 0;
		compose(r, FRAME_EOF, 0, r->stats.sent);
		r->eof_sent = true;
		return 1;
	}
	n = recv(r->local, r->out + FRAME_HEADER_SIZE, FRAME_MOST, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_errno(err, "local stream");
	if (n == 0) {
		r->local_ended = true;
		return compose_next(r, err);
	}
	compose(r, FRAME_DATA, (uint32_t)n, r->stats.sent);
	pthread_mutex_lock(&r->lock);
	r->stats.sent += (uint64_t)n;
	if (!r->stats.first_byte_ns)
		r->stats.first_byte_ns = now;
	pthread_mutex_unlock(&r->lock);
	return 1;
}

/* Moves bytes to the channel until it, or the local stream, has no more. */
static int send_some(struct relay *r, struct error **err)
{
	for (;;) {
		ssize_t n;

		if (r->out_done == r->out_size) {
			int more = compose_next(r, err);

			if (more <= 0)
				return more;
		}
		n = tls_write(r->channel->tls, r->out + r->out_done, r->out_size - r->out_done,
			      err);
		if (n <= 0)
			return (int)n;
		r->out_done += (size_t)n;
		r->last_sent = clock_ns();
		if (r->farewell && r->out_done == r->out_size)
			return 0;
	}
}

/* A whole frame that is not DATA stands in `in`. */
static int take_frame(struct relay *r, const uint8_t *payload, struct error **err)
{
	switch (r->frame.type) {
	case FRAME_ACK:
		if (r->frame.sequence > r->stats.sent)
			return error_set(err, EPROTO,
					 "the far side acknowledged %llu bytes, expected at most "
					 "the %llu that were sent",
					 (unsigned long long)r->frame.sequence,
					 (unsigned long long)r->stats.sent);
		pthread_mutex_lock(&r->lock);
		r->stats.delivered = r->frame.sequence;
		pthread_mutex_unlock(&r->lock);
		return 0;
	case FRAME_PING: {
		uint64_t wanted = get_be64(payload);

		if (wanted)
			mptcp_grow_buffers(r->channel->fd,
					   wanted < BUFFER_CAP ? wanted : BUFFER_CAP);
		return 0;
	}
	case FRAME_EOF:
		if (r->frame.sequence != r->stats.received)
			return error_set(err, EPROTO,
					 "the stream ended at byte %llu, expected %llu",
					 (unsigned long long)r->frame.sequence,
					 (unsigned long long)r->stats.received);
		r->eof_received = true;
		shutdown(r->local, SHUT_WR);
		return 0;
	case FRAME_ERROR:
		return error_set(err, ECONNABORTED, "the far side gave up: %.*s",
				 (int)r->frame.length, (const char *)payload);
	default:
		return error_set(err, EPROTO, "a frame of type %d in the middle of a stream",
				 r->frame.type);
	}
}

/* Hands DATA to the local stream. 1: moved some; 0: the local stream is full; -1. */
static int deliver(struct relay *r, struct error **err)
{
	size_t ready = r->in_size - r->in_done;
	ssize_t n;

	if (ready > r->in_frame)
		ready = r->in_frame;
	n = send(r->local, r->in + r->in_done, ready, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_errno(err, "local stream");
	r->in_done += (size_t)n;
	r->in_frame -= (size_t)n;
	pthread_mutex_lock(&r->lock);
	r->stats.received += (uint64_t)n;
	pthread_mutex_unlock(&r->lock);
	return 1;
}

static int start_frame(struct relay *r, struct error **err)
{
	if (frame_decode(r->in + r->in_done, &r->frame, err) < 0)
		return -1;
	if (r->frame.type != FRAME_DATA)
		return 0;
	if (r->eof_received || r->frame.sequence != r->stats.received)
		return error_set(err, EPROTO, "data for byte %llu, expected %llu",
				 (unsigned long long)r->frame.sequence,
				 (unsigned long long)r->stats.received);
	r->in_done += FRAME_HEADER_SIZE;
	r->in_frame = r->frame.length;
	return 0;
}

/* Consumes what stands in `in`. 1: needs more bytes; 0: the local stream is full; -1. */
static int consume(struct relay *r, struct error **err)
{
	for (;;) {
		size_t ready = r->in_size - r->in_done;
		int n;

		if (r->in_frame) {
			if (!ready)
				return 1;
			n = deliver(r, err);
			if (n <= 0)
				return n;
			continue;
		}
		if (ready < FRAME_HEADER_SIZE)
			return 1;
		if (start_frame(r, err) < 0)
			return -1;
		if (r->in_frame)
			continue;
		if (ready < FRAME_HEADER_SIZE + r->frame.length)
			return 1;
		if (take_frame(r, r->in + r->in_done + FRAME_HEADER_SIZE, err) < 0)
			return -1;
		r->in_done += FRAME_HEADER_SIZE + r->frame.length;
	}
}

/* 1: the local stream holds us back; 0: the channel has no more for now; -1 failed. */
static int receive_some(struct relay *r, struct error **err)
{
	for (;;) {
		int state = consume(r, err);
		ssize_t n;

		if (state <= 0)
			return state < 0 ? -1 : 1;
		memmove(r->in, r->in + r->in_done, r->in_size - r->in_done);
		r->in_size -= r->in_done;
		r->in_done = 0;
		n = tls_read(r->channel->tls, r->in + r->in_size, sizeof(r->in) - r->in_size, err);
		if (n <= 0)
			return (int)n;
		r->in_size += (size_t)n;
		r->last_heard = clock_ns();
	}
}

static bool finished(const struct relay *r)
{
	return r->eof_sent && r->eof_received && r->out_done == r->out_size &&
	       r->stats.delivered == r->stats.sent && r->acked_at == r->stats.received;
}

static int check_silence(struct relay *r, struct error **err)
{
	int64_t now = clock_ns();

	if (now - r->last_heard < r->silence_ns)
		return 0;
	return error_set(err, ETIMEDOUT, "no sign of life from the far side for %.0f s",
			 (double)(now - r->last_heard) / 1e9);
}

/* Until the relay has ended (0), was told to stop (1) or failed (-1). */
static int relay_loop(struct relay *r, struct error **err)
{
	for (;;) {
		struct pollfd p[3] = {{.fd = r->wake, .events = POLLIN},
				      {.fd = r->channel->fd, .events = POLLIN},
				      {.fd = r->local}};
		int held;

		if (clock_ns() - r->last_tick >= TICK_MS * NS_PER_MS) {
			look_at_connection(r);
			r->last_tick = clock_ns();
		}
		held = receive_some(r, err);
		if (held < 0 || send_some(r, err) < 0)
			return -1;
		if (finished(r))
			return 0;
		if (check_silence(r, err) < 0)
			return -1;
		if (held) {
			p[1].events = 0;
			p[2].events |= POLLOUT;
		}
		if (r->out_done < r->out_size)
			p[1].events |= POLLOUT;
		else if (!r->local_ended)
			p[2].events |= POLLIN;
		if (!p[2].events)
			p[2].fd = -1; /* else POLLHUP of an ended stream would spin */
		if (!p[1].events)
			p[1].fd = -1;
		if (poll(p, 3, 100) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
			return 1;
	}
}

/* Tells the far side why, for as long as the connection takes it at once. */
static void say_farewell(struct relay *r, const struct error *why)
{
	r->farewell = why->message;
	/* a frame that was half sent has to be finished first */
	for (int tries = 0; tries < 20; tries++) {
		if (send_some(r, NULL) < 0)
			return;
		if (r->out_size && r->out_done == r->out_size && r->out[0] == FRAME_ERROR)
			return;
		clock_sleep_ms(10);
	}
}

/* 0: the local stream is there; 1: told to stop; -1. */
static int await_local(struct relay *r, struct error **err)
{
	struct pollfd p[2] = {{.fd = r->wake, .events = POLLIN},
			      {.fd = r->listen_fd, .events = POLLIN}};

	while (r->local < 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[0].revents)
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

static void *relay_main(void *arg)
{
	struct relay *r = arg;
	struct error *why = NULL;
	int result = await_local(r, &why);

	if (result == 0)
		result = relay_loop(r, &why);

	look_at_connection(r);
	if (result < 0) {
		error_wrap(&why, "channel %s", r->channel->name);
		log_info("%s", error_text(why)); /* whether it matters, its owner knows */
		say_farewell(r, why);
	}
	pthread_mutex_lock(&r->lock);
	r->end = result < 0 ? RELAY_FAILED : RELAY_ENDED;
	r->why = why;
	pthread_mutex_unlock(&r->lock);
	/* Whoever reads or writes the local stream learns of it now. */
	if (r->local >= 0)
		shutdown(r->local, SHUT_RDWR);
	return NULL;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* One of local_fd and listen_fd is -1. */
static struct relay *start(struct channel *channel, int local_fd, int listen_fd, int64_t silence_ms,
			   struct error **err)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r)
		r->wake = eventfd(0, EFD_CLOEXEC);
	if (!r || r->wake < 0) {
		free(r);
		close_if_open(local_fd);
		close_if_open(listen_fd);
		channel_destroy(channel);
		error_set(err, ENOMEM, "no memory for a relay");
		return NULL;
	}
	r->channel = channel;
	r->local = local_fd;
	r->listen_fd = listen_fd;
	r->silence_ns = silence_ms * NS_PER_MS;
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
	if (!pthread_equal(r->thread, pthread_self()) &&
	    write_all(r->wake, &one, sizeof(one), NULL) == 0)
		pthread_join(r->thread, NULL);
	channel_destroy(r->channel);
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
