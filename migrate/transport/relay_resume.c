/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_MODULE "relay"

/*
 * Theory of operation
 *
 *	source		running --reset, or 6 s of silence--> lost --dial--> running
 *						    patience over, refused --> failed
 *	destination	running --offer of a later generation--> running, over that one
 *			running --reset--> waits for an offer, GRACE at the most --> failed
 *			running --silence for all its patience--> failed
 *
 * The source drops its connection and connects again and again. It says how many bytes it has
 * received in the HELLO, the destination answers with its own count (RESUME); each side forgets
 * what arrived and sends the rest of what it kept again. What it kept is bounded by the window.
 *
 * Nothing of a connection outlives it: half-moved frames are forgotten at both ends, bytes are read
 * from the newest connection only, and an offer must be of a later generation than any before.
 *
 * The destination keeps a silent connection: where the source has given up meanwhile, its kernel
 * says so as soon as a path is back. A reset has come through, so paths are there, and a source
 * that lives is here within GRACE.
 *
 * Given up is at once when the destination says that it does not know the channel any more, and
 * soon when nobody listens at an address where it had been.
 */
/*
 * Less than three SYNs: when MPTCP's go unanswered so often and TCP's is answered, the kernel takes
 * the way for one that swallows MPTCP, and does without for an hour (net.mptcp.blackhole_timeout).
 */
#define ADDRESS_NS (1900 * NS_PER_MS)
#define ANSWER_NS  (10 * NS_PER_SEC)
#define GRACE_NS   (10 * NS_PER_SEC)
#define REFUSED_NS (2 * NS_PER_SEC)
#define PAUSE_MS   250 /* between two rounds over the addresses; doubled up to */
#define PAUSE_MOST 2000

void relay_set_patience(struct relay *r, int64_t patience_ns)
{
	uint64_t one = 1;

	r->patience_ns = patience_ns > r->least_patience_ns ? patience_ns : r->least_patience_ns;
	(void)write_all(r->wake, &one, sizeof(one), NULL);
}

/* ---- Going on ---- */

/* told: bytes of ours that the far side has; from what was acknowledged to what was sent. */
static void go_on_with(struct relay *r, struct channel *channel, uint64_t told)
{
	int64_t now = clock_ns();

	channel_destroy(r->channel);
	r->channel = channel;
	r->broken = false;
	unacked_drop(&r->unacked, told);
	r->again_at = told;
	r->again_now = 0;
	if (r->local_ended)
		r->eof_sent = false;
	r->acked_at = r->stats.received; /* the far side was told */
	pthread_mutex_lock(&r->lock);
	r->generation = channel->generation;
	r->stats.delivered = told;
	r->stats.resumed++;
	r->stats.stood_ns += now - r->last_heard;
	r->stats.lost_ns = 0;
	pthread_mutex_unlock(&r->lock);
	if (!r->over)
		log_info("channel %s: goes on over connection %u after %.1f s, %llu bytes are sent "
			 "again",
			 r->name, channel->generation + 1, (double)(now - r->last_heard) / 1e9,
			 (unsigned long long)(r->stats.sent - told));
	r->last_heard = r->last_sent = r->last_ack = now;
	r->widest = 0;
	r->wants_ping = true;
	mptcp_grow_buffers(channel->fd, r->wanted_buffer);
	relay_watch(r); /* nothing is sent before the new window is known */
}

static bool could_have(const struct relay *r, uint64_t told)
{
	return told >= r->stats.delivered && told <= r->stats.sent;
}

/* ---- The destination's side ---- */

/* Under lock: whether it could go on over that channel. */
static int check_offer(const struct relay *r, const struct channel *channel, struct error **err)
{
	uint32_t latest = r->offered ? r->offered->generation : r->generation;

	if (!r->resume || r->resume->dials || !channel->may_resume || r->left)
		return error_set(err, ENOTCONN, "it can't be opened again");
	if (channel->generation <= latest)
		return error_set(err, EPROTO, "found generation %u, expected one after %u",
				 channel->generation, latest);
	if (!could_have(r, channel->received))
		return error_set(err, EPROTO, "found %llu bytes received, expected %llu to %llu",
				 (unsigned long long)channel->received,
				 (unsigned long long)r->stats.delivered,
				 (unsigned long long)r->stats.sent);
	return 0;
}

