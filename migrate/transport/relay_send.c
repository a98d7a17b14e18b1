/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/clock.h"

#define ACK_BYTES (128u << 10) /* what is on its way is known to the sender as exactly as that */
#define ACK_NS	  (50 * NS_PER_MS)
#define PING_NS	  NS_PER_SEC

static void compose(struct relay *r, enum frame_type type, uint32_t length, uint64_t sequence)
{
	struct frame frame = {.type = type, .length = length, .sequence = sequence};

	frame_encode(&frame, r->out);
	r->out_size = FRAME_HEADER_SIZE + length;
	r->out_done = 0;
}

static void compose_eof(struct relay *r)
{
	compose(r, FRAME_EOF, 0, r->stats.sent);
	r->eof_sent = true;
}

static bool has_to_repeat(const struct relay *r)
{
	return r->resume && r->again_at < r->stats.sent;
}

/* What a frame of data may have by now: by the windows, and by the pacer; 0: nothing. */
static uint64_t room_for_data(struct relay *r, struct pacer *pacer)
{
	uint64_t from = has_to_repeat(r) ? r->again_at : r->stats.sent;
	uint64_t on_its_way = from - r->stats.delivered;
	uint64_t room = FRAME_MOST;
	int64_t wait_ns = 0;

	r->window_full = on_its_way >= relay_window(r);
	if (r->window_full)
		return 0;
	if (r->resume && room > r->resume->window - on_its_way)
		room = r->resume->window - on_its_way;
	if (pacer)
		room = pacer_draw(pacer, room, &wait_ns);
	r->paced_ns = room ? 0 : clock_ns() + wait_ns;
	return room;
}

/* Takes into a frame what did not arrive before a loss. */
static uint64_t compose_again(struct relay *r, uint64_t room)
{
	uint64_t left = r->stats.sent - r->again_at;
	uint64_t n = left < room ? left : room;

	unacked_get(&r->unacked, r->again_at, r->out + FRAME_HEADER_SIZE, n);
	compose(r, FRAME_DATA, (uint32_t)n, r->again_at);
	r->again_at += n;
	r->again_now += n;
	pthread_mutex_lock(&r->lock);
	r->stats.again += n;
	if (r->stats.again_most < r->again_now)
		r->stats.again_most = r->again_now;
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* Takes what the local stream has into a frame, as far as the pacer allows. As compose_next. */
static int compose_data(struct relay *r, struct error **err)
{
	struct pacer *pacer = r->pacer;
	uint64_t room = room_for_data(r, pacer);
	ssize_t n;

	if (!room)
		return 0;
	if (has_to_repeat(r)) {
		n = (ssize_t)compose_again(r, room);
		if (pacer)
			pacer_give_back(pacer, room - (uint64_t)n);
		return 1;
	}
	n = recv(r->local, r->out + FRAME_HEADER_SIZE, room, MSG_DONTWAIT);
	if (pacer)
		pacer_give_back(pacer, room - (n > 0 ? (uint64_t)n : 0));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_errno(err, "local stream");
	if (n == 0) {
		r->local_ended = true;
		compose_eof(r);
		return 1;
	}
	if (r->resume && unacked_put(&r->unacked, r->out + FRAME_HEADER_SIZE, (size_t)n, err) < 0)
		return -1;
	compose(r, FRAME_DATA, (uint32_t)n, r->stats.sent);
	r->again_at = r->stats.sent + (uint64_t)n;
	pthread_mutex_lock(&r->lock);
	r->stats.sent += (uint64_t)n;
	if (!r->stats.first_byte_ns)
		r->stats.first_byte_ns = clock_ns();
	pthread_mutex_unlock(&r->lock);
	return 1;
}

/* Fills `out` with whatever is due next. Returns 1: there is something; 0: nothing; -1 failed. */
static int compose_next(struct relay *r, struct error **err)
{
	uint64_t received = r->stats.received; /* only this thread writes it */
	int64_t now = clock_ns();

	if (r->farewell) {
		size_t length = strnlen(r->farewell, 512);

		memcpy(r->out + FRAME_HEADER_SIZE, r->farewell, length);
		compose(r, FRAME_ERROR, (uint32_t)length, 0);
		return 1;
	}
	if (r->answer) {
		compose(r, FRAME_RESUME, 0, received);
		r->answer = false;
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
	if (!r->local_ended || has_to_repeat(r))
		return compose_data(r, err);
	if (r->eof_sent)
		return 0;
	compose_eof(r);
	return 1;
}

/* Moves bytes to the channel until it, or the local stream, has no more. */
int relay_send_some(struct relay *r, struct error **err)
{
	for (int writes = 0; writes < RELAY_TURN; writes++) {
		ssize_t n;

		if (r->out_done == r->out_size) {
			int more = compose_next(r, err);

			if (more <= 0)
				return more;
		}
		n = channel_write(r->channel, r->out + r->out_done, r->out_size - r->out_done, err);
		r->broken |= n < 0;
		if (n <= 0)
			return (int)n;
		r->out_done += (size_t)n;
		r->last_sent = clock_ns();
		if (r->farewell && r->out_done == r->out_size)
			return 0;
	}
	r->more = true;
	return 0;
}

/* Tells the far side why, for as long as the connection takes it at once. */
void relay_say_farewell(struct relay *r, const struct error *why)
{
	if (!r->channel)
		return;
	r->farewell = why->message;
	/* a frame that was half sent has to be finished first */
	for (int tries = 0; tries < 20; tries++) {
		if (relay_send_some(r, NULL) < 0)
			return;
		if (r->out_size && r->out_done == r->out_size && r->out[0] == FRAME_ERROR)
			return;
		clock_sleep_ms(10);
	}
}
