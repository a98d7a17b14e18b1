/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/relay_internal.h"

#include <string.h>

#include "common/clock.h"

#define GROWTH_NS    (500 * NS_PER_MS)
#define START_WINDOW ((uint64_t)256 << 10) /* bytes; windows are small at first, and open */

static bool same_subflow(const struct subflow *a, const struct subflow *b)
{
	return a->local_port == b->local_port && a->remote_port == b->remote_port &&
	       ip_same(&a->local, &b->local) && ip_same(&a->remote, &b->remote);
}

/* Of many connections, one after the other, the oldest subflow gives way. */
static size_t longest_quiet(const struct relay_stats *stats)
{
	size_t oldest = 0;

	for (size_t i = 1; i < stats->n_subflows; i++)
		if (stats->progress_ns[i] < stats->progress_ns[oldest])
			oldest = i;
	return oldest;
}

/* Under lock. */
static void remember_subflow(struct relay_stats *stats, const struct subflow *now)
{
	size_t i = 0;

	while (i < stats->n_subflows && !same_subflow(&stats->subflows[i], now))
		i++;
	if (i == MPTCP_MAX_SUBFLOWS) {
		i = longest_quiet(stats);
	} else if (i == stats->n_subflows) {
		stats->n_subflows++;
	}
	if (now->bytes_acked + now->bytes_received !=
	    stats->subflows[i].bytes_acked + stats->subflows[i].bytes_received)
		stats->progress_ns[i] = clock_ns();
	stats->subflows[i] = *now;
}

/*
 * The subflows of an MPTCP connection share one receive window, and each knows it as of its own
 * latest acknowledgement. Senders that fill it run past its end: the receiver acknowledges such
 * segments to the subflow and then drops them (MPTcpExtNoDSSInWindow, seen up to Linux 6.18), and
 * they are sent again one in a timeout, a minute for some hundred of them. So we stay below. The
 * window is at its widest, W, when nothing lies in it; what waits for an earlier segment makes it
 * narrower, and has to fit into it all the same: x <= W - x.
 */
uint64_t relay_window(const struct relay *r)
{
	uint64_t half = r->widest * 9 / 20; /* nearly */

	uint64_t most = r->resume ? r->resume->window : UINT64_MAX;

	if (!r->widest)
		return most;
	if (half < START_WINDOW)
		half = START_WINDOW;
	return half < most ? half : most;
}

void relay_watch(struct relay *r)
{
	struct mptcp_state state;
	uint64_t rate = 0, rtt = 0;
	uint64_t wanted;

	if (!r->channel || mptcp_state(r->channel->fd, &state, NULL) < 0)
		return;
	pthread_mutex_lock(&r->lock);
	r->stats.negotiated = state.negotiated;
	r->stats.why_not = state.why_not;
	for (size_t i = 0; i < state.n_subflows; i++) {
		const struct subflow *s = &state.subflows[i];

		remember_subflow(&r->stats, s);
		rate += s->delivery_rate * 8;
		if (state.negotiated && s->send_window > r->widest)
			r->widest = s->send_window;
		if (s->min_rtt_us > rtt && s->min_rtt_us != UINT32_MAX)
			rtt = s->min_rtt_us;
	}
	pthread_mutex_unlock(&r->lock);
	/* The more often a rate is asked for, the higher its peak: buffers never shrink. */
	if (clock_ns() - r->last_growth < GROWTH_NS)
		return;
	r->last_growth = clock_ns();
	wanted = mptcp_buffer_for(rate, rtt);
	if (wanted > RELAY_BUFFER_CAP)
		wanted = RELAY_BUFFER_CAP;
	if (wanted > r->wanted_buffer + r->wanted_buffer / 4) {
		r->wanted_buffer = wanted;
		mptcp_grow_buffers(r->channel->fd, wanted);
		r->wants_ping = true;
	}
}
