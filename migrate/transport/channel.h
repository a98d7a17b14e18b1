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
};

struct channel_key {
	char hop[40]; /* UUID, also the PSK's identity */
	uint8_t key[TLS_KEY_SIZE];
};

/*
 * Connects to the first of the addresses that answers, each tried for a share of the time.
 * buffer: socket buffers, bytes, 0 for the kernel's choice. The caller destroys the result.
 */
struct channel *channel_connect(const struct ip_addr *addresses, size_t n, uint16_t port,
				const struct channel_key *key, const char *name, size_t buffer,
				int64_t deadline_ns, struct error **err);
void channel_destroy(struct channel *channel); /* takes NULL; closes */

/*
 * The destination's listener: a thread of its own accepts, shakes hands with up to 64 strangers at
 * once for 10 s each at the most, the oldest giving way, and keeps what proved to have the key
 * until it is asked for. Nobody without the key gets a byte or holds anything up.
 */
struct listener;

/* *port: wanted (0: any); receives the one it got. */
struct listener *listener_start(uint16_t *port, const struct channel_key *key, size_t buffer,
				struct error **err);
void listener_stop(struct listener *listener); /* takes NULL; what was not taken is closed */

/* The channel of that name, waiting until deadline_ns. */
struct channel *listener_take(struct listener *listener, const char *name, int64_t deadline_ns,
			      struct error **err);

#endif
