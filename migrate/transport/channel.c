/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/channel.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "migrate/transport/channel_internal.h"
#include "migrate/transport/frame.h"
#include "migrate/transport/mptcp.h"

void channel_destroy(struct channel *channel)
{
	if (!channel)
		return;
	tls_destroy(channel->tls);
	if (channel->fd >= 0)
		close(channel->fd);
	free(channel);
}

static ssize_t plain_moved(struct channel *channel, ssize_t n, short wants, const char *what,
			   struct error **err)
{
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		channel->plain_wants = wants;
		return 0;
	}
	if (n == 0)
		return error_set(err, ECONNRESET, "%s: the connection ended", what);
	return error_errno(err, "%s", what);
}

ssize_t channel_read(struct channel *channel, void *data, size_t size, struct error **err)
{
	if (!channel->plain)
		return tls_read(channel->tls, data, size, err);
	return plain_moved(channel, recv(channel->fd, data, size, MSG_DONTWAIT), POLLIN, "read",
			   err);
}

ssize_t channel_write(struct channel *channel, const void *data, size_t size, struct error **err)
{
	if (!channel->plain)
		return tls_write(channel->tls, data, size, err);
	return plain_moved(channel, send(channel->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL),
			   POLLOUT, "write", err);
}

short channel_wants(const struct channel *channel)
{
	return channel->plain ? channel->plain_wants : tls_wants(channel->tls);
}

/*
 * One step of opening, for both sides: handshake, own HELLO out, the peer's in. Never blocks.
 */
int opening_step(struct opening *o, struct error **err)
{
	ssize_t n;

	if (!o->shaken) {
		n = tls_handshake(o->channel->tls, err);
		if (n <= 0)
			return (int)n;
		o->shaken = true;
	}
	while (o->out_done < sizeof(o->out)) {
		n = tls_write(o->channel->tls, o->out + o->out_done, sizeof(o->out) - o->out_done,
			      err);
		if (n <= 0)
			return (int)n;
		o->out_done += (size_t)n;
	}
	while (o->in_done < sizeof(o->in)) {
		n = tls_read(o->channel->tls, o->in + o->in_done, sizeof(o->in) - o->in_done, err);
		if (n <= 0)
			return (int)n;
		o->in_done += (size_t)n;
	}
	return 1;
}

void opening_prepare_hello(struct opening *o, const struct channel_key *key, const char *name,
			   uint32_t generation)
{
	struct hello hello = {.version = HELLO_VERSION,
			      .compatible = HELLO_COMPATIBLE,
			      .features = o->features,
			      .generation = generation};
	struct frame frame = {.type = FRAME_HELLO, .length = HELLO_SIZE};

	snprintf(hello.hop, sizeof(hello.hop), "%s", key->hop);
	snprintf(hello.channel, sizeof(hello.channel), "%s", name);
	frame_encode(&frame, o->out);
	hello_encode(&hello, o->out + FRAME_HEADER_SIZE);
}

int opening_check_hello(struct opening *o, const struct channel_key *key, struct hello *hello,
			struct error **err)
{
	struct frame frame;

	if (frame_decode(o->in, &frame, err) < 0)
		return -1;
	if (frame.type != FRAME_HELLO)
		return error_set(err, EPROTO, "found a frame of type %d, expected a hello",
				 frame.type);
	if (hello_decode(o->in + FRAME_HEADER_SIZE, hello, err) < 0)
		return -1;
	if (strcmp(hello->hop, key->hop) != 0)
		return error_set(err, EPROTO, "hello: it is of another hop");
	o->channel->plain = (hello->features & o->features & HELLO_PLAIN) != 0;
	if (!o->channel->plain)
		tls_read_ahead(o->channel->tls);
	return 0;
}

static int open_until(struct opening *o, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		int step = opening_step(o, err);
		struct pollfd p = {.fd = o->channel->fd};
		int64_t left = deadline_ns - clock_ns();

		if (step != 0)
			return step;
		if (left <= 0)
			return error_set(err, ETIMEDOUT, "handshake: no answer in time");
		p.events = tls_wants(o->channel->tls);
		if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
	}
}

