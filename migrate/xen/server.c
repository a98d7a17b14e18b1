/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/xen/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#define LOG_MODULE "server"
#include "common/log.h"
#include "migrate/transport/local.h"

#define CLIENTS_MOST (SERVER_FDS - 1)
#define ANSWER_NS    (200 * NS_PER_MS)
#define ACCEPT_NS    (10 * NS_PER_MS)

struct client {
	int fd; /* -1: free */
	struct jsonl *lines;
	int64_t waits; /* the id of its XEN_WAIT, 0: it does not wait */
	uint64_t serial;
	int64_t until_ns;
};

struct server {
	struct domain *domain;
	int listener;
	struct client clients[CLIENTS_MOST];
};

struct server *server_open(const char *path, struct domain *domain, struct error **err)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	server->domain = domain;
	for (size_t i = 0; i < CLIENTS_MOST; i++)
		server->clients[i].fd = -1;
	server->listener = local_listen(path, err);
	if (server->listener >= 0)
		return server;
	free(server);
	return NULL;
}

static void drop(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	jsonl_destroy(client->lines);
	*client = (struct client){.fd = -1};
}

void server_close(struct server *server)
{
	if (!server)
		return;
	for (size_t i = 0; i < CLIENTS_MOST; i++)
		drop(&server->clients[i]);
	close(server->listener);
	free(server);
}

static void answer(struct client *client, json_t *json)
{
	if (!json || jsonl_write(client->fd, json, clock_ns() + ANSWER_NS, NULL) < 0)
		drop(client);
	json_decref(json);
}

static void answer_status(struct server *server, struct client *client, int64_t id)
{
	struct xen_status status;

	domain_status(server->domain, &status);
	answer(client, xen_status_make(id, &status));
}

static void serve(struct server *server, struct client *client, const json_t *json)
{
	struct xen_request request;
	auto_error why = NULL;

	if (client->waits)
		answer_status(server, client, client->waits);
	client->waits = 0;
	if (xen_request_parse(json, &request, &why) == 0 && request.order == XEN_WAIT) {
		client->waits = request.id;
		client->serial = request.serial;
		client->until_ns = clock_ns() + request.wait_ms * NS_PER_MS;
		return;
	}
	if (!why && request.order != XEN_STATUS) {
		log_info("ordered: %s", xen_order_name(request.order));
		(void)domain_order(server->domain, &request, &why);
	}
	if (why) {
		log_warn("refused: %s", error_text(why));
		answer(client, xen_refusal_make(request.id, why));
	} else {
		answer_status(server, client, request.id);
	}
}

static void take(struct server *server, struct client *client)
{
	char data[XEN_LINE_MOST];
	ssize_t n = read(client->fd, data, sizeof(data));
	auto_error why = NULL;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || jsonl_feed(client->lines, data, (size_t)n, &why) < 0) {
		if (why)
			log_warn("a connection is dropped: %s", error_text(why));
		drop(client);
		return;
	}
	while (client->fd >= 0) {
		auto_json json = jsonl_next(client->lines, &why);

		if (json)
			serve(server, client, json);
		else if (!why)
			return;
		else
			drop(client);
	}
}

static void greet(struct server *server)
{
	int fd = local_accept(server->listener, clock_ns() + ACCEPT_NS, NULL);
	size_t i = 0;

	if (fd < 0)
		return;
	while (i < CLIENTS_MOST && server->clients[i].fd >= 0)
		i++;
	if (i < CLIENTS_MOST)
		server->clients[i].lines = jsonl_create(2 * XEN_LINE_MOST);
	if (i == CLIENTS_MOST || !server->clients[i].lines || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		log_warn("a connection is refused: there are %d already", CLIENTS_MOST);
		close(fd);
		return;
	}
	server->clients[i].fd = fd;
}

size_t server_poll(const struct server *server, struct pollfd fds[SERVER_FDS], int *timeout_ms)
{
	int64_t now = clock_ns();

	fds[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
	for (size_t i = 0; i < CLIENTS_MOST; i++) {
		const struct client *client = &server->clients[i];
		int64_t left = (client->until_ns - now) / NS_PER_MS + 1;

		fds[i + 1] = (struct pollfd){.fd = client->fd, .events = POLLIN};
		if (client->waits && left < *timeout_ms)
			*timeout_ms = left > 0 ? (int)left : 0;
	}
	return SERVER_FDS;
}

void server_polled(struct server *server, const struct pollfd *fds, size_t count)
{
	for (size_t i = 0; i + 1 < count; i++)
		if (fds[i + 1].revents && server->clients[i].fd == fds[i + 1].fd)
			take(server, &server->clients[i]);
	if (fds[0].revents)
		greet(server);
}

void server_tell(struct server *server)
{
	struct xen_status status;
	int64_t now = clock_ns();

	domain_status(server->domain, &status);
	for (size_t i = 0; i < CLIENTS_MOST; i++) {
		struct client *client = &server->clients[i];
		int64_t id = client->waits;

		if (!id || (client->serial == status.serial && now < client->until_ns))
			continue;
		client->waits = 0;
		answer(client, xen_status_make(id, &status));
	}
}
