/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_XEN_LINK_H
#define NETSWITCH_XEN_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A byte stream between a Xen guest and its host, through xenstore: four nodes below the guest's
 * own folder XEN_LINK_FOLDER. Pure: whoever reads and writes xenstore calls it.
 *
 *     to-guest  "SESSION.7 bytes"   written by the host      to-guest-seen "SESSION.7"  the guest
 *     to-host   "SESSION.3 bytes"   written by the guest     to-host-seen  "SESSION.3"  the host
 *
 * A direction has one chunk under way: the next one is written when the node -seen names the last.
 * Who waits for that writes its chunk again now and then, for nodes do not follow a guest to
 * another host. A chunk that is there twice is known by its number. A session is a sender's life: a
 * new one means that what came before was cut off.
 *
 * What the other side writes is hostile: bounded, and nothing of it is remembered but the number.
 */
#define XEN_LINK_FOLDER "data/edgehop"
#define XEN_LINK_CHUNK	1536 /* bytes; xenstore's quota lets a node have 2048 by default */
#define XEN_LINK_ID	32
#define XEN_LINK_VALUE	(XEN_LINK_ID + XEN_LINK_CHUNK)
#define XEN_LINK_QUEUE	(128 * 1024)

struct xen_link_out {
	char session[9]; /* 8 hex digits */
	uint64_t number; /* of the chunk that is under way, or was last */
	bool waiting;	 /* it is under way */
	size_t chunk;	 /* its size */
	size_t queued;	 /* bytes in queue, the chunk's first */
	char queue[XEN_LINK_QUEUE];
};

/* seed: random. Also to forget what is queued, in a new session. */
void xen_link_out_init(struct xen_link_out *out, uint32_t seed);

/* How many more bytes can be queued; and n of them, no more than that. */
size_t xen_link_room(const struct xen_link_out *out);
void xen_link_put(struct xen_link_out *out, const char *data, size_t n);

/*
 * The value to be written into the node, its size, or 0: nothing is to be sent. again: the chunk
 * that is under way once more.
 */
size_t xen_link_value(struct xen_link_out *out, bool again, char value[XEN_LINK_VALUE]);

/* What stands in the node -seen. true: the chunk has arrived, the next one may go. */
bool xen_link_seen(struct xen_link_out *out, const char *value, size_t n);

struct xen_link_in {
	char id[XEN_LINK_ID]; /* of the last chunk, for the node -seen; "": none yet */
};

enum xen_link_news {
	XEN_LINK_NOTHING, /* no value, or one that makes no sense */
	XEN_LINK_AGAIN,	  /* the last chunk: it is to be told once more that it was seen */
	XEN_LINK_MORE,	  /* the stream goes on */
	XEN_LINK_FRESH	  /* a new session: the stream begins anew */
};

/* What stands in the node. data, size: of MORE and FRESH, within value. */
enum xen_link_news xen_link_take(struct xen_link_in *in, const char *value, size_t n,
				 const char **data, size_t *size);

#endif
