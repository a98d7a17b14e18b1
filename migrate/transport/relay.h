/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_RELAY_H
#define TRANSPORT_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/transport/channel.h"
#include "migrate/transport/mptcp.h"
#include "migrate/transport/pacer.h"

/*
 * A relay carries a local byte stream (a hypervisor's socket, an NBD socket, the worker's end of
 * control) over a channel, both ways, in a thread of its own. The far side runs its twin.
 *
 * A channel that may be resumed (channel_let_resume) is not lost with its connection: the source's
 * relay connects again, the destination's is offered the new connection, each sends what the other
 * has not received, and the local streams notice nothing but a pause.
 *
 * Memory: two frames (128 KiB); with a channel that may be resumed, up to twice its window.
 */
struct relay;

/* Bytes that a channel may have sent and not acknowledged, where it can be resumed. */
#define RELAY_WINDOW	   ((uint64_t)64 << 20) /* what the sockets' buffers ever have */
#define RELAY_WINDOW_LEAST ((uint64_t)256 << 10)
#define RELAY_WINDOW_MOST  ((uint64_t)1 << 30)

struct relay_stats {
	uint64_t sent;	       /* payload bytes given to the channel */
	uint64_t delivered;    /* of these, acknowledged by the far side's local stream */
	uint64_t received;     /* payload bytes from the channel */
	int64_t first_byte_ns; /* clock_ns() when the first payload byte went out; 0: none yet */
	bool negotiated;       /* MPTCP */
	const char *why_not;   /* static text where not; NULL before the first look */
	int64_t lost_ns;       /* clock_ns() of the last sign of life, while it is lost; else 0 */
	unsigned resumed;      /* how often it went on over another connection */
	int64_t stood_ns;      /* how long it stood still before that, in sum */
	uint64_t again;	       /* payload bytes sent again in sum, */
	uint64_t again_most;   /* and at the most at one time */
	uint64_t window;       /* that these are bounded by; 0: it can't be resumed */
	size_t n_subflows;     /* all that ever were, but old ones that there was no place for */
	struct subflow subflows[MPTCP_MAX_SUBFLOWS];
	int64_t progress_ns[MPTCP_MAX_SUBFLOWS]; /* clock_ns() when the subflow last got on */
};

/*
 * Takes over channel and local_fd (a stream socket; set non-blocking), also on failure. silence_ms:
 * with nothing heard from the far side for so long, the relay fails (a sign of life goes out every
 * second). A channel that may be resumed is given up after its patience, but no sooner than that.
 */
struct relay *relay_start(struct channel *channel, int local_fd, int64_t silence_ms,
			  struct error **err);

/*
 * The same for a stream that is yet to come: the local end is the first connection that listen_fd
 * (taken over) gets.
 */
struct relay *relay_start_on_accept(struct channel *channel, int listen_fd, int64_t silence_ms,
				    struct error **err);

/* From now on what the local stream gives is sent at the pacer's rate. pacer: borrowed, or NULL. */
void relay_set_pacer(struct relay *relay, struct pacer *pacer);

/* How long nothing may be heard, from now on. Nothing happens where it can't be resumed. */
void relay_set_patience(struct relay *relay, int64_t patience_ns);

/*
 * The destination's: the source has opened the channel again (listener_take_again). Taken over,
 * also on failure: refused, and the source told so, where it can't be gone on with: an older
 * generation, acknowledging what was never sent or more than was, a relay that has failed.
 */
int relay_offer(struct relay *relay, struct channel *channel, struct error **err);

/* Stops wherever it is, waits for the thread, closes both ends. Takes NULL. */
void relay_destroy(struct relay *relay);

enum relay_end {
	RELAY_RUNNING,
	RELAY_ENDED, /* both streams ended in order and everything was delivered */
	RELAY_FAILED /* *err says why */
};
enum relay_end relay_poll(struct relay *relay, struct error **err);

void relay_stats(struct relay *relay, struct relay_stats *stats);

/*
 * A relay whose local end is the caller's: the returned descriptor (one end of a socket pair, the
 * caller's to close) reads and writes what the far side's local stream writes and reads.
 */
int relay_start_pair(struct channel *channel, int64_t silence_ms, struct relay **relay,
		     struct error **err);

#endif
