/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/control/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "migrate/control/remote_link.h"

#define LOG_MODULE "remote"

/* A VM's definition is the largest thing that goes through here. */
#define LINE_MOST ((size_t)1 << 20)

struct remote {
	const struct remote_link_ops *ops;
	void *link;
	struct jsonl *lines;
	char name[NAME_SIZE];
	char path[NAME_SIZE];
};

static struct remote *open_one(const struct fleet_host *host, const struct fleet_address *at,
			       const char *rsh, int64_t deadline_ns, struct error **err)
{
	struct remote *remote = calloc(1, sizeof(*remote));
	struct remote_target target = {.address = &at->address,
				       .user = host->ssh.user,
				       .port = host->ssh.port,
				       .identity = host->ssh.identity,
				       .known_hosts = host->ssh.known_hosts,
				       .rsh = rsh,
				       .command = "edgehop serve"};

	if (!remote || !(remote->lines = jsonl_create(LINE_MOST))) {
		free(remote);
		error_set(err, ENOMEM, "no memory for a connection");
		return NULL;
	}
	memcpy(remote->name, host->name, sizeof(remote->name));
	memcpy(remote->path, at->path, sizeof(remote->path));
	remote->ops = rsh ? &remote_link_rsh : &remote_link_ssh;
	remote->link = remote->ops->open(&target, deadline_ns, err);
	if (!remote->link) {
		jsonl_destroy(remote->lines);
		free(remote);
		return NULL;
	}
	return remote;
}

struct remote *remote_open(const struct fleet_host *host, const char *rsh, int64_t deadline_ns,
			   struct error **err)
{
	struct error *last = NULL;

	for (size_t i = 0; i < host->address_count; i++) {
		int64_t now = clock_ns();
		int64_t share = now + (deadline_ns - now) / (int64_t)(host->address_count - i);
		struct remote *remote;

		if (last)
			log_warn("host %s: %s; trying its next address", host->name, last->message);
		error_free(last);
		last = NULL;
		remote = open_one(host, &host->addresses[i], rsh, share, &last);
		if (remote)
			return remote;
	}
	if (!last)
		error_set(&last, EDESTADDRREQ, "has no address in the configuration");
	error_wrap(&last, "host %s", host->name);
	error_propagate(err, last);
	return NULL;
}

void remote_close(struct remote *remote)
{
	if (!remote)
		return;
	remote->ops->close(remote->link);
	jsonl_destroy(remote->lines);
	free(remote);
}

const char *remote_path(const struct remote *remote)
{
	return remote->path;
}

static int send_line(struct remote *remote, const json_t *request, int64_t deadline_ns,
		     struct error **err)
{
	auto_free char *text = json_dumps(request, JSON_COMPACT);
	size_t size;
	int result;

	if (!text)
		return error_set(err, ENOMEM, "can't encode a request");
	size = strlen(text);
	text[size] = '\n';
	result = remote->ops->write(remote->link, text, size + 1, deadline_ns, err);
	explicit_bzero(text, size + 1); /* it may hold a key, and is freed now */
	return result;
}

static json_t *receive_line(struct remote *remote, int64_t deadline_ns, struct error **err)
{
	for (;;) {
		struct error *bad = NULL;
		json_t *answer = jsonl_next(remote->lines, &bad);
		char chunk[4096];
		ssize_t n;

		if (answer)
			return answer;
		if (bad) {
			error_propagate(err, bad);
			return NULL;
		}
		n = remote->ops->read(remote->link, chunk, sizeof(chunk), deadline_ns, err);
		if (n < 0 || jsonl_feed(remote->lines, chunk, (size_t)n, err) < 0)
			return NULL;
	}
}

json_t *remote_call(struct remote *remote, const json_t *request, int64_t deadline_ns,
		    struct error **err)
{
	auto_json answer = NULL;
	struct error *why = NULL;
	const char *text;

	if (send_line(remote, request, deadline_ns, &why) == 0)
		answer = receive_line(remote, deadline_ns, &why);
	if (!answer) {
		error_wrap(&why, "host %s", remote->name);
		error_propagate(err, why);
		return NULL;
	}
	if (json_object_get(answer, "failed")) {
		text = json_get_string(answer, "error", NULL);
		error_set(err, EREMOTEIO, "host %s: %s", remote->name, text ? text : "failed");
		return NULL;
	}
	return steal_ptr(answer);
}
