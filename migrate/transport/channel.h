/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_CHANNEL_H
#define TRANSPORT_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/transport/tls.h"
#include "netswitch/ip.h"

/*
 * A channel: one TLS connection over MPTCP between the two workers of a hop, with a name
 * ("control", "memory", "disk-NAME"), after its HELLOs were exchanged. The source connects, the
 * destination listens. Programs that use channels ignore SIGPIPE.
 */
struct channel {
	int fd; /* non-blocking */
	struct tls *tls;
	char name[32];
	uint32_t generation;
	bool plain; /* not encrypted: only the handshake and the HELLOs were */
	short plain_wants;
	bool may_resume;   /* both sides know how to open it again */
	uint64_t received; /* an opening again: bytes that the source has had through the channel */
	struct channel_resume *resume; /* NULL: it ends with its connection */
};

struct channel_key {
	char hop[40]; /* UUID, also the PSK's identity */
	uint8_t key[TLS_KEY_SIZE];
};

/* How the source comes to a channel. */
#define CHANNEL_ADDRESSES 16
struct channel_way {
	struct ip_addr addresses[CHANNEL_ADDRESSES];
	size_t n;
	uint16_t port;
	struct channel_key key;
	size_t buffer;
	bool plain;
};

/*
 * A channel that outlives its connections: its relay (relay.h) goes on over another one. The source
 * connects again, the destination waits for it.
 */
struct channel_resume {
	int64_t patience_ns; /* how long nothing may be heard before it is given up */
	uint64_t window; /* bytes that may be sent and not acknowledged: kept for sending again */
	bool dials;	 /* the source's: by that way */
	struct channel_way way;
};

/*
 * way: copied, the address that the channel is connected to first; NULL at the destination. Nothing
 * happens where the far side can't do it.
 */
int channel_let_resume(struct channel *channel, int64_t patience_ns, uint64_t window,
		       const struct channel_way *way, struct error **err);
void channel_resume_free(struct channel_resume *resume); /* takes NULL; wipes the key */

/* A key as text, on its way through SSH. The caller wipes it. */
#define CHANNEL_KEY_HEX (2 * TLS_KEY_SIZE + 1)
void channel_key_to_hex(const struct channel_key *key, char hex[CHANNEL_KEY_HEX]);
int channel_key_from_hex(const char *hex, struct channel_key *key, struct error **err);

/*
 * A secret for one purpose that both sides get from the key, as text; the key can't be told from
 * it. The caller wipes it.
 */
#define CHANNEL_SECRET 49
int channel_key_secret(const struct channel_key *key, const char *purpose,
		       char secret[CHANNEL_SECRET], struct error **err);

/*
 * Moving bytes, encrypted or not, as tls_read and tls_write do; 0: wait for channel_wants().
 */
ssize_t channel_read(struct channel *channel, void *data, size_t size, struct error **err);
ssize_t channel_write(struct channel *channel, const void *data, size_t size, struct error **err);
short channel_wants(const struct channel *channel);

/*
 * Connects to the first of the addresses that answers, each tried for a share of the time.
 * buffer: socket buffers, bytes, 0 for the kernel's choice. plain: without encryption, if the
 * listener agrees (result->plain). The caller destroys the result.
 */
struct channel *channel_connect(const struct ip_addr *addresses, size_t n, uint16_t port,
				const struct channel_key *key, const char *name, size_t buffer,
				bool plain, int64_t deadline_ns, struct error **err);

/* The same from one of this host's addresses to one of the peer's, for measuring. */
struct channel *channel_connect_from(const struct ip_addr *from, const struct ip_addr *to,
				     uint16_t port, const struct channel_key *key, const char *name,
				     size_t buffer, int64_t deadline_ns, struct error **err);
void channel_destroy(struct channel *channel); /* takes NULL; closes */

/*
 * Opens a channel again, as its generation-th connection, where `received` bytes have been received
 * so far. Each address is tried for no longer than address_ns, all until deadline_ns. Given up with
 * ECANCELED when cancel_fd is readable. ECONNREFUSED: nobody listens at the first any more.
 */
struct channel *channel_dial(const struct channel_way *way, const char *name, uint32_t generation,
			     uint64_t received, int64_t address_ns, int cancel_fd,
			     int64_t deadline_ns, struct error **err);

/* Tells the far side why the channel is given up, where the connection takes it at once. */
void channel_refuse(struct channel *channel, const char *why);

/*
 * The destination's listener: a thread of its own accepts, shakes hands with up to 64 strangers at
 * once for 10 s each at the most, the oldest giving way, and keeps what proved to have the key
 * until it is asked for. Nobody without the key gets a byte or holds anything up.
 */
struct listener;

/* listen_fd: of mptcp_listen(), taken over. plain: channels may go without encryption. */
struct listener *listener_start(int listen_fd, const struct channel_key *key, bool plain,
				struct error **err);
void listener_stop(struct listener *listener); /* takes NULL; what was not taken is closed */

/* The channel of that name, waiting until deadline_ns. Not one that was opened again. */
struct channel *listener_take(struct listener *listener, const char *name, int64_t deadline_ns,
			      struct error **err);

/* One that was opened again, and whose first opening was taken; NULL: none. Never blocks. */
struct channel *listener_take_again(struct listener *listener);

#endif
