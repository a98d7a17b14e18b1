/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"
#include "migrate/transport/relay.h"

/*
 * The control channel between a hop's two workers. The source asks {"do": NAME, ...}; the
 * destination answers {"done": NAME, ...} or {"failed": NAME, "error": TEXT}, and says
 * {"event": NAME, ...} when something happened. One request is under way at a time.
 */
struct control;

/* Takes the channel over, also on failure. */
struct control *control_start(struct channel *channel, struct error **err);

/*
 * The same over a stream socket (taken over) that somebody else relays. why(context, err): -1 when
 * that has failed, with the reason; asked when the stream has ended.
 */
struct control *control_start_on(int fd, int (*why)(void *context, struct error **err),
				 void *context, struct error **err);
void control_destroy(struct control *control); /* takes NULL */

/*
 * Before control_destroy: tells the far side that this is the end and no loss, after which it would
 * wait. Takes at most 300 ms; NULL: nothing is done.
 */
void control_goodbye(struct control *control);

/* Readable when control_receive has something. Borrowed. */
int control_fd(const struct control *control);

int control_send(struct control *control, const json_t *message, struct error **err);

/* The next message, the caller's to decref. NULL: ETIMEDOUT, or the channel is lost. */
json_t *control_receive(struct control *control, int64_t deadline_ns, struct error **err);

/* For its statistics; NULL after control_start_on. */
struct relay *control_relay(struct control *control);

/* A message's error, if it is {"failed"}: returns -1 and sets *err. */
int control_check(const json_t *answer, const char *who, struct error **err);

#endif
