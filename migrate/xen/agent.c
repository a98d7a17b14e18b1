/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A watch of our own connection to xenstore says that something below the guest's folder has
 * changed; then the two nodes that the guest writes are read, whatever it was that changed. A guest
 * that writes without end is looked at once in LOOK_MS at most. Chunks that the client has no room
 * for are not acknowledged, so the guest waits; without a client they are dropped, as those of a
 * port that nobody has opened.
 *
 * The folder is another one when the domain is: after a reboot, or an arrival.
 */
#include "migrate/xen/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xenstore.h>

#include "common/cleanup.h"
#include "common/clock.h"
#define LOG_MODULE "agent"
#include "common/log.h"
#include "migrate/transport/local.h"
#include "netswitch/xen-link.h"

#define LOOK_MS	    5
#define AGAIN_NS    (2 * NS_PER_SEC)
#define ACCEPT_NS   (10 * NS_PER_MS)
#define FOLDER_MOST 64

struct agent_link {
	const struct domain *domain;
	struct xs_handle *xs; /* of our own, for the watch */
	int listener, client;
	int64_t id;		  /* of the domain whose folder is watched; -1: none */
	char folder[FOLDER_MOST]; /* its path in xenstore */
	bool due;		  /* something has changed there */
	int64_t looked_ns, written_ns;
	struct xen_link_out out;
	struct xen_link_in in;
	size_t held; /* bytes of the guest that the client has not taken yet */
	char holding[XEN_LINK_CHUNK];
};

static uint32_t seed(void)
{
	uint32_t value = (uint32_t)clock_ns();

	(void)!getrandom(&value, sizeof(value), GRND_NONBLOCK);
	return value;
}

struct agent_link *agent_link_open(const char *path, const struct domain *domain,
				   struct error **err)
{
	struct agent_link *link = calloc(1, sizeof(*link));

	if (!link) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	link->domain = domain;
	link->client = -1;
	link->id = -1;
	link->listener = local_listen(path, err);
	link->xs = link->listener < 0 ? NULL : xs_open(0);
	if (link->listener >= 0 && !link->xs)
		error_errno(err, "xenstore");
	if (link->xs) {
		xen_link_out_init(&link->out, seed());
		return link;
	}
	agent_link_close(link);
	return NULL;
}

void agent_link_close(struct agent_link *link)
{
	if (!link)
		return;
	if (link->xs)
		xs_close(link->xs);
	if (link->client >= 0)
		close(link->client);
	if (link->listener >= 0)
		close(link->listener);
	free(link);
}

/* Below the folder of the guest: "to-guest". */
static void node_path(const struct agent_link *link, const char *node, char path[FOLDER_MOST + 32])
{
	snprintf(path, FOLDER_MOST + 32, "%s/%s", link->folder, node);
}

static void write_node(struct agent_link *link, const char *node, const char *value, size_t n)
{
	char path[FOLDER_MOST + 32];

	node_path(link, node, path);
	if (!xs_write(link->xs, XBT_NULL, path, value, (unsigned)n))
		log_warn("%s in xenstore: %s", path, strerror(errno));
}

static char *read_node(struct agent_link *link, const char *node, unsigned *n)
{
	char path[FOLDER_MOST + 32];

	node_path(link, node, path);
	return xs_read(link->xs, XBT_NULL, path, n);
}

/* Another domain, another folder, and another life of the agent in it. */
static void follow_domain(struct agent_link *link)
{
	int64_t id = domain_id(link->domain);

	if (id == link->id)
		return;
	if (link->id >= 0)
		xs_unwatch(link->xs, link->folder, "agent");
	link->id = id;
	link->due = id >= 0;
	link->held = 0;
	link->in.id[0] = '\0';
	xen_link_drop(&link->out, seed());
	if (id < 0)
		return;
	snprintf(link->folder, sizeof(link->folder), "/local/domain/%" PRId64 "/" XEN_LINK_FOLDER,
		 id);
	if (!xs_watch(link->xs, link->folder, "agent"))
		log_warn("the agent can't be listened to: watch of %s: %s", link->folder,
			 strerror(errno));
}

