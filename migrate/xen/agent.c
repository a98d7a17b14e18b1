/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A watch of our own connection to xenstore says that something below the guest's folder has
 * changed; the rest is the bridge's (netswitch/xen-bridge.h). The folder is another one when the
 * domain is: after a reboot, or an arrival.
 */
#include "migrate/xen/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

#include "common/clock.h"
#define LOG_MODULE "agent"
#include "common/log.h"
#include "migrate/transport/local.h"
#include "netswitch/xen-bridge.h"
#include "netswitch/xen-link.h"

#define ACCEPT_NS   (10 * NS_PER_MS)
#define FOLDER_MOST 64
#define NODE_MOST   (FOLDER_MOST + 32)

struct agent_link {
	const struct domain *domain;
	struct xs_handle *xs; /* of our own, for the watch */
	struct xen_bridge *bridge;
	int listener, client;
	int64_t id;		  /* of the domain whose folder is watched; -1: none */
	char folder[FOLDER_MOST]; /* its path in xenstore */
};

static void write_node(void *arg, const char *node, const char *value, size_t n)
{
	const struct agent_link *link = arg;
	char path[NODE_MOST];

	snprintf(path, sizeof(path), "%s/%s", link->folder, node);
	if (!xs_write(link->xs, XBT_NULL, path, value, (unsigned)n))
		log_warn("%s in xenstore: %s", path, strerror(errno));
}

static char *read_node(void *arg, const char *node, unsigned *n)
{
	const struct agent_link *link = arg;
	char path[NODE_MOST];

	snprintf(path, sizeof(path), "%s/%s", link->folder, node);
	return xs_read(link->xs, XBT_NULL, path, n);
}

struct agent_link *agent_link_open(const char *path, const struct domain *domain,
				   struct error **err)
{
	struct agent_link *link = calloc(1, sizeof(*link));
	const struct xen_bridge_store store = {read_node, write_node, link};

	if (!link) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	link->domain = domain;
	link->client = -1;
	link->id = -1;
	link->listener = local_listen(path, err);
	if (link->listener >= 0)
		link->bridge = xen_bridge_create(XEN_BRIDGE_HOST, &store, err);
	if (link->bridge && !(link->xs = xs_open(0)))
		error_errno(err, "xenstore");
	if (link->xs)
		return link;
	agent_link_close(link);
	return NULL;
}

void agent_link_close(struct agent_link *link)
{
	if (!link)
		return;
	xen_bridge_destroy(link->bridge);
	if (link->xs)
		xs_close(link->xs);
	if (link->client >= 0)
		close(link->client);
	if (link->listener >= 0)
		close(link->listener);
	free(link);
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
	xen_bridge_begin_anew(link->bridge);
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
	xen_bridge_join(link->bridge, -1);
	if (link->client >= 0)
		close(link->client);
	link->client = -1;
}

static void greet(struct agent_link *link)
{
	link->client = local_accept(link->listener, clock_ns() + ACCEPT_NS, NULL);
	if (link->client < 0)
		return;
	if (fcntl(link->client, F_SETFL, O_NONBLOCK) < 0)
		drop_client(link);
	else
		xen_bridge_join(link->bridge, link->client);
}

size_t agent_link_poll(const struct agent_link *link, struct pollfd fds[AGENT_FDS], int *timeout_ms)
{
	short events = xen_bridge_events(link->bridge, timeout_ms);

	fds[0] = (struct pollfd){.fd = xs_fileno(link->xs), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = link->client < 0 ? link->listener : -1, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = link->client, .events = events};
	return AGENT_FDS;
}

void agent_link_polled(struct agent_link *link, const struct pollfd *fds, size_t count)
{
	short revents = link->client == fds[2].fd ? fds[2].revents : 0;
	char **event;

	(void)count;
	follow_domain(link);
	if (fds[0].revents)
		while ((event = xs_check_watch(link->xs))) {
			xen_bridge_changed(link->bridge);
			free(event);
		}
	if (fds[1].revents && link->client < 0)
		greet(link);
	/* Without a domain the client's words stay where they are. */
	if (link->id >= 0 && !xen_bridge_step(link->bridge, revents))
		drop_client(link);
}
