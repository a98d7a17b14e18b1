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
 */
struct relay;

struct relay_stats {
	uint64_t sent;	       /* payload bytes given to the channel */
	uint64_t delivered;    /* of these, acknowledged by the far side's local stream */
	uint64_t received;     /* payload bytes from the channel */
	int64_t first_byte_ns; /* clock_ns() when the first payload byte went out; 0: none yet */
	bool negotiated;       /* MPTCP */
	const char *why_not;   /* static text where not; NULL before the first look */
	size_t n_subflows;     /* all that ever were, also the ended ones */
	struct subflow subflows[MPTCP_MAX_SUBFLOWS];
	int64_t progress_ns[MPTCP_MAX_SUBFLOWS]; /* clock_ns() when the subflow last got on */
};

/*
 * Takes over channel and local_fd (a stream socket; set non-blocking), also on failure. silence_ms:
 * with nothing heard from the far side for so long, the relay fails (a sign of life goes out every
 * second).
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
