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

#define CHANNEL_WHY 256 /* of a refusal's text */

void channel_destroy(struct channel *channel)
{
	if (!channel)
		return;
	tls_destroy(channel->tls);
	if (channel->fd >= 0)
		close(channel->fd);
	channel_resume_free(channel->resume);
	free(channel);
}

void channel_resume_free(struct channel_resume *resume)
{
	if (resume)
		explicit_bzero(&resume->way.key, sizeof(resume->way.key));
	free(resume);
}

/* The address that the connection is to comes first. */
static void begin_where_it_is(const struct channel *channel, struct channel_way *way)
{
	struct mptcp_state state;
	struct ip_addr first = way->addresses[0];

	if (mptcp_state(channel->fd, &state, NULL) < 0 || state.n_subflows == 0)
		return;
	for (size_t i = 1; i < way->n; i++)
		if (ip_same(&way->addresses[i], &state.subflows[0].remote)) {
			way->addresses[0] = way->addresses[i];
			way->addresses[i] = first;
		}
}

int channel_let_resume(struct channel *channel, int64_t patience_ns, uint64_t window,
		       const struct channel_way *way, struct error **err)
{
	if (!channel->may_resume || patience_ns <= 0)
		return 0;
	channel->resume = calloc(1, sizeof(*channel->resume));
	if (!channel->resume)
		return error_set(err, ENOMEM, "no memory for a channel");
	channel->resume->patience_ns = patience_ns;
	channel->resume->window = window;
	channel->resume->dials = way != NULL;
	if (!way)
		return 0;
	channel->resume->way = *way;
	begin_where_it_is(channel, &channel->resume->way);
	return 0;
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

void channel_refuse(struct channel *channel, const char *why)
{
	uint8_t out[FRAME_HEADER_SIZE + CHANNEL_WHY];
	struct frame frame = {.type = FRAME_ERROR, .length = (uint32_t)strnlen(why, CHANNEL_WHY)};

	frame_encode(&frame, out);
	memcpy(out + FRAME_HEADER_SIZE, why, frame.length);
	(void)channel_write(channel, out, FRAME_HEADER_SIZE + frame.length, NULL);
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
			   uint32_t generation, uint64_t received)
{
	struct hello hello = {.version = HELLO_VERSION,
			      .compatible = HELLO_COMPATIBLE,
			      .features = o->features,
			      .generation = generation};
	struct frame frame = {.type = FRAME_HELLO, .length = HELLO_SIZE, .sequence = received};

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
	o->channel->may_resume = (hello->features & o->features & HELLO_RESUME) != 0;
	o->channel->received = frame.sequence;
	if (!o->channel->plain)
		tls_read_ahead(o->channel->tls);
	return 0;
}

static int open_until(struct opening *o, int cancel_fd, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		int step = opening_step(o, err);
		struct pollfd p[2] = {{.fd = o->channel->fd}, {.fd = cancel_fd, .events = POLLIN}};
		int64_t left = deadline_ns - clock_ns();

		if (step != 0)
			return step;
		if (left <= 0)
			return error_set(err, ETIMEDOUT, "handshake: no answer in time");
		p[0].events = tls_wants(o->channel->tls);
		if (poll(p, 2, (int)(left / NS_PER_MS) + 1) < 0 && errno != EINTR)
			return error_errno(err, "poll");
		if (p[1].revents)
			return error_set(err, ECANCELED, "handshake: given up");
	}
}

/* What a connection is to be the opening of. */
struct call {
	const struct ip_addr *from, *to;
	uint16_t port;
	const struct channel_key *key;
	const char *name;
	size_t buffer;
	bool plain;
	uint32_t generation;
	uint64_t received;
	int cancel_fd;
	int64_t deadline_ns;
};

static struct channel *connect_one(const struct call *call, struct error **err)
{
	struct opening o = {.features = HELLO_RESUME | (call->plain ? HELLO_PLAIN : 0)};
	struct channel *channel = calloc(1, sizeof(*channel));
	struct hello hello;

	if (!channel) {
		error_set(err, ENOMEM, "no memory for a channel");
		return NULL;
	}
	snprintf(channel->name, sizeof(channel->name), "%s", call->name);
	channel->generation = call->generation;
	o.channel = channel;
	channel->fd = mptcp_dial(call->from, call->to, call->port, call->buffer, call->cancel_fd,
				 call->deadline_ns, err);
	if (channel->fd < 0)
		goto failed;
	channel->tls = tls_create(channel->fd, TLS_CLIENT, call->key->hop, call->key->key, err);
	if (!channel->tls)
		goto failed;
	opening_prepare_hello(&o, call->key, call->name, call->generation, call->received);
	if (open_until(&o, call->cancel_fd, call->deadline_ns, err) < 0 ||
	    opening_check_hello(&o, call->key, &hello, err) < 0)
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
	struct call call = {.port = port,
			    .key = key,
			    .name = name,
			    .buffer = buffer,
			    .plain = plain,
			    .cancel_fd = -1};
	struct error *last = NULL;

	for (size_t i = 0; i < n; i++) {
		int64_t now = clock_ns();
		struct channel *channel;

		error_free(last);
		last = NULL;
		call.to = &addresses[i];
		call.deadline_ns = now + (deadline_ns - now) / (int64_t)(n - i);
		channel = connect_one(&call, &last);
		if (channel)
			return channel;
	}
	if (!last)
		error_set(&last, EDESTADDRREQ, "no address to connect to");
	error_wrap(&last, "channel %s", name);
	error_propagate(err, last);
	return NULL;
}

static bool is_final(const struct error *why)
{
	return why && (why->code == ECANCELED || why->code == ECONNREFUSED);
}

struct channel *channel_dial(const struct channel_way *way, const char *name, uint32_t generation,
			     uint64_t received, int64_t address_ns, int cancel_fd,
			     int64_t deadline_ns, struct error **err)
{
	struct call call = {.port = way->port,
			    .key = &way->key,
			    .name = name,
			    .buffer = way->buffer,
			    .plain = way->plain,
			    .generation = generation,
			    .received = received,
			    .cancel_fd = cancel_fd};
	struct channel *channel = NULL;
	struct error *last = NULL;

	for (size_t i = 0; i < way->n && !channel && !is_final(last); i++) {
		error_free(last);
		last = NULL;
		call.to = &way->addresses[i];
		call.deadline_ns = clock_ns() + address_ns;
		if (call.deadline_ns > deadline_ns)
			call.deadline_ns = deadline_ns;
		channel = connect_one(&call, &last);
		/* where there never was a connection, it may be a firewall that refuses */
		if (!channel && i > 0 && last->code == ECONNREFUSED)
			last->code = EHOSTUNREACH;
	}
	if (!channel)
		error_propagate(err, last);
	return channel;
}

struct channel *channel_connect_from(const struct ip_addr *from, const struct ip_addr *to,
				     uint16_t port, const struct channel_key *key, const char *name,
				     size_t buffer, int64_t deadline_ns, struct error **err)
{
	const struct call call = {.from = from,
				  .to = to,
				  .port = port,
				  .key = key,
				  .name = name,
				  .buffer = buffer,
				  .cancel_fd = -1,
				  .deadline_ns = deadline_ns};
	struct channel *channel = connect_one(&call, err);

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
