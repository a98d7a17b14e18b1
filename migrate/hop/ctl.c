/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/hop/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/places.h"
#include "migrate/transport/local.h"

#define LOG_MODULE   "ctl"
#define CLIENTS_MOST 16
#define LINE_MOST    4096

/*
 * Theory of operation
 *
 * The thread owns the clients. The worker's thread leaves snapshots, the end and the decision
 * under `lock` and kicks the thread through `kick`; the thread leaves wishes there and raises
 * `wake`. A client that does not take its lines within a second is dropped: nobody who attaches
 * can hold a hop up.
 */
struct client {
	int fd;
	struct jsonl *lines;
	bool watches, wants_decision;
};

struct ctl {
	int listen_fd;
	int kick; /* worker -> thread */
	int wake; /* thread -> worker */
	pthread_t thread;
	char path[PATH_MAX];
	struct client clients[CLIENTS_MOST];
	size_t n_clients;

	pthread_mutex_t lock; /* of what follows */
	json_t *snapshot, *end;
	bool fresh, stopping;
	bool abort_wanted, release_wanted, decision_wanted;
	struct ctl_limits limits;
	const char *decision;
};

static void raise_event(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void drop(struct ctl *ctl, size_t i)
{
	close(ctl->clients[i].fd);
	jsonl_destroy(ctl->clients[i].lines);
	ctl->clients[i] = ctl->clients[--ctl->n_clients];
}

static int tell(struct client *client, const json_t *line)
{
	return jsonl_write(client->fd, line, clock_ns() + NS_PER_SEC, NULL);
}

static void accept_client(struct ctl *ctl)
{
	int fd = accept4(ctl->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct jsonl *lines;

	if (fd < 0)
		return;
	lines = ctl->n_clients < CLIENTS_MOST ? jsonl_create(LINE_MOST) : NULL;
	if (!lines) {
		close(fd);
		return;
	}
	ctl->clients[ctl->n_clients++] = (struct client){.fd = fd, .lines = lines};
}

static json_t *current(struct ctl *ctl)
{
	json_t *line;

	pthread_mutex_lock(&ctl->lock);
	line = json_incref(ctl->end ? ctl->end : ctl->snapshot);
	pthread_mutex_unlock(&ctl->lock);
	return line ? line : json_pack("{s:s}", "event", "starting");
}

static int take_limit(struct ctl *ctl, struct client *client, const json_t *request)
{
	auto_error why = NULL;
	auto_json answer = NULL;
	int64_t rate = 0, downtime_ns = 0;
	bool downtime_given = json_object_get(request, "max_downtime_ns");
	bool rate_given = json_object_get(request, "rate") || !downtime_given;

	/* one of them has to be there: without either it is the rate that is missing */
	if ((rate_given && json_get_int(request, "rate", 0, INT64_MAX, &rate, &why) < 0) ||
	    (downtime_given && json_get_int(request, "max_downtime_ns", NS_PER_MS, INT64_MAX,
					    &downtime_ns, &why) < 0)) {
		answer = json_pack("{s:b, s:s}", "ok", 0, "error", why->message);
		return tell(client, answer);
	}
	pthread_mutex_lock(&ctl->lock);
	if (rate_given) {
		ctl->limits.rate_given = true;
		ctl->limits.rate = (uint64_t)rate;
	}
	if (downtime_given)
		ctl->limits.downtime_ns = downtime_ns;
	pthread_mutex_unlock(&ctl->lock);
	answer = json_pack("{s:b}", "ok", 1);
	return tell(client, answer);
}

static int serve_request(struct ctl *ctl, struct client *client, const json_t *request)
{
	const char *op = json_get_string(request, "op", NULL);
	auto_json answer = NULL;

	if (op && (strcmp(op, "status") == 0 || strcmp(op, "watch") == 0)) {
		client->watches |= strcmp(op, "watch") == 0;
		answer = current(ctl);
		return tell(client, answer);
	}
	if (op && (strcmp(op, "abort") == 0 || strcmp(op, "release") == 0)) {
		pthread_mutex_lock(&ctl->lock);
		*(*op == 'a' ? &ctl->abort_wanted : &ctl->release_wanted) = true;
		pthread_mutex_unlock(&ctl->lock);
		raise_event(ctl->wake);
		answer = json_pack("{s:b}", "ok", 1);
		return tell(client, answer);
	}
	if (op && strcmp(op, "limit") == 0)
		return take_limit(ctl, client, request);
	if (op && strcmp(op, "decide") == 0) {
		client->wants_decision = true;
		pthread_mutex_lock(&ctl->lock);
		ctl->decision_wanted = true;
		pthread_mutex_unlock(&ctl->lock);
		raise_event(ctl->wake);
		raise_event(ctl->kick); /* it may stand already */
		return 0;
	}
	answer = json_pack("{s:b, s:s}", "ok", 0, "error", "unknown op");
	return tell(client, answer);
}

/* -1: the client is gone, or not worth keeping. */
static int serve_client(struct ctl *ctl, struct client *client)
{
	char chunk[1024];
	ssize_t n = recv(client->fd, chunk, sizeof(chunk), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 || jsonl_feed(client->lines, chunk, (size_t)n, NULL) < 0)
		return -1;
	for (;;) {
		auto_error bad = NULL;
		auto_json request = jsonl_next(client->lines, &bad);

		if (bad)
			return -1;
		if (!request)
			return 0;
		if (serve_request(ctl, client, request) < 0)
			return -1;
	}
}

/* Brings what the worker left to those who wait for it. Returns true when all is told and over. */
static bool distribute(struct ctl *ctl)
{
	auto_json line = NULL;
	auto_json decision = NULL;
	bool over;

	pthread_mutex_lock(&ctl->lock);
	if (ctl->fresh)
		line = json_incref(ctl->end ? ctl->end : ctl->snapshot);
	ctl->fresh = false;
	if (ctl->decision)
		decision = json_pack("{s:s}", "decision", ctl->decision);
	over = ctl->stopping;
	pthread_mutex_unlock(&ctl->lock);
	for (size_t i = ctl->n_clients; i-- > 0;) {
		struct client *client = &ctl->clients[i];

		if (line && client->watches && tell(client, line) < 0) {
			drop(ctl, i);
			continue;
		}
		if (decision && client->wants_decision) {
			client->wants_decision = false;
			if (tell(client, decision) < 0)
				drop(ctl, i);
		}
	}
	return over;
}

static void *ctl_main(void *arg)
{
	struct ctl *ctl = arg;

	for (;;) {
		struct pollfd p[CLIENTS_MOST + 2] = {{.fd = ctl->kick, .events = POLLIN},
						     {.fd = ctl->listen_fd, .events = POLLIN}};
		size_t n = ctl->n_clients;
		uint64_t count;

		for (size_t i = 0; i < n; i++)
			p[i + 2] = (struct pollfd){.fd = ctl->clients[i].fd, .events = POLLIN};
		if (poll(p, n + 2, -1) < 0 && errno != EINTR)
			return NULL;
		for (size_t i = n; i-- > 0;)
			if (p[i + 2].revents && serve_client(ctl, &ctl->clients[i]) < 0)
				drop(ctl, i);
		if (p[1].revents)
			accept_client(ctl);
		if (p[0].revents)
			(void)!read(ctl->kick, &count, sizeof(count));
		if (distribute(ctl))
			return NULL;
	}
}

static int socket_path(char path[PATH_MAX], const char *hop, struct error **err)
{
	return place(path, err, PLACE_RUN "/hops/%s/ctl.sock", hop);
}

struct ctl *ctl_start(const char *hop, struct error **err)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));

	if (!ctl) {
		error_set(err, ENOMEM, "no memory for the control socket");
		return NULL;
	}
	ctl->listen_fd = -1;
	ctl->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ctl->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&ctl->lock, NULL);
	if (socket_path(ctl->path, hop, err) < 0)
		goto failed;
	ctl->listen_fd = local_listen(ctl->path, err);
	if (ctl->listen_fd < 0)
		goto failed;
	if (ctl->kick < 0 || ctl->wake < 0 || fcntl(ctl->listen_fd, F_SETFL, O_NONBLOCK) < 0 ||
	    pthread_create(&ctl->thread, NULL, ctl_main, ctl) != 0) {
		error_errno(err, "%s", ctl->path);
		goto failed;
	}
	return ctl;
