/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TRANSPORT_TLS_H
#define TRANSPORT_TLS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/*
 * TLS 1.3 with the hop's pre-shared key (psk_dhe_ke: forward secrecy, no certificate), a fresh
 * handshake at every connection, no tickets, no early data. Whoever has no key gets an alert.
 * Non-blocking: every call returns at once.
 */
#define TLS_KEY_SIZE 32

enum tls_side {
	TLS_CLIENT,
	TLS_SERVER
};

struct tls;

/* identity: the hop's UUID. The key is copied and wiped at destroy. fd stays the caller's. */
struct tls *tls_create(int fd, enum tls_side side, const char *identity,
		       const uint8_t key[TLS_KEY_SIZE], struct error **err);
void tls_destroy(struct tls *tls); /* takes NULL */

/* 1: done; 0: call again when tls_wants() is there; -1: failed. */
int tls_handshake(struct tls *tls, struct error **err);

/* Bytes moved (> 0); 0: not now, wait for tls_wants(); -1: failed, or ended (ECONNRESET). */
ssize_t tls_read(struct tls *tls, void *data, size_t size, struct error **err);
ssize_t tls_write(struct tls *tls, const void *data, size_t size, struct error **err);

/*
 * From now on whole socket buffers are read at once, which is faster. Until then not a byte beyond
 * the current record is taken, so that the connection could go on without TLS.
 */
void tls_read_ahead(struct tls *tls);

/* POLLIN or POLLOUT: what the last call that returned 0 waits for. */
short tls_wants(const struct tls *tls);

#endif
