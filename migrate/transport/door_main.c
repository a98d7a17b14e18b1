/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "migrate/codec/codec_pipe.h"
#include "migrate/transport/door_internal.h"
#include "migrate/transport/relay.h"

/*
 * Theory of operation
 *
 * The door's own process. Its first thread serves the worker's requests, one at a time, and looks
 * after the relays ten times a second; the listener and each relay have a thread of their own. To
 * attach a channel it waits for the source, during which nothing else is asked for. Channels that
 * the source has opened again are offered to their relays.
 */
#define LOG_MODULE "door"
#define LOOK_MS	   100

struct door_side {
	int socket;
	const struct channel_key *key;
	bool plain;
	int64_t patience_ns; /* of channels; 0: they end with their connections */
	uint64_t window;
	struct listener *listener;
	struct {
		char name[DOOR_NAME];
		struct relay *relay;	   /* NULL: a free place */
		struct codec_pipe *decode; /* between it and the hypervisor; NULL: nothing is */
		bool told;		   /* that it failed */
	} channels[DOOR_CHANNELS];
};

static void say(const struct door_side *d, bool answer, unsigned number, const char *channel,
		const struct error *why)
{
	struct door_word word = {.answer = answer,
				 .number = number,
				 .code = why ? (why->code ? why->code : EIO) : 0};

	snprintf(word.channel, sizeof(word.channel), "%s", channel);
	snprintf(word.text, sizeof(word.text), "%s", why ? why->message : "");
	/* The worker may be gone; then so is this process in a moment. */
	(void)send(d->socket, &word, sizeof(word), MSG_NOSIGNAL);
}

/* 1: a request, fds its descriptors, each or -1; 0: the worker is gone. */
static int receive(int socket, struct door_request *request, int fds[DOOR_FDS])
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(DOOR_FDS * sizeof(int))];
	} control;
	struct iovec io = {.iov_base = request, .iov_len = sizeof(*request)};
	struct msghdr message = {.msg_iov = &io,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *c;

	for (size_t i = 0; i < DOOR_FDS; i++)
		fds[i] = -1;
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof(*request))
		return 0;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	request->channel[DOOR_NAME - 1] = '\0';
	return 1;
}

static int start_listening(struct door_side *d, int fd, struct error **err)
{
	if (d->listener) {
		close(fd);
		return error_set(err, EEXIST, "the door listens already");
	}
	d->listener = listener_start(fd, d->key, d->plain, err);
	return d->listener ? 0 : -1;
}

static void close_channel(struct door_side *d, const char *name)
{
	for (size_t i = 0; i < DOOR_CHANNELS; i++)
		if (d->channels[i].relay && strcmp(d->channels[i].name, name) == 0) {
			relay_destroy(d->channels[i].relay);
			codec_pipe_destroy(d->channels[i].decode);
			d->channels[i].relay = NULL;
			d->channels[i].decode = NULL;
		}
}