int relay_offer(struct relay *r, struct channel *channel, struct error **err)
{
	struct channel *unwanted = channel;
	struct error *why = NULL;
	uint64_t one = 1;

	pthread_mutex_lock(&r->lock);
	if (check_offer(r, channel, &why) == 0) {
		unwanted = r->offered;
		r->offered = channel;
	}
	pthread_mutex_unlock(&r->lock);
	if (why) {
		error_wrap(&why, "channel %s", r->name);
		channel_refuse(channel, error_text(why));
	}
	channel_destroy(unwanted);
	(void)write_all(r->wake, &one, sizeof(one), NULL);
	return why ? error_propagate(err, why) : 0;
}

void relay_take_offer(struct relay *r)
{
	struct channel *channel;

	pthread_mutex_lock(&r->lock);
	channel = r->offered;
	r->offered = NULL;
	pthread_mutex_unlock(&r->lock);
	if (!channel)
		return;
	if (!could_have(r, channel->received)) { /* more was acknowledged in the meantime */
		channel_refuse(channel, "it has acknowledged more by now");
		channel_destroy(channel);
		return;
	}
	relay_forget_frames(r);
	r->answer = true;
	go_on_with(r, channel, channel->received);
}

/* Somebody wrote to `wake`, or so much time is over. */
static void wait_for_wake(struct relay *r, int64_t ns)
{
	struct pollfd p = {.fd = r->wake, .events = POLLIN};
	eventfd_t count;

	if (ns > 0)
		poll(&p, 1, (int)((ns + NS_PER_MS - 1) / NS_PER_MS));
	(void)eventfd_read(r->wake, &count);
}

/* 0: another connection; 1: told to stop; -1 with *err untouched: none came. */
static int wait_for_offer(struct relay *r, const struct error *lost)
{
	bool heard = lost->code == ECONNRESET || lost->code == EPIPE || lost->code == EPROTO;
	int64_t grace = heard ? clock_ns() + GRACE_NS : INT64_MAX;

	while (!r->stop) {
		int64_t until = r->last_heard + r->patience_ns;
		int64_t now = clock_ns();

		relay_take_offer(r);
		if (r->channel)
			return 0;
		if (until > grace)
			until = grace;
		if (now >= until)
			return -1;
		wait_for_wake(r, until - now);
	}
	return 1;
}

/* ---- The source's side ---- */

/* The answer to a channel that was opened again; what comes behind it is in `in`. */
static int await_answer(struct relay *r, struct channel *channel, int64_t deadline, uint64_t *told,
			struct error **err)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = channel->fd}, {.fd = r->wake, .events = POLLIN}};
		int64_t left = deadline - clock_ns();
		ssize_t n =
			channel_read(channel, r->in + r->in_size, sizeof(r->in) - r->in_size, err);

		if (n < 0)
			return -1;
		r->in_size += (size_t)n;
		if (r->in_size >= FRAME_HEADER_SIZE) {
			if (frame_decode(r->in, &r->frame, err) < 0)
				return -1;
			r->in_done = FRAME_HEADER_SIZE;
			*told = r->frame.sequence;
			if (r->frame.type != FRAME_ERROR ||
			    r->in_size >= FRAME_HEADER_SIZE + r->frame.length)
				return 0;
		}
		if (n > 0)
			continue;
		if (left <= 0)
			return error_set(err, ETIMEDOUT, "no answer to a resumption");
		p[0].events = channel_wants(channel);
		if (poll(p, 2, (int)(left / NS_PER_MS) + 1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[1].revents)
			return error_set(err, ECANCELED, "given up");
	}
}

