/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOP_CTL_H
#define HOP_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/*
 * A worker's local control socket (mode 0600 in a folder of mode 0700): what the command line
 * attaches to. Requests and answers are JSON lines:
 *
 *	{"op":"watch"}	 snapshots as they change, then the end
 *	{"op":"status"}	 one snapshot
 *	{"op":"abort"}	 {"ok":true}; whether it still could be is seen in the end
 *	{"op":"limit"}	 (source) with "rate":N, the rate limit from now on, bit/s, 0 for none; with
 *			 "max_downtime_ns":N, the pause to aim at from now on; {"ok":true}
 *	{"op":"release"} (destination) {"ok":true}; the old addresses are given up, seen in the end
 *	{"op":"decide"}	 (destination) {"decision":"ACCEPTED"|"REFUSED"} once it stands in the
 *journal
 *
 * A thread of its own serves the socket; the worker publishes and asks.
 */
struct ctl;

struct ctl *ctl_start(const char *hop, struct error **err);

/* Sends the end to the watchers, serves for no longer than a second more, frees. Takes NULL. */
void ctl_stop(struct ctl *ctl);

void ctl_publish(struct ctl *ctl, json_t *snapshot); /* takes the reference */
void ctl_publish_end(struct ctl *ctl, json_t *end);  /* takes the reference */

bool ctl_abort_wanted(struct ctl *ctl);
void ctl_forget_abort(struct ctl *ctl);
/* What an operator wants changed of a hop that runs. */
struct ctl_limits {
	bool rate_given;
	uint64_t rate;	     /* bit/s; 0: none */
	int64_t downtime_ns; /* 0: not given */
};
/* True once after each request for other limits; what was asked before and not fetched is in it. */
bool ctl_limits_wanted(struct ctl *ctl, struct ctl_limits *limits);
bool ctl_release_wanted(struct ctl *ctl);
bool ctl_decision_wanted(struct ctl *ctl);
void ctl_decided(struct ctl *ctl, const char *decision); /* static text */

/* Readable from the moment on that somebody wants an abort, release or decision. Borrowed. */
int ctl_wake_fd(const struct ctl *ctl);

/* The client's side: connects to the worker of a hop. Returns a descriptor. */
int ctl_connect(const char *hop, struct error **err);

/* The same for one question: the answer, the caller's to decref. */
json_t *ctl_ask(const char *hop, const char *op, int64_t deadline_ns, struct error **err);

/* The same for a request of more than its name, which is borrowed. */
json_t *ctl_request(const char *hop, const json_t *request, int64_t deadline_ns,
		    struct error **err);

#endif