static void close_held(const int fds[DOOR_FDS])
{
	for (size_t i = 1; i < DOOR_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* The decoder of what the source has coded, between two sockets; takes all of them over. */
static struct codec_pipe *start_decoder(const struct door_decoding *decoding, int link_fd,
					const int fds[DOOR_FDS], struct error **err)
{
	const struct decoder_options options = {.limits = decoder_defaults,
						.disk = decoding->disk,
						.guest_pages = decoding->guest_pages};
	struct held_file files[HELD_FILES_MOST];
	struct held_pages *held;

	for (size_t i = 0; i < decoding->held_count; i++) {
		files[i] = decoding->held[i];
		files[i].fd = fds[1 + i];
	}
	held = held_pages_create(files, decoding->held_count, decoding->offer_most, err);
	if (held)
		return codec_pipe_decode(link_fd, fds[0], &options, held, err);
	close(link_fd);
	close(fds[0]);
	return NULL;
}

/* Puts a decoder before the hypervisor; returns the descriptor for the relay. Takes all over. */
static int decode(struct codec_pipe **pipe, const struct door_request *request,
		  const int fds[DOOR_FDS], struct error **err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		error_errno(err, "socket pair");
		close(fds[0]);
		close_held(fds);
		return -1;
	}
	*pipe = start_decoder(&request->decoding, ends[0], fds, err);
	if (*pipe)
		return ends[1];
	close(ends[1]);
	return -1;
}

/* Takes the descriptors over. */
static int attach(struct door_side *d, const struct door_request *request, const int fds[DOOR_FDS],
		  struct error **err)
{
	int fd = fds[0];
	struct channel *channel = NULL;
	size_t i = 0;

	while (i < DOOR_CHANNELS && d->channels[i].relay)
		i++;
	if (i == DOOR_CHANNELS || !d->listener)
		error_set(err, EMFILE, "channel %s: the door has no place for it",
			  request->channel);
	else
		channel = listener_take(d->listener, request->channel, request->deadline_ns, err);
	if (!channel) {
		close(fd);
		close_held(fds);
		return -1;
	}
	close_channel(d, request->channel);
	if (channel_let_resume(channel, d->patience_ns, d->window, NULL, err) < 0) {
		channel_destroy(channel);
		close(fd);
		close_held(fds);
		return -1;
	}
	if (request->coded)
		fd = decode(&d->channels[i].decode, request, fds, err);
	if (fd < 0) {
		channel_destroy(channel);
		return -1;
	}
	d->channels[i].relay = relay_start(channel, fd, request->silence_ms, err);
	d->channels[i].told = false;
	memcpy(d->channels[i].name, request->channel, DOOR_NAME);
	if (d->channels[i].relay)
		return 0;
	codec_pipe_destroy(d->channels[i].decode);
	d->channels[i].decode = NULL;
	return -1;
}

static void let_resume(struct door_side *d, const struct door_request *request)
{
	d->patience_ns = request->patience_ns;
	d->window = request->window;
	for (size_t i = 0; i < DOOR_CHANNELS; i++)
		if (d->channels[i].relay)
			relay_set_patience(d->channels[i].relay, d->patience_ns);
}

static struct relay *relay_of(const struct door_side *d, const char *name)
{
	for (size_t i = 0; i < DOOR_CHANNELS; i++)
		if (d->channels[i].relay && strcmp(d->channels[i].name, name) == 0)
			return d->channels[i].relay;
	return NULL;
}

static void hand_out(struct door_side *d)
{
	struct channel *channel;

	while (d->listener && (channel = listener_take_again(d->listener))) {
		struct relay *relay = relay_of(d, channel->name);
		auto_error why = NULL;

		if (!relay) {
			channel_refuse(channel, "there is no such channel (any more)");
			channel_destroy(channel);
		} else if (relay_offer(relay, channel, &why) < 0) {
			log_warn("a channel is not resumed: %s", error_text(why));
		}
	}
}

static void serve(struct door_side *d, const struct door_request *request, const int fds[DOOR_FDS])
{
	struct error *why = NULL;

	switch (request->op) {
	case DOOR_LISTEN:
		start_listening(d, fds[0], &why);
		break;
	case DOOR_ATTACH:
		attach(d, request, fds, &why);
		break;
	case DOOR_CLOSE:
		close_channel(d, request->channel);
		break;
	case DOOR_RESUME:
		let_resume(d, request);
		break;
	}
	say(d, true, request->number, request->channel, why);
	error_free(why);
}

/* What the decoder says comes before what its end made of the relay. */
static int check_channel(const struct door_side *d, size_t i, struct error **err)
{
	if (d->channels[i].decode && codec_pipe_check(d->channels[i].decode, err) < 0)
		return error_wrap(err, "channel %s", d->channels[i].name);
	return relay_poll(d->channels[i].relay, err) == RELAY_FAILED ? -1 : 0;
}

static void look_after_channels(struct door_side *d)
{
	for (size_t i = 0; i < DOOR_CHANNELS; i++) {
		struct error *why = NULL;

		if (!d->channels[i].relay || d->channels[i].told || check_channel(d, i, &why) == 0)
			continue;
		d->channels[i].told = true;
		say(d, false, 0, d->channels[i].name, why);
		error_free(why);
	}
}

void door_main(int socket, const struct channel_key *key, bool plain)
{
	struct door_side d = {.socket = socket, .key = key, .plain = plain};
	struct door_request request;
	int fds[DOOR_FDS];

	for (;;) {
		struct pollfd p = {.fd = socket, .events = POLLIN};

		if (poll(&p, 1, LOOK_MS) < 0 && errno != EINTR)
			break;
		if (p.revents && !receive(socket, &request, fds))
			break;
		if (p.revents)
			serve(&d, &request, fds);
		hand_out(&d);
		look_after_channels(&d);
	}
	/* What is on its way to the local streams is in their sockets; nothing is left to do. */
}
