/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/transport/door.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "migrate/codec/page_mac.h"
#include "migrate/transport/confine.h"
#include "migrate/transport/door_internal.h"

#define LOG_MODULE "door"
#define ANSWER_NS  (5 * NS_PER_SEC) /* beyond the request's own deadline */
#define FILES_MOST 256		    /* descriptors: 64 strangers, channels, their local ends */

struct door {
	pid_t pid;
	int socket;
	bool gone; /* the process has ended */
	unsigned asked;
	size_t n_failed;
	struct door_word failed[DOOR_CHANNELS]; /* what the door said of channels */
};

/* The child: nothing of the worker stays but the socket and the log. Never returns. */
static _Noreturn void become_door(int socket, const struct channel_key *key, bool plain,
				  pid_t worker)
{
	struct rlimit files = {FILES_MOST, FILES_MOST};
	struct channel_key own = *key;
	struct error *why = NULL;
	struct tls *first;

	if (dup2(socket, 3) < 0)
		_exit(1);
	close_range(4, ~0u, 0);
	prctl(PR_SET_NAME, "edgehop-door");
	setrlimit(RLIMIT_NOFILE, &files);
	/* What OpenSSL reads when it is used first it must read now. */
	first = tls_create(3, TLS_SERVER, own.hop, own.key, NULL);
	tls_destroy(first);
	page_mac_destroy(page_mac_create((const uint8_t[PAGE_MAC_KEY]){0}, NULL));
	if (confine_process(&why) < 0) {
		log_error("%s", error_text(why));
		_exit(1);
	}
	if (getppid() != worker)
		_exit(1); /* it ended before this process could be told */
	door_main(3, &own, plain);
	_exit(0);
}

struct door *door_start(const struct channel_key *key, bool plain, struct error **err)
{
	struct door *door = calloc(1, sizeof(*door));
	pid_t worker = getpid();
	int ends[2];

	if (!door) {
		error_set(err, ENOMEM, "no memory for the door");
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		error_errno(err, "socket pair");
		free(door);
		return NULL;
	}
	door->pid = fork();
	if (door->pid == 0)
		become_door(ends[1], key, plain, worker);
	close(ends[1]);
	door->socket = ends[0];
	if (door->pid < 0) {
		error_errno(err, "fork");
		close(ends[0]);
		free(door);
		return NULL;
	}
	return door;
}

void door_destroy(struct door *door)
{
	if (!door)
		return;
	close(door->socket);
	kill(door->pid, SIGKILL);
	while (waitpid(door->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(door);
}

static int gone(struct door *door, struct error **err)
{
	if (!door->gone)
		log_error("the process that faces the network has ended");
	door->gone = true;
	return error_set(err, ECONNABORTED, "the process that faces the network has ended");
}

/* The next word, within the time. 1: one; 0: none; -1: the door is gone. */
static int next_word(struct door *door, int64_t deadline_ns, struct door_word *word)
{
	for (;;) {
		struct pollfd p = {.fd = door->socket, .events = POLLIN};
		int64_t left = deadline_ns - clock_ns();
		int n = poll(&p, 1, left > 0 ? (int)((left + NS_PER_MS - 1) / NS_PER_MS) : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n;
		if (recv(door->socket, word, sizeof(*word), MSG_DONTWAIT) != sizeof(*word))
			return -1;
		word->channel[DOOR_NAME - 1] = word->text[DOOR_TEXT - 1] = '\0';
		return 1;
	}
}

static void remember(struct door *door, const struct door_word *word)
{
	if (door->n_failed < DOOR_CHANNELS)
		door->failed[door->n_failed++] = *word;
}

/* Of fds, those from the first one on that are not -1 go along. */
static int send_request(struct door *door, const struct door_request *request,
			const int fds[DOOR_FDS], struct error **err)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(DOOR_FDS * sizeof(int))];
	} control = {0};
	size_t n = 0;
	struct iovec io = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof(*request)};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
	struct cmsghdr *c;

	while (n < DOOR_FDS && fds[n] >= 0)
		n++;
	if (n > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return sendmsg(door->socket, &message, MSG_NOSIGNAL) < 0 ? gone(door, err) : 0;
}

