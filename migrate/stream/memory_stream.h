/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef STREAM_MEMORY_STREAM_H
#define STREAM_MEMORY_STREAM_H

#include "migrate/stream/scheduler.h"

/*
 * A hypervisor's memory stream on its way through the page scheduler into a socket, in a thread of
 * its own. What comes back on the socket (the return path) goes to the hypervisor unchanged.
 *
 *     hypervisor <==> listen_fd | scheduler | link_fd <==> relay, channel, destination
 */
struct memory_stream;

/* Bytes of the stream that have arrived at the destination; called from the thread. */
typedef uint64_t memory_stream_delivered(void *arg);

/*
 * listen_fd: the hypervisor is the first that connects; link_fd: a stream socket. Both are taken
 * over, also on failure.
 */
struct memory_stream *memory_stream_start(int listen_fd, int link_fd,
					  const struct scheduler_options *options,
					  memory_stream_delivered *delivered, void *arg,
					  struct error **err);

/* Stops wherever it is, closes both ends. Takes NULL. */
void memory_stream_destroy(struct memory_stream *stream);

/* -1 with the reason: it broke off. */
int memory_stream_check(struct memory_stream *stream, struct error **err);

void memory_stream_set_remaining(struct memory_stream *stream, uint64_t bytes, unsigned looks,
				 int64_t asked_ns);
void memory_stream_set_downtime(struct memory_stream *stream, int64_t downtime_ns);
void memory_stream_finish(struct memory_stream *stream); /* as scheduler_finish */

struct memory_stream_stats {
	struct scheduler_stats pages;
	struct scheduler_link link;
	uint64_t sent; /* bytes given to the link */
};
void memory_stream_stats(struct memory_stream *stream, struct memory_stream_stats *stats);

#endif
