/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migrate/probe/probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/jsonl.h"
#include "common/log.h"
#include "common/pressure.h"
#include "common/uuid.h"
#include "migrate/probe/burst.h"
#include "migrate/transport/door.h"
#include "migrate/transport/mptcp.h"
#include "netswitch/endpoints.h"

#define LOG_MODULE "probe"

/*
 * The far side of a probe: one a process, between probe-begin and probe-end, or until the process
 * ends with its SSH connection. As in a hop a door, a confined process, has to do with the network.
 * A thread of this one takes channel after channel out of it and swallows what comes; the main
 * thread answers requests, and touches the door only when that thread is not there.
 *
 * The source is done with one channel before it opens the next, but that may be seen here late:
 * what it had written still comes through a slow path, or the path loses the packets that end the
 * connection, and then five seconds of silence go by. So it is not waited for: a later channel
 * takes the place of the earlier one.
 */
#define LOOK_NS (100 * NS_PER_MS)

struct far_probe {
	struct channel_key key;
	struct door *door;
	pthread_t thread;
	bool stop; /* atomic */
};

static struct far_probe *probe; /* NULL: none is under way */

/* The next channel's bytes, if the source opens one by then; else -1. */
static int next_channel(struct far_probe *p, int64_t deadline_ns)
{
	auto_error why = NULL;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	if (door_attach(p->door, BURST_CHANNEL, ends[0], BURST_SILENCE_MS, deadline_ns, &why) == 0)
		return ends[1];
	close(ends[1]);
	if (why->code == ECONNABORTED) /* the door is gone, nothing waits any more */
		__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
	return -1;
}

static void *swallow_all(void *arg)
{
	struct far_probe *p = arg;
	int fd = -1;

	while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
		int64_t now = clock_ns();
		int next = next_channel(p, fd < 0 ? now + LOOK_NS : now);

		if (next >= 0) {
			if (fd >= 0)
				close(fd);
			fd = next;
		}
		if (fd >= 0 && !burst_swallow(fd, clock_ns() + LOOK_NS)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

void probe_serve_close(void)
{
	auto_error why = NULL;

	if (!probe)
		return;
	__atomic_store_n(&probe->stop, true, __ATOMIC_RELEASE);
	pthread_join(probe->thread, NULL);
	door_destroy(probe->door);
	if (endpoints_release(probe->key.hop, &why) < 0)
		log_warn("%s", error_text(why));
	explicit_bzero(&probe->key, sizeof(probe->key));
	free(probe);
	probe = NULL;
}

static int read_request(const json_t *request, struct channel_key *key, size_t *buffer,
			struct error **err)
{
	const char *id = json_get_string(request, "probe", err);
	const char *hex = id ? json_get_string(request, "key", err) : NULL;
	int64_t bytes;

	if (!hex || json_get_int(request, "buffer", 0, 256 << 20, &bytes, err) < 0)
		return -1;
	if (!uuid_parse(id, key->hop))
		return error_set(err, EPROTO, "field probe: expected a UUID");
	*buffer = (size_t)bytes;
	return channel_key_from_hex(hex, key, err);
}

/* *port: wanted, 0 for any; receives the one it got. */
static int open_door(struct far_probe *p, uint16_t *port, size_t buffer, struct error **err)
{
	int fd;

	p->door = door_start(&p->key, false, err);
	fd = p->door ? mptcp_listen(port, buffer, err) : -1;
	if (fd < 0 || door_listen(p->door, fd, err) < 0)
		return -1;
	if (pthread_create(&p->thread, NULL, swallow_all, p) != 0)
		return error_set(err, EAGAIN, "can't start the probe");
	return 0;
}

int probe_serve_begin(const struct fleet *fleet, const json_t *request, json_t **answer,
		      struct error **err)
{
	struct far_probe *p = calloc(1, sizeof(*p));
	uint16_t port = fleet->port;
	size_t buffer = 0;

	probe_serve_close();
	if (!p)
		return error_set(err, ENOMEM, "no memory for a probe");
	if (read_request(request, &p->key, &buffer, err) < 0 ||
	    open_door(p, &port, buffer, err) < 0) {
		door_destroy(p->door);
		free(p);
		return -1;
	}
	probe = p;
	*answer = json_pack("{s:i, s:I}", "port", (int)port, "cpu_waited_us",
			    (json_int_t)pressure_cpu_us());
	return 0;
}

/* As the destination of a hop does: all addresses but the one that connections begin on. */
int probe_serve_together(const struct fleet *fleet, const json_t *request, json_t **answer,
			 struct error **err)
{
	const struct fleet_host *self = fleet_self(fleet, err);
	const char *first = self ? json_get_string(request, "first-path", err) : NULL;
	struct ip_addr addresses[PROBE_PATHS];
	auto_error no_mptcp = NULL;
	size_t n = 0;

	if (!first)
		return -1;
	if (!probe)
		return error_set(err, EPROTO, "no probe is under way");
	for (size_t i = 0; i < self->address_count && n < PROBE_PATHS; i++)
		if (strcmp(self->addresses[i].path, first) != 0)
			addresses[n++] = self->addresses[i].address;
	if (endpoints_hold(probe->key.hop, addresses, n, ENDPOINT_SIGNAL, &no_mptcp) < 0)
		log_info("%s", error_text(no_mptcp));
	*answer = json_pack("{s:b, s:s?}", "mptcp", !no_mptcp, "why_not",
			    no_mptcp ? no_mptcp->message : NULL);
	return 0;
}

int probe_serve_end(const struct fleet *fleet, const json_t *request, json_t **answer,
		    struct error **err)
{
	(void)fleet;
	(void)request;
	(void)err;
	probe_serve_close();
	*answer = json_object();
	return 0;
}
