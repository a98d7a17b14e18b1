/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_DOOR_H
#define TRANSPORT_DOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "migrate/codec/known_pages.h"
#include "migrate/transport/channel.h"

/*
 * A hop's door at its destination: a confined process (confine.h) that listens, shakes hands,
 * decrypts and decodes whatever comes from the network, and moves the payload between channels and
 * descriptors that the worker hands in. The worker itself never reads a byte of a network socket.
 *
 *	network ==> [ door: listener, TLS, frames ] ==> NBD server, hypervisor, worker (control)
 *
 * It ends with the worker, however that ends.
 */
struct door;

/*
 * Starts the process, with no more than standard output and error. The caller must not have any
 * other thread yet. key: copied. plain: channels may go without encryption.
 */
struct door *door_start(const struct channel_key *key, bool plain, struct error **err);
void door_destroy(struct door *door); /* takes NULL; ends the process and with it all channels */

/* listen_fd: of mptcp_listen(), taken over. */
int door_listen(struct door *door, int listen_fd, struct error **err);

/*
 * Channels may be resumed (channel_let_resume) from now on; those that may be already have this
 * patience from now on.
 */
int door_let_resume(struct door *door, int64_t patience_ns, uint64_t window, struct error **err);

/*
 * Joins the source's channel of that name, waiting for it until deadline_ns, to local_fd (a stream
 * socket, taken over). silence_ms: as in relay_start. When the source opens the same channel again,
 * the new one takes the earlier one's place, and its failure is forgotten.
 */
int door_attach(struct door *door, const char *channel, int local_fd, int64_t silence_ms,
		int64_t deadline_ns, struct error **err);

/* How a stream that the source has coded (migrate/codec) is decoded. */
struct door_decoding {
	bool disk;	      /* it is a disk's, */
	uint64_t guest_pages; /* else memory's: as codec_pipe_decode */
	/* what is offered of what is here already: as held_pages_create */
	struct held_file held[HELD_FILES_MOST];
	size_t held_count;
	uint64_t offer_most;
};

/*
 * The same for such a stream: it is decoded in the door's process, and local_fd is the
 * hypervisor's, or the NBD server's. The held files' descriptors are taken over, too; nobody need
 * have a right to a file but whoever opened it.
 */
int door_attach_coded(struct door *door, const char *channel, int local_fd,
		      const struct door_decoding *decoding, int64_t silence_ms, int64_t deadline_ns,
		      struct error **err);

/* Closes one channel. */
int door_close(struct door *door, const char *channel, struct error **err);

/*
 * How the channel is: 0 it runs or has ended in order, -1 it failed and why; name NULL: any of
 * them, but control. Never blocks.
 */
int door_check(struct door *door, const char *channel, struct error **err);

#endif