failed:
	close(ctl->listen_fd);
	close(ctl->kick);
	close(ctl->wake);
	free(ctl);
	return NULL;
}

void ctl_stop(struct ctl *ctl)
{
	if (!ctl)
		return;
	pthread_mutex_lock(&ctl->lock);
	ctl->stopping = true;
	pthread_mutex_unlock(&ctl->lock);
	raise_event(ctl->kick);
	pthread_join(ctl->thread, NULL);
	while (ctl->n_clients)
		drop(ctl, 0);
	unlink(ctl->path);
	close(ctl->listen_fd);
	close(ctl->kick);
	close(ctl->wake);
	json_decref(ctl->snapshot);
	json_decref(ctl->end);
	pthread_mutex_destroy(&ctl->lock);
	free(ctl);
}

static void leave(struct ctl *ctl, json_t **slot, json_t *line)
{
	pthread_mutex_lock(&ctl->lock);
	json_decref(*slot);
	*slot = line;
	ctl->fresh = true;
	pthread_mutex_unlock(&ctl->lock);
	raise_event(ctl->kick);
}

void ctl_publish(struct ctl *ctl, json_t *snapshot)
{
	leave(ctl, &ctl->snapshot, snapshot);
}

void ctl_publish_end(struct ctl *ctl, json_t *end)
{
	leave(ctl, &ctl->end, end);
}

