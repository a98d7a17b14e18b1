/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *     descriptor --read--> queue --chunk--> our node        their -seen: the next chunk
 *     descriptor <--write-- holding <--chunk-- their node   our -seen, once all is written
 *
 * When something has changed, both nodes that the other side writes are read, whatever it was. A
 * side that writes without end is looked at once in LOOK_MS at most; its next chunk waits until the
 * descriptor has taken the last. So neither side makes the other work or hold more than its share.
 *
 * A session that begins anew may have cut a line: an empty one goes before it.
 */
#include "netswitch/xen-bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "netswitch/xen-link.h"

#define LOOK_MS	 5
#define AGAIN_NS (2 * NS_PER_SEC)

struct xen_bridge {
	struct xen_bridge_store store;
	const char *out_node, *out_seen, *in_node, *in_seen;
	int fd;
	bool due; /* something has changed */
	int64_t looked_ns, written_ns;
	struct xen_link_out out;
	struct xen_link_in in;
	bool owes_seen; /* the last chunk's -seen, when all of it is written */
	size_t held;
	char holding[1 + XEN_LINK_CHUNK];
};

static uint32_t seed(void)
{
	uint32_t value = (uint32_t)clock_ns();

	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) < 0)
		value ^= (uint32_t)getpid();
	return value;
}

struct xen_bridge *xen_bridge_create(enum xen_bridge_end end, const struct xen_bridge_store *store,
				     struct error **err)
{
	struct xen_bridge *b = calloc(1, sizeof(*b));
	bool host = end == XEN_BRIDGE_HOST;

	if (!b) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	b->store = *store;
	b->out_node = host ? "to-guest" : "to-host";
	b->out_seen = host ? "to-guest-seen" : "to-host-seen";
	b->in_node = host ? "to-host" : "to-guest";
	b->in_seen = host ? "to-host-seen" : "to-guest-seen";
	b->fd = -1;
	b->due = true;
	xen_link_out_init(&b->out, seed());
	return b;
}

void xen_bridge_destroy(struct xen_bridge *bridge)
{
	free(bridge);
}

void xen_bridge_join(struct xen_bridge *b, int fd)
{
	b->fd = fd;
	xen_link_out_init(&b->out, seed());
}

void xen_bridge_begin_anew(struct xen_bridge *b)
{
	b->due = true;
	b->held = 0;
	b->owes_seen = false;
	b->in.id[0] = '\0';
	xen_link_out_init(&b->out, seed());
}

void xen_bridge_changed(struct xen_bridge *b)
{
	b->due = true;
}

short xen_bridge_events(const struct xen_bridge *b, int *timeout_ms)
{
	short events = 0;

	if (xen_link_room(&b->out) > 0)
		events |= POLLIN;
	if (b->held > 0)
		events |= POLLOUT;
	if (b->due && *timeout_ms > LOOK_MS)
		*timeout_ms = LOOK_MS;
	if (b->out.waiting && *timeout_ms > (int)(AGAIN_NS / NS_PER_MS))
		*timeout_ms = (int)(AGAIN_NS / NS_PER_MS);
	return events;
}

static void say_seen(struct xen_bridge *b)
{
	b->store.write(b->store.arg, b->in_seen, b->in.id, strlen(b->in.id));
	b->owes_seen = false;
}

/* To the descriptor what the other side has said, and to that side that it was seen. */
static void pass_on(struct xen_bridge *b)
{
	ssize_t n = (ssize_t)b->held;

	if (b->held > 0 && b->fd >= 0)
		n = write(b->fd, b->holding, b->held);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		n = (ssize_t)b->held; /* nobody takes it: reading will say so, too */
	if (n > 0) {
		b->held -= (size_t)n;
		memmove(b->holding, b->holding + n, b->held);
	}
	if (b->held == 0 && b->owes_seen)
		say_seen(b);
}

static void hear(struct xen_bridge *b)
{
	unsigned n = 0;
	auto_free char *value = b->store.read(b->store.arg, b->in_node, &n);
	enum xen_link_news news;
	const char *data = NULL;
	size_t size = 0;

	news = xen_link_take(&b->in, value, n, &data, &size);
	if (news == XEN_LINK_NOTHING)
		return;
	b->owes_seen = true;
	if (news == XEN_LINK_FRESH)
		b->holding[b->held++] = '\n';
	if (news != XEN_LINK_AGAIN)
		memcpy(b->holding + b->held, data, size);
	b->held += size;
}

static void look(struct xen_bridge *b)
{
	unsigned n = 0;
	auto_free char *seen = b->store.read(b->store.arg, b->out_seen, &n);

	b->due = false;
	b->looked_ns = clock_ns();
	if (seen)
		(void)xen_link_seen(&b->out, seen, n);
	hear(b);
}

static void tell(struct xen_bridge *b)
{
	int64_t now = clock_ns();
	bool again = b->out.waiting && now > b->written_ns + AGAIN_NS;
	char value[XEN_LINK_VALUE];
	size_t n = xen_link_value(&b->out, again, value);

	if (n == 0)
		return;
	b->store.write(b->store.arg, b->out_node, value, n);
	b->written_ns = now;
}

static bool listen_to_descriptor(struct xen_bridge *b)
{
	char data[4096];
	size_t room = xen_link_room(&b->out);
	ssize_t n;

	if (room == 0)
		return true;
	n = read(b->fd, data, room < sizeof(data) ? room : sizeof(data));
	if (n > 0)
		xen_link_put(&b->out, data, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

bool xen_bridge_step(struct xen_bridge *b, short revents)
{
	bool open = true;

	if (b->fd >= 0 && revents)
		open = listen_to_descriptor(b);
	if (!open)
		b->fd = -1;
	pass_on(b);
	if (b->due && b->held == 0 && clock_ns() > b->looked_ns + LOOK_MS * NS_PER_MS) {
		look(b);
		pass_on(b);
	}
	tell(b);
	return open;
}
