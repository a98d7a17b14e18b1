/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/clock.h"

void relay_forget_frames(struct relay *r)
{
	r->in_size = r->in_done = r->in_frame = 0;
	r->out_size = r->out_done = 0;
}

static int take_ack(struct relay *r, struct error **err)
{
	uint64_t acked = r->frame.sequence;

	if (acked > r->stats.sent || acked < r->stats.delivered)
		return error_set(err, EPROTO,
				 "the far side acknowledged %llu bytes, expected %llu to the %llu "
				 "that were sent",
				 (unsigned long long)acked, (unsigned long long)r->stats.delivered,
				 (unsigned long long)r->stats.sent);
	pthread_mutex_lock(&r->lock);
	r->stats.delivered = acked;
	pthread_mutex_unlock(&r->lock);
	unacked_drop(&r->unacked, acked);
	if (r->again_at < acked)
		r->again_at = acked;
	return 0;
}

/* A whole frame that is not DATA stands in `in`. */
static int take_frame(struct relay *r, const uint8_t *payload, struct error **err)
{
	switch (r->frame.type) {
	case FRAME_ACK:
		return take_ack(r, err);
	case FRAME_PING: {
		uint64_t wanted = get_be64(payload);

		if (wanted)
			mptcp_grow_buffers(r->channel->fd,
					   wanted < RELAY_BUFFER_CAP ? wanted : RELAY_BUFFER_CAP);
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
int relay_receive_some(struct relay *r, struct error **err)
{
	for (int reads = 0; reads < RELAY_TURN; reads++) {
		int state = consume(r, err);
		ssize_t n;

		if (state <= 0)
			return state < 0 ? -1 : 1;
		memmove(r->in, r->in + r->in_done, r->in_size - r->in_done);
		r->in_size -= r->in_done;
		r->in_done = 0;
		n = channel_read(r->channel, r->in + r->in_size, sizeof(r->in) - r->in_size, err);
		r->broken |= n < 0;
		if (n <= 0)
			return (int)n;
		r->in_size += (size_t)n;
		r->last_heard = clock_ns();
	}
	r->more = true; /* there may be: the other direction gets its turn first */
	return 0;
}