/* ECONNABORTED: it will never do. */
static int check_answer(const struct relay *r, uint64_t told, struct error **err)
{
	if (r->frame.type == FRAME_ERROR)
		return error_set(err, ECONNABORTED, "the far side does not go on: %.*s",
				 (int)r->frame.length, (const char *)r->in + FRAME_HEADER_SIZE);
	if (r->frame.type != FRAME_RESUME)
		return error_set(err, ECONNABORTED, "found a frame of type %d, expected RESUME",
				 r->frame.type);
	if (could_have(r, told))
		return 0;
	return error_set(err, ECONNABORTED, "the far side has %llu bytes, expected %llu to %llu",
			 (unsigned long long)told, (unsigned long long)r->stats.delivered,
			 (unsigned long long)r->stats.sent);
}

static int dial_once(struct relay *r, int64_t deadline, struct error **err)
{
	int64_t answered = clock_ns() + ANSWER_NS;
	struct channel *channel;
	uint32_t generation;
	uint64_t told = 0;

	pthread_mutex_lock(&r->lock);
	/* Those that come to nothing count, too: they may have arrived. */
	generation = ++r->generation;
	pthread_mutex_unlock(&r->lock);
	relay_forget_frames(r);
	channel = channel_dial(&r->resume->way, r->name, generation, r->stats.received, ADDRESS_NS,
			       r->wake, deadline, err);
	if (!channel)
		return -1;
	if (answered > deadline)
		answered = deadline;
	if (await_answer(r, channel, answered, &told, err) < 0 || check_answer(r, told, err) < 0) {
		channel_destroy(channel);
		return -1;
	}
	go_on_with(r, channel, told);
	return 0;
}

/*
 * Whether another attempt would be in vain: the far side says so, or nobody listens there. The
 * latter may be a firewall that is just being loaded; but where nobody has patience, once is
 * enough.
 */
static bool in_vain(const struct relay *r, const struct error *why, int64_t *refused_ns)
{
	if (why->code != ECONNREFUSED) {
		*refused_ns = 0;
		return why->code == ECONNABORTED;
	}
	if (!*refused_ns)
		*refused_ns = clock_ns();
	return r->patience_ns <= r->least_patience_ns || clock_ns() - *refused_ns >= REFUSED_NS;
}

/* As relay_regain. */
static int dial(struct relay *r, struct error **err)
{
	int64_t refused_ns = 0;
	int pause_ms = PAUSE_MS;

	while (!r->stop) {
		struct error *why = NULL;
		int64_t left = r->last_heard + r->patience_ns - clock_ns();

		if (left <= 0)
			return -1;
		if (dial_once(r, clock_ns() + left, &why) == 0)
			return 0;
		if (in_vain(r, why, &refused_ns))
			return error_propagate(err, why);
		if (why->code == ECANCELED)
			pause_ms = 0;
		error_free(why);
		wait_for_wake(r, left < pause_ms * NS_PER_MS ? left : pause_ms * NS_PER_MS);
		pause_ms = pause_ms ? 2 * pause_ms : PAUSE_MS;
		if (pause_ms > PAUSE_MOST)
			pause_ms = PAUSE_MOST;
	}
	return 1;
}

int relay_regain(struct relay *r, struct error *lost, struct error **err)
{
	struct error *why = NULL;
	int result;

	if (!r->over)
		log_info("channel %s: the connection is lost: %s", r->name, error_text(lost));
	channel_destroy(r->channel);
	r->channel = NULL;
	relay_forget_frames(r);
	pthread_mutex_lock(&r->lock);
	r->stats.lost_ns = r->last_heard;
	pthread_mutex_unlock(&r->lock);
	result = r->resume->dials ? dial(r, &why) : wait_for_offer(r, lost);
	if (result >= 0) {
		error_free(lost);
		return result;
	}
	if (why)
		error_wrap(&why, "%s", error_text(lost));
	else
		error_set(&why, lost->code, "lost for %.0f s, and not resumed; at first: %s",
			  (double)(clock_ns() - r->last_heard) / 1e9, error_text(lost));
	error_free(lost);
	return error_propagate(err, why);
}
