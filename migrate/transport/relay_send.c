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

/* Takes what the local stream has into a frame, as far as the pacer allows. As compose_next. */
static int compose_data(struct relay *r, struct error **err)
{
	struct pacer *pacer = r->pacer;
	uint64_t room = FRAME_MOST;
	int64_t wait_ns = 0;
	ssize_t n;

	r->window_full = r->stats.sent - r->stats.delivered >= relay_window(r);
	if (r->window_full)
		return 0;
	if (pacer)
		room = pacer_draw(pacer, FRAME_MOST, &wait_ns);
	r->paced_ns = room ? 0 : clock_ns() + wait_ns;
	if (!room)
		return 0;
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
	compose(r, FRAME_DATA, (uint32_t)n, r->stats.sent);
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
	if (!r->local_ended)
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
