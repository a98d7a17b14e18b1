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
};

struct channel_key {
	char hop[40]; /* UUID, also the PSK's identity */
	uint8_t key[TLS_KEY_SIZE];
};

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
 * The destination's listener: a thread of its own accepts, shakes hands with up to 64 strangers at
 * once for 10 s each at the most, the oldest giving way, and keeps what proved to have the key
 * until it is asked for. Nobody without the key gets a byte or holds anything up.
 */
struct listener;

/* listen_fd: of mptcp_listen(), taken over. plain: channels may go without encryption. */
struct listener *listener_start(int listen_fd, const struct channel_key *key, bool plain,
				struct error **err);
void listener_stop(struct listener *listener); /* takes NULL; what was not taken is closed */

/* The channel of that name, waiting until deadline_ns. */
struct channel *listener_take(struct listener *listener, const char *name, int64_t deadline_ns,
			      struct error **err);

#endif
