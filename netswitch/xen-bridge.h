/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_XEN_BRIDGE_H
#define NETSWITCH_XEN_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/*
 * A descriptor joined to the stream of xen-link.h, at either end: to the host's client, or to the
 * guest's agent. Its owner has the poll loop and reaches xenstore; one thread.
 */
struct xen_bridge;

enum xen_bridge_end {
	XEN_BRIDGE_HOST,
	XEN_BRIDGE_GUEST
};

/* How xenstore is reached: a node below the guest's folder, "to-guest". */
struct xen_bridge_store {
	/* What is in it, the caller's to free, and its size; NULL: nothing. */
	char *(*read)(void *arg, const char *node, unsigned *n);
	void (*write)(void *arg, const char *node, const char *value, size_t n);
	void *arg;
};

struct xen_bridge *xen_bridge_create(enum xen_bridge_end end, const struct xen_bridge_store *store,
				     struct error **err);
void xen_bridge_destroy(struct xen_bridge *bridge); /* takes NULL; the descriptor stays open */

/*
 * Joins it to another descriptor, non-blocking and the caller's, or to none (-1): what the other
 * side says is dropped then. What was not sent yet is forgotten.
 */
void xen_bridge_join(struct xen_bridge *bridge, int fd);

/* The guest's folder is another one, empty. */
void xen_bridge_begin_anew(struct xen_bridge *bridge);

/* Something below the folder has changed. */
void xen_bridge_changed(struct xen_bridge *bridge);

/* What to poll the descriptor for, and how long at most (lowers *timeout_ms). */
short xen_bridge_events(const struct xen_bridge *bridge, int *timeout_ms);

/* Goes on; revents: the descriptor's. false: its other end is closed, it is joined to none now. */
bool xen_bridge_step(struct xen_bridge *bridge, short revents);

#endif
