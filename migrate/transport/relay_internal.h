/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_RELAY_INTERNAL_H
#define TRANSPORT_RELAY_INTERNAL_H

#include <pthread.h>

#include "migrate/transport/frame.h"
#include "migrate/transport/pacer.h"
#include "migrate/transport/relay.h"
#include "migrate/transport/unacked.h"

/*
 * Reads, and writes, until the other direction has its turn: a saturated one must not keep the
 * acknowledgements and signs of life of the other from being sent or read.
 */
#define RELAY_TURN	 16
#define RELAY_BUFFER_CAP ((uint64_t)64 << 20)

struct relay {
	struct channel *channel; /* NULL: there is none now */
	char name[32];
	struct channel_resume *resume; /* NULL: it ends with its connection */
	int local;		       /* -1: still to come, from listen_fd */
	int listen_fd;		       /* -1: not needed (any more) */
	int wake;		       /* eventfd: stop, an offer, another patience */
	pthread_t thread;
	int64_t silence_ns;	       /* nothing heard for so long: the connection is lost */
	int64_t least_patience_ns;     /* as relay_start was told */
	_Atomic(struct pacer *) pacer; /* borrowed; NULL: no limit */
	_Atomic bool stop;
	_Atomic int64_t patience_ns;

	/* the thread's own */
	uint8_t out[FRAME_HEADER_SIZE + FRAME_MOST];
	size_t out_size, out_done;
	uint8_t in[FRAME_HEADER_SIZE + FRAME_MOST];
	size_t in_size, in_done;
	struct frame frame; /* being received; in_frame bytes of its payload are still to come */
	size_t in_frame;
	bool local_ended; /* our stream gave its end */
	bool eof_sent, eof_received;
	bool over;   /* it has ended in order; only the far side may not know yet */
	bool broken; /* the connection failed, not what came through it */
	bool answer; /* RESUME is due, before anything else */
	bool wants_ping;
	struct unacked unacked; /* with `resume`: [delivered, sent) */
	uint64_t again_at;	/* what of these is sent again next; `sent`: nothing is */
	uint64_t again_now;	/* bytes, since the last loss */
	char *farewell;		/* sent as ERROR before the relay fails */
	uint64_t acked_at;	/* bytes received when we last sent ACK */
	int64_t last_heard, last_sent, last_ack, last_tick, last_growth;
	uint64_t wanted_buffer;
	uint64_t widest;  /* receive window that the far side ever announced, bytes; 0: no limit */
	bool window_full; /* no byte from the local stream before something is acknowledged */
	bool more;	  /* a direction has used its turn up and may have more to do */
	int64_t paced_ns; /* the pacer's: no byte from the local stream before */

	pthread_mutex_t lock; /* of what follows; stats' counters are written by the thread only */
	uint32_t generation;
	struct channel *offered; /* to go on with; NULL: nothing is */
	bool left;		 /* the thread has */
	struct relay_stats stats;
	enum relay_end end;
	struct error *why;
};

/* How much may be sent and not yet acknowledged, payload bytes. relay_watch.c */
uint64_t relay_window(const struct relay *r);

/* relay_send.c: moves bytes to the channel until it, or the local stream, has no more. */
int relay_send_some(struct relay *r, struct error **err);

/* Tells the far side why, for as long as the connection takes it at once. */
void relay_say_farewell(struct relay *r, const struct error *why);

/* Clears the connection's half-moved frames: what was in them is sent again, or asked for. */
void relay_forget_frames(struct relay *r);

/*
 * relay_resume.c: without a connection, until there is another one (0); 1: told to stop; -1: it
 * never came.
 */
int relay_regain(struct relay *r, struct error *lost, struct error **err);

/* Goes on over the connection that was offered, if one was. */
void relay_take_offer(struct relay *r);

/* relay_receive.c. 1: the local stream holds us back; 0: the channel has no more for now; -1. */
int relay_receive_some(struct relay *r, struct error **err);

/* relay_watch.c: looks at the subflows, remembers them, and grows the buffers to their needs. */
void relay_watch(struct relay *r);

#endif
