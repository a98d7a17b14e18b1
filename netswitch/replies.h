/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_REPLIES_H
#define NETSWITCH_REPLIES_H

#include <jansson.h>
#include <stddef.h>

#include "common/error.h"
#include "netswitch/orders.h"

/*
 * What the guest's agent answers, read with mistrust: each field typed and bounded, lists no longer
 * than their arrays, texts made fit for logs. An error says which field is wrong.
 */

/* Text of the guest for logs and terminals: printable ASCII, at most size - 1 of it. */
void reply_text(char *to, size_t size, const char *from);

int reply_hello(const json_t *reply, struct guest_hello *hello, struct error **err);

/* An agent that does not tell what the vNIC got has done what it was told. */
int reply_got(const json_t *reply, const struct guest_wants *wants, struct guest_got *got,
	      struct error **err);
int reply_joined(const json_t *reply, struct join_state *state, struct error **err);
int reply_connections(const json_t *reply, struct guest_connections *connections,
		      struct error **err);

#endif
