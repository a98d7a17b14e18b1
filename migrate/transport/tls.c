/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/tls.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/cleanup.h"

struct tls {
	SSL_CTX *context;
	SSL *ssl;
	char identity[40];
	uint8_t key[TLS_KEY_SIZE];
	short wants;
};

/* An external PSK as a session object, as the OpenSSL API wants it. */
static SSL_SESSION *psk_session(SSL *ssl, const struct tls *tls)
{
	static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
	SSL_SESSION *session = SSL_SESSION_new();

	if (!session || !cipher || !SSL_SESSION_set1_master_key(session, tls->key, TLS_KEY_SIZE) ||
	    !SSL_SESSION_set_cipher(session, cipher) ||
	    !SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION)) {
		SSL_SESSION_free(session);
		return NULL;
	}
	return session;
}

static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_size,
		       SSL_SESSION **session)
{
	struct tls *tls = SSL_get_app_data(ssl);

	*session = NULL;
	*id = NULL;
	*id_size = 0;
	if (md && EVP_MD_get_type(md) != NID_sha256)
		return 1; /* no PSK for this hash: the handshake fails */
	*session = psk_session(ssl, tls);
	*id = (const unsigned char *)tls->identity;
	*id_size = strlen(tls->identity);
	return *session != NULL;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t id_size, SSL_SESSION **session)
{
	struct tls *tls = SSL_get_app_data(ssl);

	*session = NULL;
	if (id_size != strlen(tls->identity) || memcmp(id, tls->identity, id_size) != 0)
		return 1; /* unknown: goes on without PSK, and fails since there is no certificate
			   */
	*session = psk_session(ssl, tls);
	return *session != NULL;
}

static int set_up(struct tls *tls, int fd, enum tls_side side)
{
	SSL_CTX *c;

	tls->context = c =
		SSL_CTX_new(side == TLS_SERVER ? TLS_server_method() : TLS_client_method());
	if (!c || !SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"))
		return -1;
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, 0);
	SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (side == TLS_SERVER) {
		SSL_CTX_set_psk_find_session_callback(c, find_session);
	} else {
		/* No certificate is ever trusted: without the PSK there is nothing to accept. */
		SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_psk_use_session_callback(c, use_session);
	}
	tls->ssl = SSL_new(c);
	if (!tls->ssl || !SSL_set_fd(tls->ssl, fd))
		return -1;
	SSL_set_app_data(tls->ssl, tls);
	SSL_set_read_ahead(tls->ssl, 0);
	/* closing says nothing: a relay's EOF frame does, and a plain stream may have followed */
	SSL_set_quiet_shutdown(tls->ssl, 1);
	if (side == TLS_SERVER)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	return 0;
}

struct tls *tls_create(int fd, enum tls_side side, const char *identity,
		       const uint8_t key[TLS_KEY_SIZE], struct error **err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls || strlen(identity) >= sizeof(tls->identity)) {
		free(tls);
		error_set(err, ENOMEM, "TLS: no memory, or an identity that is too long");
		return NULL;
	}
	strcpy(tls->identity, identity);
	memcpy(tls->key, key, TLS_KEY_SIZE);
	tls->wants = POLLIN;
	ERR_clear_error();
	if (set_up(tls, fd, side) < 0) {
		error_set(err, EPROTO, "TLS set-up: %s", ERR_reason_error_string(ERR_get_error()));
		tls_destroy(tls);
		return NULL;
	}
	return tls;
}

void tls_destroy(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->context);
	OPENSSL_cleanse(tls->key, sizeof(tls->key));
	free(tls);
}

/* What became of a call that did not move a byte: 0 not now, -1 failed. */
static int not_moved(struct tls *tls, int result, const char *what, struct error **err)
{
	int saved = errno;
	unsigned long reason;

	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		tls->wants = POLLIN;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		tls->wants = POLLOUT;
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return error_set(err, ECONNRESET, "TLS %s: the peer ended the connection", what);
	case SSL_ERROR_SYSCALL:
		if (saved == 0)
			saved = ECONNRESET;
		return error_set(err, saved, "TLS %s: %s", what, strerror(saved));
	default:
		reason = ERR_get_error();
		/* OpenSSL 3 reports a stream that ends without close_notify here. */
		if (ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return error_set(err, ECONNRESET, "TLS %s: the connection ended", what);
		return error_set(err, EPROTO, "TLS %s: %s", what,
				 reason ? ERR_reason_error_string(reason) : "protocol error");
	}
}

int tls_handshake(struct tls *tls, struct error **err)
{
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_do_handshake(tls->ssl);
	if (n != 1)
		return not_moved(tls, n, "handshake (is it the same key?)", err);
	if (!SSL_session_reused(tls->ssl)) /* so says OpenSSL when a PSK was used */
		return error_set(err, EACCES, "TLS handshake: ended without the hop's key");
	return 1;
}

ssize_t tls_read(struct tls *tls, void *data, size_t size, struct error **err)
{
	size_t n = 0;

	ERR_clear_error();
	errno = 0;
	if (SSL_read_ex(tls->ssl, data, size, &n))
		return (ssize_t)n;
	return not_moved(tls, 0, "read", err);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t size, struct error **err)
{
	size_t n = 0;

	ERR_clear_error();
	errno = 0;
	if (SSL_write_ex(tls->ssl, data, size, &n))
		return (ssize_t)n;
	return not_moved(tls, 0, "write", err);
}

void tls_read_ahead(struct tls *tls)
{
	SSL_set_read_ahead(tls->ssl, 1);
}

short tls_wants(const struct tls *tls)
{
	return tls->wants;
}
