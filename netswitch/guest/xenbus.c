/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * The device takes and gives the messages of xenstore's wire protocol: a header, then bytes; paths
 * that don't begin with a slash are below the guest's own folder. One request at a time: its answer
 * is read at once; what comes before it are events of the watch, of which only the fact matters.
 *
 * After a hop the kernel sets the watch again in the new host's xenstore, which fires it. There the
 * nodes are gone; who waits for an answer writes its chunk again (xen-bridge.h).
 */
#include "netswitch/guest/xenbus.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "netswitch/xen-bridge.h"
#include "netswitch/xen-link.h"

#define LOG_MODULE "xenbus"

#define IDLE_MS	     10000
#define PAYLOAD_MOST 4096
#define HEADER_SIZE  16

/* Of Xen's public/io/xs_wire.h; the numbers are in the machine's own order. */
enum message {
	MESSAGE_READ = 2,
	MESSAGE_WATCH = 4,
	MESSAGE_WRITE = 11,
	MESSAGE_EVENT = 15,
	MESSAGE_ERROR = 16
};

struct xenbus {
	int device;
	int agent; /* our end of the socket */
	uint32_t request;
	struct xen_bridge *bridge;
	bool broken; /* the device failed */
	char payload[PAYLOAD_MOST + 1];
};

/* The next message; its payload is NUL-terminated in bus->payload. */
static int receive(struct xenbus *bus, uint32_t header[4], struct error **err)
{
	if (read_all(bus->device, header, HEADER_SIZE, err) < 0)
		return -1;
	if (header[3] > PAYLOAD_MOST)
		return error_set(err, EPROTO, "xenstore: a message of %u bytes", header[3]);
	if (read_all(bus->device, bus->payload, header[3], err) < 0)
		return -1;
	bus->payload[header[3]] = '\0';
	return 0;
}

/* A request and its answer. Its size, or -1: refused, and *err only where the device failed. */
static ssize_t ask(struct xenbus *bus, enum message type, const char *payload, size_t n,
		   struct error **err)
{
	uint32_t header[4] = {type, ++bus->request, 0, (uint32_t)n};
	char message[HEADER_SIZE + PAYLOAD_MOST];

	if (n > PAYLOAD_MOST)
		return error_set(err, EMSGSIZE, "xenstore: a request of %zu bytes", n);
	memcpy(message, header, HEADER_SIZE);
	memcpy(message + HEADER_SIZE, payload, n);
	if (write_all(bus->device, message, HEADER_SIZE + n, err) < 0)
		return -1;
	do {
		if (receive(bus, header, err) < 0)
			return -1;
		if (header[0] == MESSAGE_EVENT)
			xen_bridge_changed(bus->bridge);
	} while (header[0] == MESSAGE_EVENT || header[1] != bus->request);
	return header[0] == MESSAGE_ERROR ? -1 : (ssize_t)header[3];
}

static void note(struct xenbus *bus, struct error *why)
{
	if (!why)
		return;
	log_error("%s", error_text(why));
	error_free(why);
	bus->broken = true;
}

static char *read_node(void *arg, const char *node, unsigned *n)
{
	struct xenbus *bus = arg;
	struct error *why = NULL;
	char path[64], *copy;
	ssize_t size;

	snprintf(path, sizeof(path), XEN_LINK_FOLDER "/%s", node);
	size = ask(bus, MESSAGE_READ, path, strlen(path) + 1, &why);
	note(bus, why);
	if (size < 0)
		return NULL;
	copy = malloc((size_t)size + 1);
	if (copy)
		memcpy(copy, bus->payload, (size_t)size + 1);
	*n = copy ? (unsigned)size : 0;
	return copy;
}

static void write_node(void *arg, const char *node, const char *value, size_t n)
{
	struct xenbus *bus = arg;
	struct error *why = NULL;
	char payload[64 + XEN_LINK_VALUE];
	int path = snprintf(payload, 64, XEN_LINK_FOLDER "/%s", node) + 1;

	memcpy(payload + path, value, n);
	if (ask(bus, MESSAGE_WRITE, payload, (size_t)path + n, &why) < 0 && !why)
		log_warn("xenstore refuses to write %s: %s", payload, bus->payload);
	note(bus, why);
}

static int set_watch(struct xenbus *bus, struct error **err)
{
	static const char payload[] = XEN_LINK_FOLDER "\0agent";
	struct error *why = NULL;

	if (ask(bus, MESSAGE_WATCH, payload, sizeof(payload), &why) >= 0)
		return 0;
	return why ? error_propagate(err, why)
		   : error_set(err, EPERM, "xenstore refuses a watch: %s", bus->payload);
}

/* Nobody has asked: events of the watch. */
static void hear_events(struct xenbus *bus)
{
	struct error *why = NULL;
	uint32_t header[4];

	if (receive(bus, header, &why) == 0)
		xen_bridge_changed(bus->bridge);
	note(bus, why);
}

static void *carry(void *arg)
{
	struct xenbus *bus = arg;
	bool open = true;

	while (open && !bus->broken) {
		int timeout = IDLE_MS;
		short events = xen_bridge_events(bus->bridge, &timeout);
		struct pollfd fds[2] = {{.fd = bus->device, .events = POLLIN},
					{.fd = bus->agent, .events = events}};

		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			hear_events(bus);
		open = xen_bridge_step(bus->bridge, fds[1].revents);
	}
	close(bus->agent);
	close(bus->device);
	xen_bridge_destroy(bus->bridge);
	free(bus);
	return NULL;
}

static int start(struct xenbus *bus, struct error **err)
{
	const struct xen_bridge_store store = {read_node, write_node, bus};
	pthread_t thread;
	int ends[2];

	bus->bridge = xen_bridge_create(XEN_BRIDGE_GUEST, &store, err);
	if (!bus->bridge || set_watch(bus, err) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, "socket pair");
	bus->agent = ends[1];
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
	xen_bridge_join(bus->bridge, ends[1]);
	if (pthread_create(&thread, NULL, carry, bus) == 0) {
		pthread_detach(thread);
		return ends[0];
	}
	close(ends[0]);
	close(ends[1]);
	return error_set(err, EAGAIN, "no thread for xenstore");
}

int xenbus_open(const char *device, struct error **err)
{
	struct xenbus *bus = calloc(1, sizeof(*bus));
	int fd;

	if (!bus)
		return error_set(err, ENOMEM, "out of memory");
	bus->device = open(device, O_RDWR | O_CLOEXEC);
	if (bus->device < 0) {
		free(bus);
		return error_errno(err, "%s", device);
	}
	fd = start(bus, err);
	if (fd >= 0)
		return fd;
	close(bus->device);
	xen_bridge_destroy(bus->bridge);
	free(bus);
	return error_wrap(err, "%s", device);
}