bool ctl_abort_wanted(struct ctl *ctl)
{
	bool wanted;

	pthread_mutex_lock(&ctl->lock);
	wanted = ctl->abort_wanted;
	pthread_mutex_unlock(&ctl->lock);
	return wanted;
}

bool ctl_release_wanted(struct ctl *ctl)
{
	bool wanted;

	pthread_mutex_lock(&ctl->lock);
	wanted = ctl->release_wanted;
	pthread_mutex_unlock(&ctl->lock);
	return wanted;
}

void ctl_forget_abort(struct ctl *ctl)
{
	pthread_mutex_lock(&ctl->lock);
	ctl->abort_wanted = false;
	pthread_mutex_unlock(&ctl->lock);
}

bool ctl_limits_wanted(struct ctl *ctl, struct ctl_limits *limits)
{
	pthread_mutex_lock(&ctl->lock);
	*limits = ctl->limits;
	ctl->limits = (struct ctl_limits){0};
	pthread_mutex_unlock(&ctl->lock);
	return limits->rate_given || limits->downtime_ns;
}

bool ctl_decision_wanted(struct ctl *ctl)
{
	bool wanted;

	pthread_mutex_lock(&ctl->lock);
	wanted = ctl->decision_wanted;
	pthread_mutex_unlock(&ctl->lock);
	return wanted;
}

void ctl_decided(struct ctl *ctl, const char *decision)
{
	pthread_mutex_lock(&ctl->lock);
	ctl->decision = decision;
	pthread_mutex_unlock(&ctl->lock);
	raise_event(ctl->kick);
}

int ctl_wake_fd(const struct ctl *ctl)
{
	return ctl->wake;
}

int ctl_connect(const char *hop, struct error **err)
{
	char path[PATH_MAX];
	int fd;

	if (socket_path(path, hop, err) < 0)
		return -1;
	fd = local_connect(path, err);
	return fd >= 0 ? fd : error_wrap(err, "hop %s: its worker can't be reached", hop);
}

json_t *ctl_request(const char *hop, const json_t *request, int64_t deadline_ns, struct error **err)
{
	auto_close fd = ctl_connect(hop, err);
	struct jsonl *lines;
	json_t *answer;

	if (fd < 0 || jsonl_write(fd, request, deadline_ns, err) < 0)
		return NULL;
	lines = jsonl_create((size_t)1 << 20);
	if (!lines) {
		error_set(err, ENOMEM, "no memory for an answer");
		return NULL;
	}
	answer = jsonl_read(lines, fd, deadline_ns, err);
	jsonl_destroy(lines);
	return answer;
}

json_t *ctl_ask(const char *hop, const char *op, int64_t deadline_ns, struct error **err)
{
	auto_json request = json_pack("{s:s}", "op", op);

	return ctl_request(hop, request, deadline_ns, err);
}