/* One request and its answer; fd (or -1) and those of held files are taken over. */
static int ask(struct door *door, struct door_request *request, int fd, struct error **err)
{
	int fds[DOOR_FDS] = {fd};
	int64_t now = clock_ns();
	int64_t deadline = (request->deadline_ns > now ? request->deadline_ns : now) + ANSWER_NS;
	struct door_word word;
	int sent;

	for (size_t i = 1; i < DOOR_FDS; i++)
		fds[i] = i <= request->decoding.held_count ? request->decoding.held[i - 1].fd : -1;
	request->number = ++door->asked;
	sent = send_request(door, request, fds, err);
	for (size_t i = 0; i < DOOR_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (sent < 0)
		return -1;
	for (;;) {
		int n = next_word(door, deadline, &word);

		if (n < 0)
			return gone(door, err);
		if (n == 0)
			return error_set(err, ETIMEDOUT, "the door gave no answer in time");
		if (word.answer && word.number == request->number)
			break;
		if (!word.answer) /* else one that came too late */
			remember(door, &word);
	}
	return word.code ? error_set(err, word.code, "%s", word.text) : 0;
}

int door_listen(struct door *door, int listen_fd, struct error **err)
{
	struct door_request request = {.op = DOOR_LISTEN};

	return ask(door, &request, listen_fd, err);
}

/* What was said of the channel until now is said of its earlier one. */
static void forget(struct door *door, const char *channel)
{
	size_t n = 0;

	for (size_t i = 0; i < door->n_failed; i++)
		if (strcmp(door->failed[i].channel, channel) != 0)
			door->failed[n++] = door->failed[i];
	door->n_failed = n;
}

static int attach(struct door *door, struct door_request *request, const char *channel,
		  int local_fd, struct error **err)
{
	snprintf(request->channel, sizeof(request->channel), "%s", channel);
	if (ask(door, request, local_fd, err) < 0)
		return -1;
	forget(door, channel);
	return 0;
}

int door_attach(struct door *door, const char *channel, int local_fd, int64_t silence_ms,
		int64_t deadline_ns, struct error **err)
{
	struct door_request request = {
		.op = DOOR_ATTACH, .silence_ms = silence_ms, .deadline_ns = deadline_ns};

	return attach(door, &request, channel, local_fd, err);
}

int door_attach_coded(struct door *door, const char *channel, int local_fd,
		      const struct door_decoding *decoding, int64_t silence_ms, int64_t deadline_ns,
		      struct error **err)
{
	struct door_request request = {.op = DOOR_ATTACH,
				       .silence_ms = silence_ms,
				       .deadline_ns = deadline_ns,
				       .coded = true,
				       .decoding = *decoding};

	return attach(door, &request, channel, local_fd, err);
}

int door_let_resume(struct door *door, int64_t patience_ns, uint64_t window, struct error **err)
{
	struct door_request request = {
		.op = DOOR_RESUME, .patience_ns = patience_ns, .window = window};

	return ask(door, &request, -1, err);
}

int door_close(struct door *door, const char *channel, struct error **err)
{
	struct door_request request = {.op = DOOR_CLOSE};

	snprintf(request.channel, sizeof(request.channel), "%s", channel);
	return ask(door, &request, -1, err);
}

int door_check(struct door *door, const char *channel, struct error **err)
{
	struct door_word word;
	int n = door->gone ? -1 : 1;

	while (n > 0) {
		n = next_word(door, 0, &word);
		if (n > 0 && !word.answer)
			remember(door, &word);
	}
	if (n < 0)
		return gone(door, err);
	for (size_t i = 0; i < door->n_failed; i++) {
		const struct door_word *failed = &door->failed[i];

		if (channel ? strcmp(failed->channel, channel) == 0
			    : strcmp(failed->channel, "control") != 0)
			return error_set(err, failed->code, "%s", failed->text);
	}
	return 0;
}