static struct channel *connect_one(const struct ip_addr *from, const struct ip_addr *address,
				   uint16_t port, const struct channel_key *key, const char *name,
				   size_t buffer, bool plain, int64_t deadline_ns,
				   struct error **err)
{
	struct opening o = {.features = plain ? HELLO_PLAIN : 0};
	struct channel *channel = calloc(1, sizeof(*channel));
	struct hello hello;

	if (!channel) {
		error_set(err, ENOMEM, "no memory for a channel");
		return NULL;
	}
	snprintf(channel->name, sizeof(channel->name), "%s", name);
	o.channel = channel;
	channel->fd = mptcp_connect(from, address, port, buffer, deadline_ns, err);
	if (channel->fd < 0)
		goto failed;
	channel->tls = tls_create(channel->fd, TLS_CLIENT, key->hop, key->key, err);
	if (!channel->tls)
		goto failed;
	opening_prepare_hello(&o, key, name, 0);
	if (open_until(&o, deadline_ns, err) < 0 || opening_check_hello(&o, key, &hello, err) < 0)
		goto failed;
	return channel;
failed:
	channel_destroy(channel);
	return NULL;
}

struct channel *channel_connect(const struct ip_addr *addresses, size_t n, uint16_t port,
				const struct channel_key *key, const char *name, size_t buffer,
				bool plain, int64_t deadline_ns, struct error **err)
{
	struct error *last = NULL;

	for (size_t i = 0; i < n; i++) {
		int64_t now = clock_ns();
		int64_t share = now + (deadline_ns - now) / (int64_t)(n - i);
		struct channel *channel;

		error_free(last);
		last = NULL;
		channel = connect_one(NULL, &addresses[i], port, key, name, buffer, plain, share,
				      &last);
		if (channel)
			return channel;
	}
	if (!last)
		error_set(&last, EDESTADDRREQ, "no address to connect to");
	error_wrap(&last, "channel %s", name);
	error_propagate(err, last);
	return NULL;
}

struct channel *channel_connect_from(const struct ip_addr *from, const struct ip_addr *to,
				     uint16_t port, const struct channel_key *key, const char *name,
				     size_t buffer, int64_t deadline_ns, struct error **err)
{
	struct channel *channel =
		connect_one(from, to, port, key, name, buffer, false, deadline_ns, err);

	if (!channel)
		error_wrap(err, "channel %s", name);
	return channel;
}

void channel_key_to_hex(const struct channel_key *key, char hex[CHANNEL_KEY_HEX])
{
	for (size_t i = 0; i < TLS_KEY_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", key->key[i]);
}

int channel_key_from_hex(const char *hex, struct channel_key *key, struct error **err)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(hex) != 2 * TLS_KEY_SIZE || strspn(hex, digits) != 2 * TLS_KEY_SIZE)
		return error_set(err, EPROTO, "field key: expected %d hexadecimal digits",
				 2 * TLS_KEY_SIZE);
	for (size_t i = 0; i < TLS_KEY_SIZE; i++)
		key->key[i] = (uint8_t)((strchr(digits, hex[2 * i]) - digits) << 4 |
					(strchr(digits, hex[2 * i + 1]) - digits));
	return 0;
}

int channel_key_secret(const struct channel_key *key, const char *purpose,
		       char secret[CHANNEL_SECRET], struct error **err)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n;

	if (!HMAC(EVP_sha256(), key->key, TLS_KEY_SIZE, (const uint8_t *)purpose, strlen(purpose),
		  sum, &n))
		return error_set(err, EIO, "no secret for %s", purpose);
	for (size_t i = 0; i < CHANNEL_SECRET / 2; i++)
		snprintf(secret + 2 * i, 3, "%02x", sum[i]);
	explicit_bzero(sum, sizeof(sum));
	return 0;
}
