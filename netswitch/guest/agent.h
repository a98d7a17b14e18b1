/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_GUEST_AGENT_H
#define NETSWITCH_GUEST_AGENT_H

#include <jansson.h>

#include "common/error.h"

/*
 * The guest agent's orders: a JSON object in, a JSON object out. What a line may hold and what
 * each order does stands in docs/design/first-hop.md.
 */
#define AGENT_LINE_MOST (64 * 1024) /* bytes of an order, and of a reply */

struct agent;

/* Takes up the reply that an earlier process gave last, so that it is given again when asked. */
struct agent *agent_create(struct error **err);
void agent_destroy(struct agent *agent); /* takes NULL */

/*
 * Carries out an order and returns the reply, the caller's to decref; NULL when there is none to
 * give (the order has no id to answer to, or there is no memory). The order answered last, come
 * again, is not carried out again. Blocks for up to a second (retire).
 */
json_t *agent_answer(struct agent *agent, const json_t *order);

#endif
