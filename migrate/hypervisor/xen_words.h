/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGRATE_HYPERVISOR_XEN_WORDS_H
#define MIGRATE_HYPERVISOR_XEN_WORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/hypervisor/hypervisor.h"

/*
 * What the Xen driver and edgehop-xen say to each other on xen.sock: JSON lines, one request at a
 * time on a connection, each answered by one line with its id.
 *
 *     {"id":7,"do":"wait","serial":12,"ms":1000}
 *     {"id":7,"ok":true,"serial":13,"state":"running","loaded":false,"phase":"active",...}
 *     {"id":7,"ok":false,"code":22,"error":"..."}
 *
 * Each answer but a refusal has the whole status; `serial` changes with it. Plain data: nothing is
 * read or written here. Both sides check all that they read.
 */
#define XEN_LINE_MOST 4096
#define XEN_PATH_MOST 107 /* of a Unix socket */
#define XEN_WAIT_MOST 60000

enum xen_order {
	XEN_STATUS,
	XEN_WAIT, /* until the status has another serial than `serial`, at most `ms` */
	XEN_PAUSE,
	XEN_RESUME,
	XEN_REVIVE, /* end what a hop has begun, let the guest run: see the status for how it goes
		     */
	XEN_POWER_OFF, /* ask the guest to */
	XEN_DESTROY,   /* edgehop-xen ends when that is done */
	XEN_LISTEN,    /* at `path`, for the VM's state */
	XEN_SEND,      /* the VM's state into the socket at `path`, within `bounds` */
	XEN_LIMIT,     /* other `bounds`, while it is sent */
	XEN_CANCEL,    /* sending */
	XEN_DIGEST,    /* of each page of a VM that stands still, into the file at `path` */
	XEN_ORDERS
};
const char *xen_order_name(enum xen_order order);

/* For a save helper that heeds them. */
struct xen_bounds {
	int64_t downtime_ns; /* above 0 */
	uint64_t rate;	     /* bytes/s that the link carries; 0: to be measured */
	enum hv_unmet unmet;
};

struct xen_request {
	int64_t id; /* above 0 */
	enum xen_order order;
	char path[XEN_PATH_MOST + 1]; /* absolute; of LISTEN, SEND, DIGEST only */
	uint64_t serial;	      /* of WAIT only */
	int64_t wait_ms;	      /* of WAIT only, 0 to XEN_WAIT_MOST */
	struct xen_bounds bounds;     /* of SEND and LIMIT only */
};

/* ENAMETOOLONG: no socket can be there. */
int xen_request_path(struct xen_request *request, const char *path, struct error **err);

/* EPROTO: not a request; *request then has the id if that much was right, else 0. */
int xen_request_parse(const json_t *json, struct xen_request *request, struct error **err);
json_t *xen_request_make(const struct xen_request *request); /* the caller decrefs */

struct xen_status {
	uint64_t serial;
	enum hv_state state;
	bool starting; /* a domain is being built: the state is not to be relied on yet */
	bool loaded;   /* all of an arriving VM's state is there */
	bool busy;     /* something that was ordered is not over yet */
	char why[256]; /* what failed last; "" when nothing did since the last order */
	struct hv_memory memory;
};

json_t *xen_status_make(int64_t id, const struct xen_status *status);
json_t *xen_refusal_make(int64_t id, const struct error *why);

/* An answer to request id. The other side's refusal is an error with its code and words. */
int xen_status_parse(const json_t *json, int64_t id, struct xen_status *status, struct error **err);

#endif
