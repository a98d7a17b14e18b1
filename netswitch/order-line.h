/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NETSWITCH_ORDER_LINE_H
#define NETSWITCH_ORDER_LINE_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"
#include "netswitch/orders.h"

/*
 * Gives the guest an order, which it changes (number, version), again and again until its reply
 * comes. The reply says ok, the caller decrefs it. Errors as orders.h has them: ETIMEDOUT,
 * EREMOTEIO, EAGAIN where the guest says that it is to be asked again.
 */
json_t *order_give(struct orders *orders, json_t *order, int64_t deadline_ns, struct error **err);

#endif