static void drop_client(struct agent_link *link)
{
	if (link->client >= 0)
		close(link->client);
	link->client = -1;
	link->held = 0;
}

/* To the client what the guest has said, and to the guest that it was seen. */
static void pass_on(struct agent_link *link)
{
	ssize_t n;

	if (link->held == 0)
		return;
	n = link->client < 0 ? (ssize_t)link->held : write(link->client, link->holding, link->held);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop_client(link);
		n = 0;
	}
	if (n > 0) {
		link->held -= (size_t)n;
		memmove(link->holding, link->holding + n, link->held);
	}
	if (link->held == 0)
		write_node(link, "to-host-seen", link->in.id, strlen(link->in.id));
}

static void hear_guest(struct agent_link *link)
{
	unsigned n = 0;
	auto_free char *value = read_node(link, "to-host", &n);
	const char *data;
	size_t size;

	switch (xen_link_take(&link->in, value, n, &data, &size)) {
	case XEN_LINK_MORE:
	case XEN_LINK_FRESH:
		memcpy(link->holding, data, size);
		link->held = size;
		pass_on(link);
		if (size == 0)
			write_node(link, "to-host-seen", link->in.id, strlen(link->in.id));
		break;
	case XEN_LINK_AGAIN:
		write_node(link, "to-host-seen", link->in.id, strlen(link->in.id));
		break;
	default:
		break;
	}
}

static void tell_guest(struct agent_link *link)
{
	int64_t now = clock_ns();
	bool again = link->out.waiting && now > link->written_ns + AGAIN_NS;
	char value[XEN_LINK_VALUE];
	size_t n = xen_link_value(&link->out, again, value);

	if (n == 0)
		return;
	write_node(link, "to-guest", value, n);
	link->written_ns = now;
}

static void look(struct agent_link *link)
{
	unsigned n = 0;
	auto_free char *seen = read_node(link, "to-guest-seen", &n);

	link->due = false;
	link->looked_ns = clock_ns();
	if (seen)
		(void)xen_link_seen(&link->out, seen, n);
	if (link->held == 0)
		hear_guest(link);
}

static void hear_client(struct agent_link *link)
{
	char data[4096];
	size_t room = xen_link_room(&link->out);
	ssize_t n = read(link->client, data, room < sizeof(data) ? room : sizeof(data));

	if (n > 0 && link->id >= 0)
		xen_link_put(&link->out, data, (size_t)n);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		drop_client(link);
}

static void greet(struct agent_link *link)
{
	link->client = local_accept(link->listener, clock_ns() + ACCEPT_NS, NULL);
	if (link->client >= 0 && fcntl(link->client, F_SETFL, O_NONBLOCK) < 0)
		drop_client(link);
	/* what the last client left is not the new one's */
	xen_link_drop(&link->out, seed());
}

size_t agent_link_poll(const struct agent_link *link, struct pollfd fds[AGENT_FDS], int *timeout_ms)
{
	short client = 0;

	if (xen_link_room(&link->out) > 0)
		client |= POLLIN;
	if (link->held > 0)
		client |= POLLOUT;
	fds[0] = (struct pollfd){.fd = xs_fileno(link->xs), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = link->client < 0 ? link->listener : -1, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = link->client, .events = client};
	if (link->due && *timeout_ms > LOOK_MS)
		*timeout_ms = LOOK_MS;
	return AGENT_FDS;
}

void agent_link_polled(struct agent_link *link, const struct pollfd *fds, size_t count)
{
	char **event;

	(void)count;
	follow_domain(link);
	if (fds[0].revents)
		while ((event = xs_check_watch(link->xs))) {
			link->due = true;
			free(event);
		}
	if (fds[1].revents && link->client < 0)
		greet(link);
	if (link->client >= 0 && fds[2].fd == link->client && fds[2].revents)
		hear_client(link);
	if (link->id < 0)
		return;
	pass_on(link);
	if (link->due && clock_ns() > link->looked_ns + LOOK_MS * NS_PER_MS)
		look(link);
	tell_guest(link);
}
